"""The key of a field in the WSGI environment."""

from gunicorn.http.message import TOKEN_RE

# gunicorn does more with them than to copy them.
HANDLED = ("EXPECT", "TRANSFER-ENCODING")
# Clients choose the names.
MOST_NAMES = 256
LONGEST_NAME = 64


class FieldKeys(dict[str, str]):
    """The key by the field's name. Raises KeyError for a name that gunicorn must handle."""

    def __missing__(self, name: str) -> str:
        upper = name.upper()
        # With an underscore, two names could have one key.
        if not TOKEN_RE.fullmatch(name) or "_" in name or upper in HANDLED:
            raise KeyError(name)
        key = upper.replace("-", "_")
        if upper not in ("CONTENT-TYPE", "CONTENT-LENGTH"):
            key = f"HTTP_{key}"
        if len(self) < MOST_NAMES and len(name) <= LONGEST_NAME:
            self[name] = key
        return key


FIELD_KEYS = FieldKeys()
