"""Every setting is documented, read and checked; an invalid one stops the start."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from dotenv import dotenv_values

from scripts.settings_docs import example, page
from settings import (
    PREFIXES,
    ROOT,
    SETTINGS,
    TARGETS,
    SettingsError,
    misspelt_settings,
    read_settings,
)
from testkit.server import bare_environment

EXAMPLE = ROOT / ".env.example"
NAMES = [setting.name for setting in SETTINGS]
FREE_TEXT = ("folder", "URL or connection string", "audiences", "scopes", "schemas", "databases")
CHECKED = [setting for setting in SETTINGS if setting.unit not in FREE_TEXT]


@pytest.mark.parametrize(
    ("file", "text"),
    [("docs/settings.md", page()), (".env.example", example())],
    ids=["page", "example"],
)
def test_the_written_files_are_current(file, text):
    current = (ROOT / file).read_text(encoding="utf-8") == text
    assert current, f"{file} is out of date: run .venv/bin/python scripts/settings_docs.py"


def test_every_setting_has_a_row_in_its_page():
    rows = re.findall(r"^\| `([A-Z_]+)` \|", page().partition("| setting |")[2], re.MULTILINE)
    assert rows == NAMES


def test_the_example_file_sets_only_defaults():
    example = dotenv_values(EXAMPLE)
    assert set(example) == set(NAMES)
    assert read_settings(example) == read_settings({})


@pytest.mark.parametrize("target", TARGETS)
def test_the_example_names_every_variable_of_a_connection_string(target):
    text = EXAMPLE.read_text(encoding="utf-8")
    assert all(prefix + target in text for prefix in PREFIXES)


@pytest.mark.parametrize("setting", SETTINGS, ids=NAMES)
def test_a_blank_setting_is_its_default(setting):
    read = getattr(read_settings({setting.name: "  "}), setting.attribute)
    assert read == setting.read(setting.default)


@pytest.mark.parametrize("setting", CHECKED, ids=lambda setting: setting.name)
@pytest.mark.parametrize("text", ["many", "-1", "1e30", "nan", "5 s", "\u00b2"])
def test_an_invalid_value_is_refused_in_one_sentence_that_says_what_to_set(setting, text):
    with pytest.raises(SettingsError) as raised:
        read_settings({setting.name: text})
    sentence = str(raised.value)
    given = setting.name if setting.secret else f"{setting.name}={text}"
    assert sentence.startswith(f"{given} is wrong: it must be ")
    assert sentence.endswith(f", such as {setting.default}." if setting.default else ".")
    assert "\n" not in sentence
    assert "{" not in sentence


@pytest.mark.parametrize(
    ("text", "value"),
    [(text, True) for text in ("yes", "true", "ON", "1")]
    + [(text, False) for text in ("no", "False", "off", "0")],
)
def test_a_switch_accepts_the_usual_spellings_of_yes_and_no(text, value):
    assert read_settings({"REQUIRE_IF_MATCH": text}).require_if_match is value


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("my key:read:" + "0" * 64, "entry 1 lacks a name of 1 to 64 letters, digits, dots,"),
        ("ann:read,write:" + "0" * 64, "has fewer than three parts (groups are joined by +)."),
        ("ann:read:secret", "entry 1 lacks a digest of 64 hexadecimal digits."),
        ("ann:delete:" + "0" * 64, "a list of read, write, operate, joined by +."),
    ],
)
def test_an_invalid_entry_of_api_keys_is_described_without_its_text(entry, fault):
    with pytest.raises(SettingsError) as raised:
        read_settings({"API_KEYS": entry})
    assert fault in str(raised.value)
    assert "secret" not in str(raised.value)
    assert "000" not in str(raised.value)


def test_values_are_read_in_their_units():
    settings = read_settings({"POOL_MAX_SIZE": " 16 ", "LOGIN_TIMEOUT_SECONDS": "2.5"})
    assert settings.pool_max_size == 16
    assert settings.login_timeout_seconds == 2.5


def test_a_local_folder_is_below_the_project_unless_it_is_absolute():
    assert read_settings({"LOCAL_DIR": "other"}).local_dir == ROOT / "other"
    assert read_settings({"LOCAL_DIR": "/srv/data"}).local_dir == Path("/srv/data")


def test_a_minimum_above_the_maximum_is_refused():
    with pytest.raises(SettingsError, match="POOL_MIN_SIZE must not be greater than POOL_MAX_SIZE"):
        read_settings({"POOL_MIN_SIZE": "9", "POOL_MAX_SIZE": "8"})


def test_with_no_connection_string_the_embedded_default_serves():
    settings = read_settings({})
    assert settings.embedded
    assert settings.targets == {}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("prefix", "text", "family"),
    [
        ("SQLAZURECONNSTR_", "Server=x", "sqlserver"),
        ("SQLCONNSTR_", "Server=x", "sqlserver"),
        ("CUSTOMCONNSTR_", "Server=x", "sqlserver"),
        ("CUSTOMCONNSTR_", "Driver={PostgreSQL Unicode};Server=x", "postgresql"),
        ("POSTGRESQLCONNSTR_", "Server=x", "postgresql"),
    ],
)
def test_each_prefix_of_app_service_configures_a_database(target, prefix, text, family):
    settings = read_settings({prefix + target: f"  {text} "})
    assert list(settings.targets) == [target]
    found = settings.targets[target]
    assert (found.name, found.variable) == (target, prefix + target)
    assert (found.connection_string, found.driver_family) == (text, family)
    assert not settings.embedded


def test_two_connection_strings_for_one_database_are_refused_with_both_names():
    environment = {"SQLAZURECONNSTR_WWIF": "Server=a", "POSTGRESQLCONNSTR_WWIF": "Server=b"}
    with pytest.raises(SettingsError) as raised:
        read_settings(environment)
    assert "SQLAZURECONNSTR_WWIF and POSTGRESQLCONNSTR_WWIF" in str(raised.value)


def test_on_app_service_with_no_connection_string_the_start_is_refused():
    with pytest.raises(SettingsError, match="connection string WWIF or TAXI"):
        read_settings({"WEBSITE_SITE_NAME": "app"})


def test_on_app_service_one_connection_string_is_enough():
    environment = {"WEBSITE_SITE_NAME": "app", "SQLAZURECONNSTR_TAXI": "Server=x"}
    assert list(read_settings(environment).targets) == ["TAXI"]


def test_the_repr_of_a_target_hides_its_connection_string():
    environment = {"SQLAZURECONNSTR_WWIF": "Server=x;PWD=secret"}
    assert "secret" not in repr(read_settings(environment).targets["WWIF"])


STRING = "Server=tcp:db.example.com,1433;Database=WWI;UID=api;PWD=secret"


@pytest.mark.parametrize(
    ("name", "text", "meant"),
    [
        ("sqlconnstr_wwif", STRING, "SQLCONNSTR_WWIF"),
        ("MYSQLCONNSTR_WWIF", STRING, "SQLAZURECONNSTR_WWIF"),
        ("WWIF", STRING, "SQLAZURECONNSTR_WWIF"),
        ("TAXI", "x", "SQLAZURECONNSTR_TAXI"),
        ("DATABASE_URL", "postgresql://api:secret@db/wwi", "POSTGRESQLCONNSTR_WWIF"),
        ("DB", "mssql+pyodbc://api:secret@db/wwi", "SQLAZURECONNSTR_WWIF"),
        ("LAKE", "Data Source=x-ondemand.sql.azuresynapse.net;", "SQLAZURECONNSTR_TAXI"),
    ],
)
def test_a_connection_string_under_an_unused_name_gives_a_warning_with_the_right_name(
    name, text, meant
):
    settings = read_settings({name: text})
    assert settings.warnings == (
        f"{name} is set and not used: a connection string is read from {meant}.",
    )
    assert settings.embedded


@pytest.mark.parametrize(("name", "meant"), [("WWI", "WWIF"), ("Taxis", "TAXI")])
def test_a_database_name_close_to_one_of_the_sample_gives_a_warning(name, meant):
    settings = read_settings({f"SQLAZURECONNSTR_{name}": STRING})
    assert settings.warnings == (
        f"SQLAZURECONNSTR_{name} names the database {name}; the sample's is {meant}.",
    )
    assert not settings.serves_sample


@pytest.mark.parametrize(
    "environment",
    [
        {"SQLAZURECONNSTR_WWIF": STRING, "POSTGRESQLCONNSTR_TAXI": STRING},
        {"SQLAZURECONNSTR_WWI": " ", "DATABASE_URL": ""},
        {"SQLAZURECONNSTR_ERP": STRING},
        {"TRACES_TO": "http://localhost:4318", "HTTP_PROXY": "http://proxy:80", "SERVER": "x"},
        {"TEST_SQLSERVER_CONNSTR": STRING},
    ],
    ids=lambda environment: next(iter(environment)),
)
def test_other_variables_give_no_warning(environment):
    assert read_settings(environment).warnings == ()


def test_a_misspelt_setting_in_the_file_gives_a_warning_with_the_right_name():
    assert misspelt_settings(["POOL_MAXSIZE", "Auth_Roles", "MSSQL_SA_PASSWORD", "AUTH"]) == [
        "POOL_MAXSIZE in .env is not a setting: did you mean POOL_MAX_SIZE?",
        "Auth_Roles in .env is not a setting: did you mean AUTH_ROLES?",
    ]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (STRING, "tcp:db.example.com,1433/WWI"),
        ("Data Source=db;Initial Catalog=x;User ID=api;Password=secret", "db/x"),
        ("DSN=mine;PWD=secret", "mine/?"),
        ("secret", "?"),
    ],
)
def test_a_source_shows_server_and_database_without_secrets(text, place):
    settings = read_settings({"SQLAZURECONNSTR_WWIF": text})
    assert settings.source("WWIF") == f"{place} from SQLAZURECONNSTR_WWIF"
    assert settings.source("WWIF", with_place=False) == "SQLAZURECONNSTR_WWIF"
    assert settings.source("TAXI") == "not configured"


def test_the_bare_environment_of_the_suite_sets_nothing(monkeypatch):
    monkeypatch.setenv("SQLAZURECONNSTR_WWIF", "Server=x")
    monkeypatch.setenv("POOL_MAX_SIZE", "1")
    read = read_settings(bare_environment())
    assert replace(read, identity={}) == read_settings({})


def test_any_name_after_a_prefix_is_a_database():
    environment = {
        "SQLCONNSTR_ERP_2": "Server=x",
        "POSTGRESQLCONNSTR_crm": "Server=y",
        "SQLAZURECONNSTR_TAXI": "Server=z",
        "SQLAZURECONNSTR_BLANK": " ",
        "SQLCONNSTR_ERP_2_REPLICA": "Server=r",
    }
    settings = read_settings(environment)
    assert list(settings.targets) == ["TAXI", "ERP_2", "crm"]
    assert settings.targets["crm"].driver_family == "postgresql"
    assert settings.serves_sample


def test_the_sample_is_not_served_by_a_database_of_another_name():
    assert not read_settings({"SQLCONNSTR_ERP": "Server=x"}).serves_sample
    assert read_settings({}).serves_sample


def test_on_app_service_a_database_of_any_name_is_enough():
    environment = {"WEBSITE_SITE_NAME": "app", "SQLAZURECONNSTR_ERP": "Server=x"}
    assert list(read_settings(environment).targets) == ["ERP"]


@pytest.mark.parametrize("name", ["", "A-B", "A B", "Gr\u00f6\u00dfe", "A:B"])
def test_a_database_is_named_by_letters_digits_and_underscores(name):
    with pytest.raises(SettingsError) as raised:
        read_settings({f"SQLCONNSTR_{name}": "Server=x"})
    assert str(raised.value) == (
        f"SQLCONNSTR_{name} names a database {name!r}: use letters, digits and underscores."
    )


def test_exposed_schemas_apply_to_every_database_or_to_one():
    settings = read_settings({"EXPOSED_SCHEMAS": "api, ERP:sales , WWIF:web,ERP:api"})
    assert settings.schemas_of("ERP") == ("api", "sales")
    assert settings.schemas_of("WWIF") == ("api", "web")
    assert settings.schemas_of("CRM") == ("api",)
    assert read_settings({}).schemas_of("ERP") == ("api",)


@pytest.mark.parametrize("text", ["ERP:", ":api", "A-B:api"])
def test_an_invalid_list_of_exposed_schemas_is_refused(text):
    with pytest.raises(
        SettingsError, match=r"EXPOSED_SCHEMAS=.* is wrong: it must be a list of schema"
    ):
        read_settings({"EXPOSED_SCHEMAS": text})
