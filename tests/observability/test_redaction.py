"""Secrets are removed from every log line, whatever code wrote it."""

import io
import json
import logging

import pytest

from authentication.api_keys import PREFIX
from observability.logs import JsonFormatter, TextFormatter
from observability.redaction import redact

JWT = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJlLW9mLWl0"
PASSWORD = "Sw0rdf;sh{}!"
KEY = PREFIX + "N5YjyX5cMFiexqLcDHxIRCU8k1Gq2Sa2z7CYb9Xw2jk"
SIGNATURE = "c2lnbmF0dXJlLW9mLWl0"
SECRETS = (JWT, SIGNATURE, PASSWORD, "Sw0rdf", KEY, "hunter2-hunter2", "abcd+/secret==")

LINES = [
    f"Authorization: Bearer {JWT}",
    f"authorization=bearer {JWT}",
    "Authorization: Bearer hunter2-hunter2",
    "Authorization: Basic aHVudGVyMi1odW50ZXIy",
    f"token {JWT} was refused",
    f"cut off: {JWT[:60]}",
    f"X-API-Key: {KEY}",
    f"{{'X-API-Key': '{KEY}'}}",
    f"unknown key {KEY}.",
    "X-API-Key: hunter2-hunter2",
    "Driver={ODBC Driver 18};Server=tcp:x.example;UID=sa;PWD=hunter2-hunter2;Encrypt=yes",
    "SERVER=127.0.0.1,1433;DATABASE=WWIF;UID=reader;PWD={Sw0rdf;sh{}}!};Encrypt=no",
    "PWD={Sw0rdf;sh{}}!} is wrong",
    "Password = hunter2-hunter2; login failed",
    "could not connect: password='hunter2-hunter2' user=sa",
    '{"access_token": "hunter2-hunter2", "expires_on": 1}',
    "client_secret=hunter2-hunter2&grant_type=client_credentials",
    "X-IDENTITY-HEADER: hunter2-hunter2",
    "postgresql://webapp:hunter2-hunter2@db.example:5432/app",
    "InstrumentationKey=hunter2-hunter2;IngestionEndpoint=https://x.in.example/",
    "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=abcd+/secret==;EndpointSuffix=x",
    "https://a.blob.example/c?sv=2026&sig=abcd%2B/secret==&se=1",
]


@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
def test_every_secret_in_a_line_is_redacted(line):
    left = redact(line)
    assert not [s for s in (*SECRETS, "aHVudGVy", "abcd%2B") if s in left]
    assert "[redacted]" in left or "[connection string]" in left


def test_a_connection_string_is_redacted_as_a_whole():
    text = "SERVER=db.internal;DATABASE=WWIF;UID=reader;PWD=hunter2-hunter2;Encrypt=no"
    assert redact(f"failed: {text}") == "failed: [connection string]"


@pytest.mark.parametrize(
    "line",
    [
        "WWIF: connection lost (SQLSTATE 08S01, native error 10054); trying again",
        "access token renewed by ManagedIdentityCredential, expires 2026-11-21T01:00:00+00:00",
        "Pool 'WWIF': no connection in time (total 8, in use 8, idle 0, connecting 0, waiting 3).",
        "Listening at: http://127.0.0.1:5000 (4711)",
        "slow call: web.get_customer on WWIF took 1.203 s",
    ],
)
def test_other_text_stays(line):
    assert redact(line) == line


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_arguments_and_tracebacks_are_redacted_too(formatter):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    log = logging.Logger("tested")
    log.addHandler(handler)
    try:
        raise RuntimeError(f"login failed: UID=sa;PWD={PASSWORD}; token {JWT}")
    except RuntimeError:
        log.exception("could not connect with %s", f"Bearer {JWT}")
    said = stream.getvalue()
    assert "RuntimeError" in said
    assert not [secret for secret in SECRETS if secret in said]
    if isinstance(formatter, JsonFormatter):
        assert "RuntimeError" in json.loads(said)["exception"]
