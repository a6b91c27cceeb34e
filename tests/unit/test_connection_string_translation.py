"""Connection strings of other clients, translated for the ODBC drivers."""

import pytest

from database.connect.connection_string import ConnectionStringError
from database.connect.drivers import Driver
from database.connect.translation import to_odbc

PORTAL = (
    "Server=tcp:w.database.windows.net,1433;Initial Catalog=WWI;Persist Security Info=False;"
    "User ID=reader;Password={p}a;ss};MultipleActiveResultSets=False;Encrypt=True;"
    "TrustServerCertificate=False;Connection Timeout=30;"
)


def sql_server(text):
    return dict(to_odbc(text, family="sqlserver").values)


def postgresql(text):
    return dict(to_odbc(text, family="postgresql").values)


def test_the_connection_string_of_the_azure_portal():
    assert sql_server(PORTAL.replace("{p}a;ss}", "pass")) == {
        "SERVER": "tcp:w.database.windows.net,1433",
        "DATABASE": "WWI",
        "UID": "reader",
        "PWD": "pass",
        "ENCRYPT": "yes",
        "TRUSTSERVERCERTIFICATE": "no",
    }


@pytest.mark.parametrize(
    ("spelt", "password"),
    [
        ('"a;b""c"', 'a;b"c'),
        ("'a;b''c'", "a;b'c"),
        ("{a;b}}c}", "a;b}c"),
        ("a'b", "a'b"),
        ("a=b", "a=b"),
    ],
)
def test_a_quoted_ado_net_password_is_parsed_completely(spelt, password):
    found = sql_server(f"Data Source=s;User ID=u;Password={spelt};Initial Catalog=d")
    assert (found["PWD"], found["DATABASE"]) == (password, "d")


def test_quotes_in_an_odbc_string_are_part_of_the_value():
    assert sql_server('SERVER=s;UID=u;PWD="x"')["PWD"] == '"x"'


@pytest.mark.parametrize(
    "spelt", ["Active Directory Default", '"Active Directory Default"', "ActiveDirectoryDefault"]
)
def test_the_default_authentication_is_an_access_token(spelt):
    text = f"Server=s;Initial Catalog=d;Encrypt=True;Authentication={spelt};"
    assert sql_server(text) == {"SERVER": "s", "DATABASE": "d", "ENCRYPT": "yes"}
    assert Driver(text, family="sqlserver").wants_token


@pytest.mark.parametrize(
    ("spelt", "translated"),
    [
        ("Active Directory Managed Identity", "ActiveDirectoryMsi"),
        ("Active Directory Password", "ActiveDirectoryPassword"),
        ("ActiveDirectoryServicePrincipal", "ActiveDirectoryServicePrincipal"),
        ("Sql Password", "SqlPassword"),
    ],
)
def test_other_authentications_get_the_drivers_names(spelt, translated):
    found = sql_server(f"Data Source=s;User ID=u;Password=p;Authentication={spelt}")
    assert found["AUTHENTICATION"] == translated


@pytest.mark.parametrize(
    ("pair", "key", "value"),
    [
        ("Integrated Security=SSPI", "TRUSTED_CONNECTION", "yes"),
        ("Integrated Security=False", "TRUSTED_CONNECTION", None),
        ("Encrypt=Strict", "ENCRYPT", "strict"),
        ("Encrypt=Mandatory", "ENCRYPT", "yes"),
        ("Encrypt=Optional", "ENCRYPT", "no"),
        ("Application Intent=ReadOnly", "APPLICATIONINTENT", "ReadOnly"),
        ("Multi Subnet Failover=True", "MULTISUBNETFAILOVER", "yes"),
        ("Application Name=mine", "APP", "mine"),
        ("Packet Size=8000", "PACKETSIZE", "8000"),
        ("Max Pool Size=7", "MAXPOOLSIZE", None),
        ("MultipleActiveResultSets=True", "MARS_CONNECTION", None),
    ],
)
def test_each_keyword_of_ado_net(pair, key, value):
    assert sql_server(f"Data Source=s;{pair}").get(key) == value


