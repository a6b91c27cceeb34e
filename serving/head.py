"""A request's head and its WSGI environment, by gunicorn's parser.

A client repeats most of its head with each request of a connection. What gunicorn made of it is
kept for the next requests (serving/repeated.py).
"""

from typing import Any, cast

from gunicorn.glogging import Logger
from gunicorn.http import errors, wsgi
from gunicorn.http.body import LengthReader
from gunicorn.http.message import MAX_REQUEST_LINE, Request

from serving.connections import BUFFERED_BYTES, Connection, KeptHead
from serving.reader import Reader

# Longer heads are parsed each time: thousands of connections may be open.
KEPT_BYTES = 4096


class SettledConfig:
    """gunicorn's settings as plain attributes, which cost a tenth of a look-up in its Config.

    longest_line: the maximum length of a request line; watched: whether a hook or gunicorn's own
    access log gets each request.
    """

    def __init__(self, cfg: Any) -> None:
        self.__dict__.update({name: setting.get() for name, setting in cfg.settings.items()})
        self.is_ssl = cfg.is_ssl
        limit = self.limit_request_line
        self.longest_line = min(limit, MAX_REQUEST_LINE) if limit > 0 else MAX_REQUEST_LINE
        self.watched = _watched(cfg)
        self._cfg = cfg

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cfg, name)


def _watched(cfg: Any) -> bool:
    hooks = (cfg.settings["pre_request"], cfg.settings["post_request"])
    return bool(
        any(hook.get() is not hook.default for hook in hooks)
        # The default pre_request logs at this level.
        or cfg.loglevel.lower() == "debug"
        or cfg.logger_class.access is not Logger.access
        # As gunicorn's Logger decides whether it has an access log.
        or cfg.accesslog
        or cfg.logconfig
        or cfg.logconfig_dict
        or cfg.logconfig_json
        or (cfg.syslog and not cfg.disable_redirect_access_to_syslog)
    )


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
        if self._can_share(environ):
            fields = b"\r\n%b\r\n\r\n" % self._fields
            connection.kept = KeptHead(
                fields, self.body.reader.length, environ | {"wsgi.input": None}
            )
        return cast("dict[str, Any]", environ)

    def _can_share(self, environ: dict[str, Any]) -> bool:
        """Whether a request with the same fields gets this environment, except for what depends on
        its request line and body, and can be served without a reader."""
        reader = self.body.reader
        return (
            # Empty for a head that the optional C parser has parsed.
            0 < len(self._fields) <= KEPT_BYTES
            and self.version == (1, 1)
            and not self.should_close()
            and type(reader) is LengthReader
            and reader.length <= BUFFERED_BYTES
            and "HTTP_EXPECT" not in environ
            # With a prefix in front of each path, gunicorn makes the environment each time.
            and not environ["SCRIPT_NAME"]
        )

    def skip_body(self) -> bool:
        """Skip the rest of the body; False if it has not all arrived."""
        self._connection.unread = not self._reader.skip(self.body)
        return not self._connection.unread

    def leave(self) -> None:
        """Leave the bytes after this request to the next one."""
        self._connection.leave(self._reader.take_buffered())
