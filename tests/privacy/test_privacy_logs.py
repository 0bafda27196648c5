"""What no log says, however it comes to be logged; and what every log may say."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl import redaction
from etl.redaction import mask

TEXT = "Heron at dusk"

HIDES = {
    "number": ("cannot send to +15550100123: unreachable", "5550100123"),
    "encoded": (
        'HTTP Request: GET https://api.example.com/Messages.json?To=%2B15550100123 "HTTP/1.1 200 OK"',
        "5550100123",
    ),
    "bare": ("caller 15550100123 hung up", "5550100123"),
    "written": ("call (555) 010-0123 or 555.010.0123, +1 555 010 0123", "0123 or"),
    "in a tuple": ("('+15550100123', 'SM1')", "5550100123"),
    "body": ('{"sid": "SM1", "body": "Heron at \\"dusk\\"", "to": null}', "Heron"),
    "body of a dict": (repr({"body": "Heron at 'dusk'"}), "Heron"),
    "body of a form": ("send_request_body To=x&Body=Heron%20at%20dusk", "Heron"),
    "answer printed whole": ("Response body:\nb'<Contents>Heron at dusk'", "Heron"),
    "password in a url": ("GET https://AC1:t0k3n@api.example.com/x", "t0k3n"),
    "basic": ("headers: [(b'Authorization', b'Basic QUMxOnQwazNu')]", "QUMxOnQwazNu"),
    "basic in a line": ("Authorization: Basic QUMxOnQwazNu", "QUMxOnQwazNu"),
    "bearer": ("sent Bearer abcdef0123456789", "abcdef0123456789"),
    "signature": ("GET /b/k?X-Amz-Credential=AKIAX%2F2026&X-Amz-Signature=deadbeef0123 HTTP/1.1", "deadbeef0123"),
    "aws header": (
        "'Authorization': b'AWS4-HMAC-SHA256 Credential=AKIAX/2026, Signature=deadbeef0123'",
        "deadbeef0123",
    ),
    "auth token": ('{"auth_token": "t0k3n-secret", "sid": "AC1"}', "t0k3n"),
    "session token": ("x-amz-security-token: 'FwoGZXIvYXdz'", "FwoGZXIvYXdz"),
}
STAYS = (
    "charge 12345.678901234 USD, total $1,234,567.89, -0.007900000, 1234567890.12",
    "record SM0123456789abcdef0123456789abcdef of AC11111111111111111111111111111111, CA99999999999999999999999999999999",
    "sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "run manual-12345678-1234-4321-8765-123456789012",
    "2026-10-25/2026-10-31 at 2026-11-22T13:41:56.123456+00:00, 2026-11-22 13:41:56",
    "raw/date=2026-10-31/source=twilio: 1234567 rows, version 00000003",
    "http://127.0.0.1:8080/2010-04-01/Accounts/AC1/Messages.json?PageSize=1000&DateSent%3E=2026-10-31",
    "0a1b2c3d4e5f6071:12: bad_price",
    "fix the password in the connection, then try again; missing authorization: check the key",
    "no price for line text, prefix +1, short code 12345",
)


@pytest.mark.parametrize("name", HIDES)
def test_hidden(name):
    text, secret = HIDES[name]
    assert secret in text and secret not in mask(text)
    assert mask(mask(text)) == mask(text)


@pytest.mark.parametrize("text", STAYS)
def test_untouched(text):
    assert mask(text) == text


@given(
    st.from_regex(r"\A\+[1-9][0-9]{9,14}\Z"),
    st.sampled_from(["{}", "to {}.", "'{}'", "({})", "a={}&b", "tel:{};x", "\t{}\n"]),
)
def test_a_number_is_cut_to_its_last_three_digits(number, sentence):
    said = mask(sentence.format(number))
    assert said == sentence.format("***" + number[-3:])


@given(st.from_regex(r"\A(SM|AC|CA|MM)[0-9a-f]{32}\Z"))
def test_a_record_id_stays(sid):
    assert mask(f"{sid} and {sid}, '{sid}'") == f"{sid} and {sid}, '{sid}'"


@given(st.decimals(min_value=-(10**8), max_value=10**8, places=9))
def test_an_amount_stays(amount):
    assert mask(f"{amount} USD {amount:,} {amount:.2f}") == f"{amount} USD {amount:,} {amount:.2f}"


@pytest.fixture
def written():
    """What a handler on the root logger wrote, set up before or after `install` alike."""
    before, stream = logging.getLogRecordFactory(), io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s"))
    logging.root.addHandler(handler)
    redaction.install()
    redaction.install()
    yield stream.getvalue
    logging.root.removeHandler(handler)
    logging.setLogRecordFactory(before)


@pytest.mark.parametrize(
    "name", ["tollbook", "httpx", "httpcore.http11", "botocore.endpoint", "urllib3.connectionpool"]
)
def test_whoever_logs_it(written, name):
    for text, _ in HIDES.values():
        logging.getLogger(name).error("saw %s", text)
    logging.getLogger(name).error("body %r", {"body": TEXT, "to": "+15550100123"})
    logging.getLogger(name).error("%(body)s", {"body": "x"})
    said = written()
    assert said.count(name) == len(HIDES) + 2
    assert not any(secret in said for _, secret in HIDES.values())


def test_what_an_exception_says(written):
    try:
        try:
            raise ValueError("no such recipient: +15550100123")
        except ValueError as error:
            raise RuntimeError(f"refused: {{'body': '{TEXT}'}}") from error
    except RuntimeError:
        logging.getLogger("tollbook").exception("task failed")
    said = written()
    assert "task failed" in said and "ValueError: no such recipient: ***123" in said and "RuntimeError" in said
    assert TEXT not in said and "5550100123" not in said


def test_an_exception_with_nothing_to_hide_is_told_as_ever(written):
    try:
        raise ValueError("version 3 of 12345.67")
    except ValueError:
        logging.getLogger("tollbook").exception("task failed")
    assert written().count("ValueError: version 3 of 12345.67") == 1


def test_a_line_that_cannot_be_formatted_leaks_nothing(written):
    logging.getLogger("tollbook").error("%d of %s", "+15550100123")
    assert "5550100123" not in written()


def test_errors_of_a_command_are_masked(capsys):
    from etl import console

    before = logging.getLogRecordFactory()
    handlers, level = list(logging.root.handlers), logging.root.level

    def work() -> int:
        raise ValueError("cannot read the row of +15550100123")

    try:
        assert console.guarded(work, as_json=False) == 1
    finally:
        logging.root.handlers[:], logging.root.level = handlers, level
        logging.setLogRecordFactory(before)
    assert capsys.readouterr().err == "tollbook: cannot read the row of ***123\n"


AIRFLOW = """
import logging, sys
from airflow.sdk.log import configure_logging
import structlog
configure_logging(output=sys.stdout.buffer, json_output=True, sending_to_supervisor=True)
early = structlog.get_logger("task")
early.info("begun")
from etl import redaction
redaction.install()
early.info("to +15550100123", row={"body": "Heron at dusk", "to": ["+15550100123"]})
try:
    raise ValueError("cannot send to +15550100123")
