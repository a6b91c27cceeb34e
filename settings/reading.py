"""Reads all settings from the environment and the file `.env`, and checks them."""

import difflib
import os
from collections.abc import Iterable, Mapping

from dotenv import dotenv_values

from authentication.exposure import refusal
from settings.connection_strings import read_targets, unused_connection_strings
from settings.declaration import SETTINGS, Settings
from settings.errors import SettingsError
from settings.root import ROOT


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from `environ`; by default the environment, then the file `.env`.

    Raises SettingsError with one sentence.
    """
    warnings: list[str] = []
    if environ is None:
        dotenv = _dotenv()
        warnings += misspelt_settings(dotenv)
        environ = {**dotenv, **os.environ}
        # azure-identity reads the process's environment, not these settings.
        for name in environ:
            if name.startswith(("AZURE_", "IDENTITY_")):
                os.environ.setdefault(name, environ[name])
    values = {}
    for declared in SETTINGS:
        text = environ.get(declared.name, "").strip() or declared.default
        try:
            values[declared.attribute] = declared.read(text)
        except ValueError as error:
            given = declared.name if declared.secret else f"{declared.name}={text}"
            example = f", such as {declared.default}" if declared.default else ""
            raise SettingsError(
                f"{given} is wrong: it must be {str(error).format(unit=declared.unit)}{example}."
            ) from None
    settings = Settings(
        **values,
        warnings=(*warnings, *unused_connection_strings(environ)),
        targets=read_targets(environ, values["read_scale_out"]),
        on_app_service=bool(environ.get("WEBSITE_SITE_NAME")),
        easyauth_enabled=bool(environ.get("WEBSITE_SITE_NAME"))
        and environ.get("WEBSITE_AUTH_ENABLED", "").lower() == "true",
        identity={
            k: v
            for k, v in environ.items()
            if k == "TOKEN" or k.startswith(("AZURE_", "IDENTITY_", "MSI_"))
        },
    )
    _check(settings)
    return settings


def check_authentication(settings: Settings) -> None:
    """Raises SettingsError if a method of AUTH lacks a setting that it requires."""
    methods = settings.auth or ()
    if "keys" in methods and not settings.api_keys:
        raise SettingsError("AUTH=keys needs API_KEYS: flask auth new-key NAME makes an entry.")
    if "oidc" in methods and not (settings.oidc_issuer and settings.oidc_audience):
        raise SettingsError("AUTH=oidc needs OIDC_ISSUER and OIDC_AUDIENCE.")
    if "oidc" in methods and not settings.oidc_algorithms:
        raise SettingsError("AUTH=oidc needs OIDC_ALGORITHMS, such as RS256.")
    if "easyauth" in methods and not settings.easyauth_enabled:
        raise SettingsError(
            "AUTH=easyauth works only on App Service with its authentication switched on:"
            " anywhere else any client could forge the headers."
        )
    if settings.auth is None and settings.on_app_service:
        raise SettingsError(refusal("App Service"))


def unusable_local_dir(settings: Settings, error: OSError) -> SettingsError:
    """The error to raise when LOCAL_DIR caused `error`."""
    return SettingsError(
        f"LOCAL_DIR={settings.local_dir} can not be written ({error.strerror}):"
        " set LOCAL_DIR to a folder that this account may write."
    )


def misspelt_settings(names: Iterable[str]) -> list[str]:
    """A sentence for each of `names`, taken from the file .env, that is close to a setting."""
    existing = [s.name for s in SETTINGS] + ["TOKEN"]
    near = {
        name: difflib.get_close_matches(name.upper(), existing, n=1, cutoff=0.8)
        for name in names
        if name not in existing
    }
    return [
        f"{name} in .env is not a setting: did you mean {found[0]}?"
        for name, found in near.items()
        if found
    ]


def _dotenv() -> dict[str, str]:
    return {k: v for k, v in dotenv_values(ROOT / ".env").items() if v is not None}


def _check(settings: Settings) -> None:
    if settings.pool_min_size > settings.pool_max_size:
        raise SettingsError("POOL_MIN_SIZE must not be greater than POOL_MAX_SIZE.")
    if settings.on_app_service and not settings.targets:
        raise SettingsError(
            "Set the connection string WWIF or TAXI of this web app (type SQLAzure):"
            " on App Service there is no embedded database."
        )
