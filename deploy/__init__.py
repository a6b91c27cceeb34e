"""Runs sql/ on a database, and checks that a database has what the routes need."""
