"""Mail once: whatever dies, and wherever, nobody is left out and nobody gets two but in one place, which is marked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import statements_made as made
from reportshelp import listening, make_jobs

from etl.settings import ConfigurationError, Connection
from reports.jobs import Failed, Reports, mail_month, publish_month
from reports.outbox import Outbox
from reports.smtp import Server, Unavailable

BOTH = ["billing@harborfinch.example", "lena@harborfinch.example"]
OCTOBER = made.OCTOBER


@pytest.fixture
def reports(jobs) -> Reports:
    reports = Reports(jobs)
    assert [one.error for one in reports.publish(OCTOBER)] == [None]
    return reports


def mailed(reports: Reports):
    (one,) = reports.mail(OCTOBER)
    return one


def test_each_recipient_gets_one_message_and_sees_no_other(reports, catcher):
    assert mailed(reports).done == 2
    assert catcher.recipients() == BOTH
    for address, data in catcher.messages:
        assert data.count(b"To: ") == 1 and address.encode() in data
        assert not any(other.encode() in data for other in BOTH if other != address)


def test_a_second_run_sends_nothing(reports, jobs, catcher):
    mailed(reports)
    again = mailed(Reports(jobs))
    assert (again.done, again.unchanged, again.held) == (0, 2, ()) and len(catcher.messages) == 2


def test_a_revision_is_mailed_anew(reports, jobs, catcher):
    mailed(reports)
    jobs.statements.given = [made.statement(revision=2)]
    list(Reports(jobs).publish(OCTOBER))
    assert mailed(Reports(jobs)).done == 2
    assert b"In-Reply-To: <usage.acct_7Q2M.2026-10.r1@tollbook.example>" in catcher.messages[-1][1]


def test_a_refused_recipient_is_reported_and_tried_again(reports, jobs, catcher):
    catcher.refuse = {BOTH[0]: "550 no such mailbox"}
    one = mailed(reports)
    assert one.done == 1 and one.error is None
    assert one.held == ("not mailed to b…@harborfinch.example: 550 no such mailbox",)
    catcher.refuse = {BOTH[0]: "451 greylisted, come again"}
    assert mailed(Reports(jobs)).held and catcher.recipients() == BOTH[1:]
    catcher.refuse = {}
    assert mailed(Reports(jobs)).done == 1
    assert catcher.recipients() == BOTH


def test_a_refusal_makes_a_task_retry(reports, jobs, catcher):
    catcher.refuse = {BOTH[0]: "451 greylisted"}
    with pytest.raises(Failed, match="b…@harborfinch.example: 451 greylisted"):
        mail_month(jobs, "2026-10")
    catcher.refuse = {}
    mail_month(jobs, "2026-10")
    assert catcher.recipients() == BOTH


def test_a_message_refused_after_its_data_is_tried_again(reports, jobs, catcher):
    catcher.after_data = "552 too large"
    assert len(mailed(reports).held) == 2 and not catcher.messages
    catcher.after_data = None
    assert mailed(Reports(jobs)).done == 2


def test_one_address_given_twice_is_one_recipient(tmp_path, catcher):
    who = made.account(email_to=("a@b.example", "A@B.example ", "a@b.example\r\nBcc: x@y.example"))
    reports = Reports(make_jobs(tmp_path, [made.statement(who=who)], port=catcher.port))
    list(reports.publish(OCTOBER))
    one = mailed(reports)
    assert one.done == 1 and len(one.held) == 1 and "not one e-mail address" in one.held[0]
    assert len(catcher.messages) == 1 and b"Bcc" not in catcher.messages[0][1]


@pytest.mark.parametrize("state", ["open", "provisional"])
def test_only_final_statements_are_mailed(tmp_path, catcher, statements, state):
    reports = Reports(make_jobs(tmp_path, [statements[state]], port=catcher.port))
    list(reports.publish(OCTOBER))
    one = mailed(reports)
    assert one.held == (f"2026-10 is {state}: only a final statement is mailed",) and not catcher.messages


def test_what_is_not_published_is_not_mailed(jobs, catcher):
    assert "not published" in mailed(Reports(jobs)).held[0] and not catcher.messages


def test_an_old_month_is_not_mailed(tmp_path, catcher):
    reports = Reports(make_jobs(tmp_path, [made.statement()], port=catcher.port, mail={"max_age_days": 3}))
    list(reports.publish(OCTOBER))
    one = mailed(reports)
    assert (one.done, one.held, one.error) == (0, (), None) and one.details == {"too_old": 4}


def test_previews_leave_no_trace(tmp_path, catcher, statements):
    jobs = make_jobs(tmp_path, [statements["open"]], port=catcher.port)
    reports = Reports(jobs)
    (one,) = reports.preview(OCTOBER, to="me@tollbook.example")
    assert one.done == 1 and catcher.recipients() == ["me@tollbook.example"]
    assert b"Subject: Preview: " in catcher.messages[0][1] and b"<preview.acct_7Q2M" in catcher.messages[0][1]
    (one,) = reports.preview(OCTOBER, folder=tmp_path / "eml")
    assert len(list((tmp_path / "eml").glob("acct_7Q2M_2026-10_*.eml"))) == one.done == 2
    assert len(catcher.messages) == 1 and not jobs.lake.list_pins("outbox/")


# ------------------------------------------------------------------------------------------------ dying


class Died(BaseException):
    """A process that is no more; nothing catches it."""


STEPS = ["before intend", "after intend", "before confirm", "after confirm"]


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("step", STEPS)
def test_dying_between_any_two_steps(reports, jobs, catcher, monkeypatch, step, nth):
    when, name = step.split()
    real, calls = getattr(Outbox, name), []

    def dying(self, *given):
        calls.append(given)
        if len(calls) == nth and when == "before":
            raise Died
        real(self, *given)
        if len(calls) == nth and when == "after":
            raise Died

    monkeypatch.setattr(Outbox, name, dying)
    with pytest.raises(Died):
        mailed(reports)
    monkeypatch.setattr(Outbox, name, real)
    mailed(Reports(jobs))
    doubled = step == "before confirm"
    assert len(catcher.messages) == (3 if doubled else 2)
    assert sorted(set(catcher.recipients())) == BOTH
    if doubled:
        copies = [d for a, d in catcher.messages if a == catcher.messages[nth - 1][0]]
        assert len(copies) == 2 and copies[0] == copies[1], "the same bytes, the same Message-ID"
    assert mailed(Reports(jobs)).done == 0


@pytest.mark.parametrize("step", STEPS)
def test_killed_between_any_two_steps(tmp_path, catcher, step):
    """The same with a process of its own and a signal it cannot catch."""
    reports = Reports(make_jobs(tmp_path, [made.statement()], port=catcher.port))
    list(reports.publish(OCTOBER))
    code = f"""
