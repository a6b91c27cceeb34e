"""Logs the source of each database, and variables without effect, once at the start."""

import logging

from settings import Settings

log = logging.getLogger("start")
CONTENTS = {"WWIF": "customers and passengers", "TAXI": "taxi trips"}


def announce(settings: Settings) -> None:
    """Log a line with the source of each database, and a warning for each misspelt variable."""
    for warning in settings.warnings:
        log.warning("%s", warning)
    if settings.embedded:
        log.info(
            "Serving the embedded sample (invented data): %s. To use your own database, set"
            " SQLAZURECONNSTR_WWIF or POSTGRESQLCONNSTR_WWIF.",
            ", ".join(CONTENTS.values()),
        )
        return
    served = (
        f"{CONTENTS.get(name, name)}: {settings.source(name)}" for name in settings.database_names
    )
    log.info("Databases: %s", "; ".join(served))
