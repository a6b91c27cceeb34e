"""The checks of `flask doctor`. Each yields findings as it goes, and raises nothing."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    area: "machine", "settings" or a database. check: a short name that stays the same from version
    to version. message: a sentence. remedy: what to do, for a warning or an error.
    """

    area: str
    check: str
    status: Status
    message: str
    remedy: str | None = None