def test_an_odbc_string_is_not_changed():
    text = "DRIVER={ODBC Driver 18 for SQL Server};SERVER=s;DATABASE=d;UID=u;PWD={a;b};X=1"
    assert str(to_odbc(text, family="sqlserver")) == str(
        to_odbc(str(to_odbc(text, family="sqlserver")), family="sqlserver")
    )
    assert sql_server(text)["PWD"] == "a;b"
    assert sql_server(text)["X"] == "1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "mssql+pyodbc://me:p%40ss%2F@h:1444/db?driver=D&Encrypt=yes&TrustServerCertificate=yes",
            {"SERVER": "h,1444", "DATABASE": "db", "UID": "me", "PWD": "p@ss/", "DRIVER": "D",
             "ENCRYPT": "yes", "TRUSTSERVERCERTIFICATE": "yes"},
        ),
        ("mssql+pyodbc://h/db", {"SERVER": "h", "DATABASE": "db"}),
        (
            "mssql+pyodbc:///?odbc_connect=SERVER%3Dh%3BDATABASE%3Dd%3BPWD%3D%7Ba%3Bb%7D%3BUID%3Du",
            {"SERVER": "h", "DATABASE": "d", "PWD": "a;b", "UID": "u"},
        ),
    ],
)  # fmt: skip
def test_urls_of_sql_server(text, expected):
    assert sql_server(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "postgresql://me:p%40ss@h:5433/db?sslmode=require&connect_timeout=5",
            {"SERVER": "h", "PORT": "5433", "DATABASE": "db", "UID": "me", "PWD": "p@ss",
             "SSLMODE": "require", "PQOPT": "connect_timeout=5"},
        ),
        ("postgres://me@h/db", {"SERVER": "h", "DATABASE": "db", "UID": "me"}),
        ("postgresql+psycopg2://h/db", {"SERVER": "h", "DATABASE": "db"}),
        (
            "postgresql:///db?host=/run/pg&user=me&options=-c%20search_path%3Dx",
            {"SERVER": "/run/pg", "DATABASE": "db", "UID": "me",
             "PQOPT": "options='-c search_path=x'"},
        ),
        (
            "Host=h;Port=5433;Database=db;Username=me;Password='a;b';SSL Mode=VerifyFull;"
            "Trust Server Certificate=true;Pooling=true;Command Timeout=9",
            {"SERVER": "h", "PORT": "5433", "DATABASE": "db", "UID": "me", "PWD": "a;b",
             "SSLMODE": "verify-full"},
        ),
        (
            "SERVER=/run/pg;PORT=5432;DATABASE=app;UID=webapp;Fetch=7",
            {"SERVER": "/run/pg", "PORT": "5432", "DATABASE": "app", "UID": "webapp", "FETCH": "7"},
        ),
    ],
)  # fmt: skip
def test_strings_and_urls_of_postgresql(text, expected):
    assert postgresql(text) == expected


@pytest.mark.parametrize(
    ("text", "family", "named"),
    [
        ("Data Source=s;AttachDbFilename=sekret.mdf", "sqlserver", "AttachDbFilename"),
        ("Server=s;Initial Catalogue=sekret", "sqlserver", "Initial Catalogue"),
        ("Data Source=s;Authentication=Active Directory Interactive", "sqlserver",
         "Authentication"),
        ("Server=s;User ID=sekret;Authentication=Active Directory Default", "sqlserver",
         "AZURE_CLIENT_ID"),
        ("jdbc:sqlserver://h;user=u;password=sekret", "sqlserver", "jdbc:sqlserver"),
        ("mysql://u:sekret@h/d", "sqlserver", "mysql"),
        ("postgresql://u:sekret@h/d", "sqlserver", "POSTGRESQLCONNSTR_"),
        ("mssql+pyodbc://u:sekret@h/d", "postgresql", "SQLAZURECONNSTR_"),
        ("postgresql://u:sekret@a:1,b:2/d", "postgresql", "one host"),
        ("postgresql://u:sekret@h/d?load_balance_hosts=x", "postgresql", "load_balance_hosts"),
        ("Host=h;Password=sekret;Search Path=x", "postgresql", "Search Path"),
    ],
)  # fmt: skip
def test_the_error_has_the_untranslatable_keyword_and_no_value(text, family, named):
    with pytest.raises(ConnectionStringError) as raised:
        to_odbc(text, family=family)
    assert named.lower() in str(raised.value).lower()
    assert "sekret" not in str(raised.value)
