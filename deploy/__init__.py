"""Runs the scripts of sql/ on a database, and checks that it has what the routes need."""


class DeploymentError(Exception):
    """A script can't be planned or run; the message names file, batch number and line."""
