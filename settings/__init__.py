"""Settings: the only reader of environment variables. An invalid value stops the start with one
sentence.

`declaration` lists the settings, `values` says what their texts may be, `connection_strings` finds
the databases, and `reading` reads and checks all of it.
"""

from settings.connection_strings import PREFIXES, REPLICA, TARGETS, Target, variable_names
from settings.declaration import EMBEDDED_SOURCE, SETTINGS, Settings
from settings.errors import SettingsError
from settings.reading import (
    check_authentication,
    misspelt_settings,
    read_settings,
    unusable_local_dir,
)
from settings.root import ROOT

__all__ = [
    "EMBEDDED_SOURCE",
    "PREFIXES",
    "REPLICA",
    "ROOT",
    "SETTINGS",
    "TARGETS",
    "Settings",
    "SettingsError",
    "Target",
    "check_authentication",
    "misspelt_settings",
    "read_settings",
    "unusable_local_dir",
    "variable_names",
]
