"""Sends gunicorn's log records through observability.logs, like all others."""

from gunicorn.config import Config
from gunicorn.glogging import Logger

from observability import logs
from settings import SettingsError, read_settings


class ServerLog(Logger):  # gunicorn has no types
    """A gunicorn logger without its own handlers."""

    def setup(self, cfg: Config) -> None:
        super().setup(cfg)
        for handler in self.error_log.handlers[:]:
            self.error_log.removeHandler(handler)
        self.error_log.propagate = True
        try:
            form = read_settings().log_format
        except SettingsError:
            form = "auto"  # the worker reports the invalid setting
        logs.configure(form)
