"""The error of an invalid setting."""


class SettingsError(ValueError):
    """A setting is invalid; the message is one sentence with the value and the remedy."""