except ValueError:
    early.exception("Task failed with exception")
    logging.getLogger("httpx").warning("GET ?To=%s", "%2B15550100123", exc_info=True)
"""


def test_a_task_of_airflow_logs_no_number(tmp_path):
    """With the logging of Airflow's own task processes, and the logger that reports a task's exception."""
    done = subprocess.run(
        [sys.executable, "-c", AIRFLOW], capture_output=True, text=True, check=True,
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path)},
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert "5550100123" not in said and "Heron" not in said
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["event"].partition("\n")[0] for line in lines] == [
        "begun", "to ***123", "Task failed with exception", "GET ?To=***123",
    ]  # fmt: skip
    assert lines[2]["exception"][0]["exc_value"] == "cannot send to ***123"


def test_a_task_that_writes_plain_lines_tells_the_exception_masked():
    """Where the last step of structlog would write the traceback: `DAG.test` and a terminal."""
    try:
        raise ValueError("cannot send to +15550100123")
    except ValueError:
        said = redaction._structured(None, "error", {"event": "failed", "exc_info": True, "n": 15550100123})
    assert "exc_info" not in said and said["event"].endswith("ValueError: cannot send to ***123")
    kept = redaction._structured(None, "info", {"event": "done", "rows": 3, "parts": ("a", ["b"]), "none": None})
    assert kept == {"event": "done", "rows": 3, "parts": ("a", ["b"]), "none": None}
