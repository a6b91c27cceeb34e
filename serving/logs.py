"""gunicorn's own words, in the same form and place as everything else that is logged."""

from gunicorn.config import Config
from gunicorn.glogging import Logger

from observability import logs
from settings import SettingsError, read_settings


class ServerLog(Logger):
    """A gunicorn logger class without handlers of its own."""

    def setup(self, cfg: Config) -> None:
        super().setup(cfg)
        for handler in self.error_log.handlers[:]:
            self.error_log.removeHandler(handler)
        self.error_log.propagate = True
        try:
            form = read_settings().log_format
        except SettingsError:
            form = "auto"  # the worker will say which setting is wrong
        logs.configure(form)
