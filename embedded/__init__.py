"""The embedded default: a private PostgreSQL, used if no connection string is set."""


class EmbeddedError(RuntimeError):
    """The embedded default can't run here; the message is one sentence with the remedy."""
