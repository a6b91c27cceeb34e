"""gunicorn's settings, in the form that each request uses."""

from typing import Any

from gunicorn.glogging import Logger
from gunicorn.http.message import MAX_REQUEST_LINE

# Longer heads are parsed each time: thousands of connections may be open.
KEPT_BYTES = 4096


class SettledConfig:
    """gunicorn's settings as plain attributes, which cost a tenth of a look-up in its Config.

    watched: whether a hook or gunicorn's own access log gets each request; the other attributes are
    for heads that gunicorn does not parse (serving/plain.py).
    """

    def __init__(self, cfg: Any) -> None:
        self.__dict__.update({name: setting.get() for name, setting in cfg.settings.items()})
        self.is_ssl = cfg.is_ssl
        limit = self.limit_request_line
        self.longest_line = min(limit, MAX_REQUEST_LINE) if limit > 0 else MAX_REQUEST_LINE
        # All fields together are no longer than one may be.
        size = self.limit_request_field_size
        self.longest_fields = min(size, KEPT_BYTES) if size > 0 else KEPT_BYTES
        # With the same values of these, gunicorn finds the same scheme.
        names = self.secure_scheme_headers
        self.scheme_keys = ["HTTP_" + name.replace("-", "_") for name in names]
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
