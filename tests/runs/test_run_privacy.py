"""A month from the provider to the mailbox in which every text carries a marker: it and every number stay inside the lake."""

from __future__ import annotations

import contextlib
import gzip
import logging
import re
import socket
import threading
from collections.abc import Iterator
from datetime import date
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import polars as pl
import pytest
import uvicorn
from aiosmtpd.controller import Controller
from workplace import environment, workplace

from etl.jobs import Jobs
from etl.periods import Month
from reports.jobs import Reports
from sandbox.api import Provider, application
from sandbox.launch import Running
from sandbox.records import Records
from sandbox.traffic import World

MARKER = "Heron at dusk, private to the bone"
OCTOBER = Month(2026, 10)
DAYS = [date(2026, 10, day) for day in (29, 30, 31)]
LATER = date(2026, 11, 1)
"""A day with records that cannot be read, of a month that stays open."""
DIGITS = re.compile(r"\d[\d ().\-/\u00a0]{7,}\d")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextlib.contextmanager
def marked_provider() -> Iterator[Running]:
    """The sandbox, in this process, with the marker in every text."""
    from sandbox.__main__ import _clock, build_parser

    world = World(1, 40, 12)
    provider = Provider(world, _clock(build_parser().parse_args(["serve"])))
    server = uvicorn.Server(
        uvicorn.Config(application(provider), port=(port := free_port()), log_level="critical", lifespan="off")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.02)
    yield Running(f"http://127.0.0.1:{port}", 0)
    server.should_exit = True
    thread.join(10)


class Mailbox:
    """An SMTP server that keeps what it is given."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    async def handle_DATA(self, server, session, envelope):
        self.taken.append(envelope.content)
        return "250 taken"


def said_by(data: bytes, suffix: str) -> str:
    """A file as text: Parquet with its columns written out, mail decoded."""
    if suffix == ".parquet":
        import io

        frame = pl.read_parquet(io.BytesIO(data))
        return frame.with_columns(pl.col(pl.List).list.join(" ")).write_csv() + repr(frame.columns)
    if suffix == ".gz":
        data = gzip.decompress(data)
    if suffix == ".eml":
        parsed = message_from_bytes(data, policy=default)
        texts = [part.get_content() for part in parsed.walk() if not part.is_multipart()]
        return "\n".join([*(f"{name}: {value}" for name, value in parsed.items()), *texts])
    return data.decode("utf-8")


def numbers_in(text: str) -> set[str]:
    """The last ten digits of whatever could be a phone number, however it is written."""
    runs = (re.sub(r"\D", "", found[0]) for found in DIGITS.finditer(text))
    return {run[i : i + 10] for run in runs if len(run) >= 10 for i in range(len(run) - 9)}


@pytest.fixture(scope="module")
def month(tmp_path_factory):
    """(what was said by each output, every phone number in the source, the bodies): pulled, closed, published, mailed."""
    root, mailbox = tmp_path_factory.mktemp("private"), Mailbox()
    original, log = Records._message, []
    handler = logging.Handler(logging.DEBUG)
    handler.emit = lambda record: log.append(f"{record.name} {record.getMessage()} {record.exc_text or ''}")
    before = logging.root.level

    def marked(self, account, sid, **fields):
        fields["body"] = f"{MARKER} {fields['body']}"
        if "01 Nov 2026" in (fields["date_sent"] or ""):
            fields |= {"price": f"{MARKER} {fields['to']}", "direction": fields["to"]}
        return original(self, account, sid, **fields)

    with pytest.MonkeyPatch.context() as patch, marked_provider() as provider:
        patch.setattr(Records, "_message", marked)
        controller = Controller(mailbox, hostname="127.0.0.1", port=free_port())
        controller.start()
        logging.root.addHandler(handler)
        logging.root.setLevel(logging.INFO)
        logging.getLogger("tollbook").setLevel(logging.DEBUG)
        try:
            settings = workplace(root / "place", provider, start="2026-10-29")
            for name, value in environment(settings, provider, controller.port).items():
                if name.startswith(("TOLLBOOK", "AIRFLOW_CONN")):
                    patch.setenv(name, value)
            jobs = Jobs.open(run_id="private")
            for day in DAYS:
                jobs.run_day(day)
            jobs.state(OCTOBER)
            closed = jobs.close(OCTOBER)
            reports = Reports(jobs)
            outcomes = [*reports.publish(OCTOBER), *reports.mail(OCTOBER), *reports.operator(OCTOBER)]
            jobs.run_day(LATER)
            jobs.state(OCTOBER + 1)
            outcomes += [*reports.publish(OCTOBER + 1), *reports.operator(OCTOBER + 1)]
            outcomes += [
                *reports.preview(OCTOBER, folder=root / "eml"),
                *reports.preview(OCTOBER + 1, folder=root / "eml"),
            ]
        finally:
            logging.root.removeHandler(handler)
            logging.root.setLevel(before)
            controller.stop()
    assert [one.error for one in outcomes if one.error] == [], closed
    texts = {f"mail {i}": said_by(data, ".eml") for i, data in enumerate(mailbox.taken)}
    texts |= {"log": "\n".join(log), "outcomes": repr([one.as_dict() for one in outcomes])}
    for folder in ("place/published", "eml"):
        for path in sorted((root / folder).rglob("*")):
            if path.is_file():
                texts[path.relative_to(root).as_posix()] = said_by(path.read_bytes(), path.suffix)
    return texts, *held_inside(jobs, root / "place/lake")


def held_inside(jobs: Jobs, lake: Path) -> tuple[set[str], list[str]]:
    """(phone numbers, bodies) of the source: they are in the lake, or the test would look for nothing."""
    numbers, bodies = set(), []
    for version in jobs.lake.heads("events").values():
        events = jobs.lake.read(version)
        for name in ("from_number", "to_number"):
            numbers |= numbers_in(" ; ".join(events[name].drop_nulls().unique().to_list()))
        bodies += events["body"].drop_nulls().to_list()
    raw = b"".join(gzip.decompress(p.read_bytes()) for p in lake.rglob("*.gz"))
    assert MARKER.encode() in raw
    return numbers, bodies


def test_the_run_was_a_whole_one(month):
    texts, numbers, bodies = month
    suffixes = {Path(name).suffix for name in texts}
    assert {".html", ".csv", ".json", ".parquet", ".eml"} <= suffixes
    assert sum(name.startswith("mail ") for name in texts) >= 3, "each account's recipients got one"
    assert any("_operator" in name for name in texts) and any("rev-1" in name for name in texts)
    assert len(numbers) > 60 and len(bodies) > 100 and all(MARKER in body for body in bodies)
    assert len(texts["log"]) > 200
    assert texts["place/published/_operator/2026-11/quarantine.csv"].count("\n") > 1, "what cannot be read is told"


def test_no_text_leaves_the_lake(month):
    texts, _, _ = month
    assert [
        name for name, text in texts.items() if any(word in text.lower() for word in ("heron", "dusk", "private to"))
    ] == []


def test_no_phone_number_leaves_the_lake(month):
    texts, numbers, _ = month
    found = {name: numbers_in(text) & numbers for name, text in texts.items()}
    assert {name: sorted(of)[:3] for name, of in found.items() if of} == {}


def test_a_number_would_be_found_however_it_is_written():
    written = ("+13125550177", "1 (312) 555-0177", "312.555.0177", "tel:3125550177;", "312\u00a0555\u00a00177")
    assert all("3125550177" in numbers_in(f"x {one} y") for one in written)
    assert numbers_in("•••• 0177, 2026-10-05, $1,234.56") == set()
