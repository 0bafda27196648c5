"""M1–M8: a mail server that misbehaves. Each recipient gets the statement once; what is not known to be taken is sent again
under the same Message-ID, and one recipient's trouble stops no other."""

from __future__ import annotations

import sys
from email import message_from_bytes
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "reports"))

import statements_made as made
from rawsmtp import Script, smtp_running
from reportshelp import make_jobs

from etl.settings import Connection
from reports import smtp
from reports.jobs import Reports

OCTOBER = made.OCTOBER
BOTH = ["billing@harborfinch.example", "lena@harborfinch.example"]


@pytest.fixture
def server():
    with smtp_running(Script()) as script:
        yield script


@pytest.fixture
def mail(tmp_path, server, monkeypatch):
    """(mails what is due, as a run of its own; returns the outcome of the account)."""
    monkeypatch.setattr(smtp.Server.__init__, "__kwdefaults__", {"starttls": True, "timeout": 1.0})
    given = [made.statement()]
    list(Reports(make_jobs(tmp_path, given, port=server.port)).publish(OCTOBER))

    def run(**settings):
        (outcome,) = Reports(make_jobs(tmp_path, given, port=server.port, mail=settings)).mail(OCTOBER)
        return outcome

    return run


def got(server) -> list[str]:
    return sorted(address for recipients, _ in server.taken for address in recipients)


def identities(server) -> set[str]:
    return {message_from_bytes(data)["Message-ID"] for _, data in server.taken}


DOWN = {
    "M1 no greeting": {"CONNECT": ["hang"]},
    "M1 busy": {"CONNECT": ["421 too busy"]},
    "M1 hung up at once": {"CONNECT": ["drop"]},
    "M1 hung up after the greeting": {"EHLO": ["drop"]},
    "M1 hung up in the middle": {"MAIL": ["drop"]},
    "M2 greylisted by sender": {"MAIL": ["451 come again"]},
    "M6 no room": {"MAIL": ["452 insufficient storage"]},
    "M4 drop at the data": {"DATA": ["drop"]},
    "M4 drop after the data": {"END": ["drop"]},
    "M4 silence after the data": {"END": ["hang"]},
    "M4 closing after the data": {"END": ["421 closing"]},
}


@pytest.mark.parametrize("name", DOWN)
def test_a_server_in_trouble_is_told_and_the_next_run_sends_all(name, server, mail):
    server.says = DOWN[name]
    outcome = mail()
    assert (outcome.error or outcome.held) and outcome.done == 0
    assert got(server) == []
    server.says = {}
    assert mail().done == 2
    assert got(server) == BOTH and len(identities(server)) == 1
    assert mail().done == 0 and len(server.taken) == 2


GREY = {
    "M2 greylisted": {"RCPT": ["451 greylisted", "250 ok"]},
    "M2 mailbox busy": {"RCPT": ["450 busy", "250 ok"]},
    "M3 unknown": {"RCPT": ["550 no such mailbox", "250 ok"]},
    "M6 too large at the end": {"END": ["552 too large", "250 ok"]},
    "M6 too large at the size": {"MAIL": ["552 larger than 1000 bytes", "250 ok"]},
}


@pytest.mark.parametrize("name", GREY)
def test_a_message_refused_stops_no_other_and_is_sent_the_next_time(name, server, mail):
    """M3: smtplib raises nothing when some of several recipients are refused; so no message has several."""
    server.says = {verb: list(answers) for verb, answers in GREY[name].items()}
    outcome = mail()
    assert (outcome.done, len(outcome.held), outcome.error) == (1, 1, None)
    assert "…@harborfinch.example: " in outcome.held[0] and "@harborfinch.example" not in outcome.held[0].split("…")[0]
    assert len(got(server)) == 1
    assert mail().done == 1
    assert got(server) == BOTH and all(len(recipients) == 1 for recipients, _ in server.taken)


def test_lost_after_the_data_at_most_one_doubles(server, mail):
    """M4: the server took the message, but its answer was lost. It comes again with the same Message-ID, and that is all."""
    server.says = {"END": ["250 taken", "drop"]}
    outcome = mail()
    assert outcome.error and got(server) == BOTH[:1]
    server.says = {}
    assert mail().done == 1
    assert got(server) == BOTH and len(identities(server)) == 1


def test_a_goodbye_that_never_comes_doubles_nothing(server, mail):
    server.says = {"QUIT": ["drop"]}
    assert mail().done == 2
    assert mail().done == 0 and got(server) == BOTH


@pytest.mark.parametrize("extensions", [(), ("PIPELINING",), ("SIZE 100000000",)])
def test_a_server_of_the_old_days_gets_seven_bits(extensions, server, mail):
    """M5: no ESMTP at all, or neither 8BITMIME nor SMTPUTF8."""
    server.extensions = extensions
    assert mail().done == 2
    for _, data in server.taken:
        assert data.isascii() and max(map(len, data.split(b"\r\n"))) < 998
    assert not any("SMTPUTF8" in line or "8BITMIME" in line for line in server.heard)


def test_an_address_the_server_cannot_write_stops_no_other(tmp_path, server):
    """M5: an address beyond ASCII needs SMTPUTF8."""
    server.extensions = ("SIZE 100000000",)
    who = made.account(email_to=("łukasz@harborfinch.example", BOTH[1]))
    reports = Reports(make_jobs(tmp_path, [made.statement(who=who)], port=server.port))
    list(reports.publish(OCTOBER))
    (outcome,) = reports.mail(OCTOBER)
    assert (outcome.done, len(outcome.held), outcome.error) == (1, 1, None)
    assert got(server) == BOTH[1:]


@pytest.mark.parametrize(
    ("extensions", "answer"),
    [(("8BITMIME",), None), (("STARTTLS",), "454 TLS not available"), (("STARTTLS",), "220 go ahead"), ((), None)],
    ids=["stripped", "refused", "no handshake", "no esmtp"],
)
def test_without_encryption_nothing_is_said(extensions, answer, tmp_path, server, monkeypatch):
    """M7: neither password nor message nor recipient."""
    server.extensions = extensions
    server.says = {"STARTTLS": [answer]} if answer else {}
    jobs = make_jobs(tmp_path, [made.statement()], mail={"starttls": True})
    jobs.connection = Connection("127.0.0.1", login="me", password="canary-smtp-9d1e", port=server.port)
    monkeypatch.setattr(smtp.Server.__init__, "__kwdefaults__", {"starttls": True, "timeout": 1.0})
    list(Reports(jobs).publish(OCTOBER))
    (outcome,) = Reports(jobs).mail(OCTOBER)
    assert outcome.error and outcome.done == 0 and "canary-smtp-9d1e" not in outcome.error
    assert {line.split()[0].upper() for line in server.heard} <= {"EHLO", "HELO", "STARTTLS", "QUIT"} or not any(
        word in line for line in server.heard for word in ("AUTH", "MAIL", "RCPT", "canary")
    )
    assert server.taken == []
