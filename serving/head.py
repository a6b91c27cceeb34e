"""A request's head, by gunicorn's parser, and its WSGI environment.

A client repeats most of its head with each request of a connection. The worker keeps the fields
that a connection sent last, parsed, and compares the bytes of the next ones with them.
"""

from typing import Any

from gunicorn.http.message import Request
from gunicorn.http.unreader import Unreader
from gunicorn.util import unquote_to_wsgi_str

from serving.connections import Connection

# Longer heads are parsed each time: thousands of connections may be open.
KEPT_BYTES = 4096


class SettledConfig:
    """gunicorn's settings as plain attributes, which cost a tenth of a look-up in its Config."""

    def __init__(self, cfg: Any) -> None:
        self.__dict__.update({name: setting.get() for name, setting in cfg.settings.items()})
        self.is_ssl = cfg.is_ssl
        self._cfg = cfg

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cfg, name)


class KeptFields:
    """The fields of a head: its bytes, gunicorn's list, the scheme that they imply, and the WSGI
    environment of a request with them."""

    __slots__ = ("data", "environ", "headers", "scheme")

    def __init__(self, data: bytes, headers: list[tuple[str, str]], scheme: str) -> None:
        self.data = data
        self.headers = headers
        self.scheme = scheme
        self.environ: dict[str, Any] | None = None


class ClientRequest(Request):  # gunicorn has no types
    """The next request of a connection."""

    scheme: str

    def __init__(self, cfg: Any, reader: Unreader, connection: Connection) -> None:
        self._connection = connection
        self._fields: KeptFields | None = None
        super().__init__(cfg, reader, connection.client, connection.requests)

    def parse_headers(self, data: bytes, from_trailer: bool = False) -> Any:
        if from_trailer:
            return super().parse_headers(data, from_trailer)
        kept: KeptFields | None = self._connection.fields
        if kept is None or kept.data != data:
            headers = super().parse_headers(data)
            # What Expect means depends on the request's version too.
            if len(data) > KEPT_BYTES or any(name == "EXPECT" for name, _ in headers):
                return headers
            kept = self._connection.fields = KeptFields(data, headers, self.scheme)
        self.scheme = kept.scheme
        self._fields = kept
        return kept.headers

    @property
    def names_host(self) -> bool:
        return any(name == "HOST" for name, _ in self.headers)

    def kept_environ(self) -> dict[str, Any] | None:
        """The WSGI environment, if an earlier request of the connection had the same fields."""
        template = self._fields.environ if self._fields is not None else None
        if template is None:
            return None
        environ = template.copy()
        environ["wsgi.input"] = self.body
        environ["REQUEST_METHOD"] = self.method
        environ["QUERY_STRING"] = self.query
        environ["RAW_URI"] = self.uri
        environ["SERVER_PROTOCOL"] = f"HTTP/{self.version[0]}.{self.version[1]}"
        environ["PATH_INFO"] = unquote_to_wsgi_str(self.path)
        return environ

    def keep_environ(self, environ: dict[str, Any]) -> None:
        """Keep gunicorn's environment of this request for the following ones."""
        # With a prefix in front of each path, gunicorn makes the environment each time.
        if self._fields is not None and not environ["SCRIPT_NAME"]:
            self._fields.environ = {**environ, "wsgi.input": None}