import os, signal, sys
sys.path[:0] = [{str(Path(__file__).parent)!r}]
import statements_made as made
from reportshelp import make_jobs
from pathlib import Path
from reports.jobs import Reports
from reports.outbox import Outbox
when, name = {step!r}.split()
real = getattr(Outbox, name)
def dying(self, *given):
    if when == "after":
        real(self, *given)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(Outbox, name, dying)
list(Reports(make_jobs(Path({str(tmp_path)!r}), [made.statement()], port={catcher.port})).mail(made.OCTOBER))
"""
    repository = Path(__file__).resolve().parents[2]
    died = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, env={**os.environ, "PYTHONPATH": str(repository)}
    )
    assert died.returncode == -signal.SIGKILL
    mailed(reports)
    assert len(catcher.messages) == (3 if step == "before confirm" else 2)
    assert sorted(set(catcher.recipients())) == BOTH
    assert len({data.partition(b"Message-ID: ")[2].partition(b"\r\n")[0] for _, data in catcher.messages}) == 1


# ------------------------------------------------------------------------------------------------ the mail server


def test_no_server_is_a_failure_and_the_next_run_sends(tmp_path, catcher):
    jobs = make_jobs(tmp_path, [made.statement()], port=1)
    publish_month(jobs, "2026-10")
    with pytest.raises(Failed, match="no mail server at 127.0.0.1:1"):
        mail_month(jobs, "2026-10")
    jobs.connection = Connection(host="127.0.0.1", port=catcher.port)
    mail_month(jobs, "2026-10")
    assert catcher.recipients() == BOTH


def test_a_server_without_encryption_is_refused(tmp_path, catcher):
    reports = Reports(make_jobs(tmp_path, [made.statement()], port=catcher.port, mail={"starttls": True}))
    list(reports.publish(OCTOBER))
    one = mailed(reports)
    assert "does not offer STARTTLS" in one.error and not catcher.messages


def test_a_password_never_travels_in_the_clear():
    connection = Connection(host="mail.example.com", login="me", password="secret", port=25)
    with Server(connection, starttls=False) as server, pytest.raises(ConfigurationError, match="in the clear"):
        server.send(None, "a@b.example", "c@d.example")


def test_starttls_with_a_certificate_that_is_checked(tmp_path, catcher, pages_by_name):
    import ssl

    from test_report_mail import message

    cert, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with listening(catcher, tls_context=context) as port:
        mail = message(pages_by_name["usual"])
        with Server(Connection("127.0.0.1", port=port)) as server, pytest.raises(Unavailable, match="(?i)certificate"):
            server.send(mail, "billing@tollbook.example", "a@b.example")
        with Server(Connection("127.0.0.1", port=port, extra={"cafile": str(cert)})) as server:
            server.send(mail, "billing@tollbook.example", "a@b.example")
    assert catcher.recipients() == ["a@b.example"]


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made_ = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(made_.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_file, key_file
