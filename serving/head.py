"""A request's head and its WSGI environment, by gunicorn's parser.

What gunicorn makes of a connection's requests is kept for the next ones (serving/plain.py).
"""

from typing import Any, cast

from gunicorn.http import errors, wsgi
from gunicorn.http.body import LengthReader
from gunicorn.http.message import Request

from serving.connections import BUFFERED_BYTES, BaseEnviron, Connection, KeptHead
from serving.reader import Reader
from serving.settled_config import KEPT_BYTES


class ClientRequest(Request):  # gunicorn has no types
    """The next request of a connection, parsed by gunicorn.

    Raises ParseException, OSError or StopIteration for an invalid or incomplete head.
    """

    def __init__(self, cfg: Any, reader: Reader, connection: Connection) -> None:
        self._reader = reader
        self._connection = connection
        self._fields = b""
        super().__init__(cfg, reader, connection.client, connection.requests)
        if self.version >= (1, 1) and not any(name == "HOST" for name, _ in self.headers):
            raise errors.InvalidHeader("HOST")
        # gunicorn would send 100 Continue before the request is authorized.
        reader.begin_body(expected=self._expected_100_continue)
        self._expected_100_continue: bool = False

    def parse_headers(self, data: bytes, from_trailer: bool = False) -> Any:
        if not from_trailer:
            self._fields = data
        return super().parse_headers(data, from_trailer)

    def make_environ(self) -> dict[str, Any]:
        """The WSGI environment; kept for the connection's next requests if they can share it."""
        connection = self._connection
        _, environ = wsgi.create(
            *(self, connection.sock, connection.client, connection.server, self.cfg)
        )
        environ["wsgi.multithread"] = True
        # It would write past ClientResponse, and nothing here sends early hints.
        del environ["wsgi.early_hints"]
        if self.version == (1, 1) and not environ["SCRIPT_NAME"]:
            self._keep(environ)
        return cast("dict[str, Any]", environ)

    def _keep(self, environ: dict[str, Any]) -> None:
        """Keep what the connection's next requests can share."""
        connection = self._connection
        reader = self.body.reader
        shared = {**environ, "wsgi.input": None}
        if (
            # Empty for a head that the optional C parser has parsed.
            0 < len(self._fields) <= KEPT_BYTES
            and not self.should_close()
            and type(reader) is LengthReader
            and reader.length <= BUFFERED_BYTES
            and "HTTP_EXPECT" not in environ
        ):
            fields = b"\r\n%b\r\n\r\n" % self._fields
            connection.kept = KeptHead(fields, reader.length, shared)
        # With a name for an address, SERVER_NAME depends on Host.
        if not self.proxy_protocol_info and not isinstance(connection.server, str):
            sent = dict(self.headers)
            schemes = [sent.get(name) for name in self.cfg.secure_scheme_headers]
            plain = {k: v for k, v in shared.items() if not k.startswith(("HTTP_", "CONTENT_"))}
            connection.base = BaseEnviron(plain, schemes)

    def ends_connection(self) -> bool:
        """Skip the rest of the body; whether it has not all arrived, or the client asked to close
        the connection."""
        self._connection.unread = not self._reader.skip(self.body)
        return self._connection.unread or bool(self.should_close())

    def leave(self) -> None:
        """Leave the bytes after this request to the next one."""
        self._connection.leave(self._reader.take_buffered())
