"""Pulling a day: wall time beside the best a client with so many requests at a time can do, and memory by pages.

    python benchmarks/pull.py [--latency-ms 150] [--concurrency 4] [--rounds 2]

A page names the next one, so a list is a chain, and no client is faster than max(longest chain, pages ÷ requests at a
time) × latency. That bound is computed, and also met as nearly as can be by a small client that does nothing but ask, and
knows from a run before how long each list will be. Both ask the sandbox, and a provider in here whose lists have the
lengths that make scheduling hard. Rounds are interleaved; every round's pages are compared, byte for byte.

Memory is the peak of a process that pulls 100, 1,000 and 4,000 pages, alone and with the packing of the real job.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import heapq
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import httpx

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from etl.settings import Connection  # noqa: E402
from etl.sources import Context  # noqa: E402
from etl.sources._packs import pack  # noqa: E402
from etl.sources.twilio import Settings, Twilio  # noqa: E402
from sandbox.launch import launch  # noqa: E402

DAY = date(2026, 10, 6)
API = "/2010-04-01/Accounts"
MAIN, PASSWORD = "AC" + "0" * 32, "benchmark"
PATHS = {
    "messages": ("Messages.json", {"DateSent>": 0, "DateSent<": 1}),
    "calls": ("Calls.json", {"StartTime>": 0, "StartTime<": 1}),
    "recordings": ("Recordings.json", {"DateCreated>": 0, "DateCreated<": 1, "IncludeSoftDeleted": "true"}),
    "numbers": ("IncomingPhoneNumbers.json", {}),
    "usage": ("Usage/Records/Daily.json", {"StartDate": 0, "EndDate": 0, "IncludeSubaccounts": "false"}),
}
ALL = ("messages", "calls", "recordings", "video", "numbers", "usage")
ROOMS = {"Status": "completed", "DateCreatedAfter": -1, "DateCreatedBefore": 1}
WORLDS = {
    "8 lists of 30 pages": [[30, 0]] * 8,
    "12 lists of 20 pages, the last account one of 75": [[20, 0]] * 12 + [[75, 0]],
    "40 accounts, six lists each, one of 60 pages of calls": [[1, 1]] * 39 + [[1, 60]],
}
"""Pages of messages and of calls for each account; 0 is one page without a record."""
MEMORY = (100, 1000, 4000)


# ------------------------------------------------------------------------------------------------ a provider in here


class Made:
    """Lists of messages and calls of given lengths, every page different and of the same size, newest records first; the other
    lists are there and empty."""

    KEYS = {"Messages": "messages", "Calls": "calls", "Recordings": "recordings", "IncomingPhoneNumbers": "incoming_phone_numbers",
            "Daily": "usage_records"}  # fmt: skip

    def __init__(self, lists: list[list[int]], records: int, latency_ms: int) -> None:
        self.lengths = {
            f"AC{number:032x}": dict(zip(("Messages", "Calls"), pages, strict=True)) for number, pages in enumerate(lists)
        }
        self.latency = latency_ms / 1000
        self.rows = {name: self._rows(name, records) for name in ("Messages", "Calls")}

    @staticmethod
    def _rows(name: str, records: int) -> bytes:
        own = {"Messages": ("SM", "date_sent"), "Calls": ("CA", "start_time")}[name]
        row = {"status": "delivered", "body": "Your table for two is kept until nine. " * 3, "uri": "x" * 200}
        halves = ("@newer@", "@older@")
        made = ({"sid": f"{own[0]}@page@{n:020x}", own[1]: halves[2 * n // records], **row} for n in range(records))
        return b",".join(json.dumps(row).encode() for row in made)

    def answer(self, target: str) -> bytes:
        path, _, query = target.partition("?")
        if path == f"{API}.json":
            accounts = [
                {"sid": sid, "status": "active", "date_created": "Wed, 01 Jan 2020 00:00:00 +0000", "date_updated": None}
                for sid in self.lengths
            ]
            return json.dumps({"accounts": accounts, "page": 0, "next_page_uri": None}).encode()
        if path.startswith("/v1/"):
            return b'{"rooms":[],"meta":{"page":0,"next_page_url":null}}'
        sid, *_, file = path.removeprefix(f"{API}/").split("/")
        name = file.removesuffix(".json")
        pages = self.lengths[sid].get(name, 0)
        number = int(found[1]) if (found := re.search("&Page=([0-9]+)", query)) else 0
        more = f'"{path}?{query.split("&Page=")[0]}&Page={number + 1}"' if number + 1 < pages else "null"
        rows = self.rows.get(name, b"") if pages else b""
        rows = rows.replace(b"@page@", f"{int(sid[2:], 16):06x}{number:06x}".encode())
        for half, part in ((b"@newer@", number + 0.1), (b"@older@", number + 0.9)):
            moment = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC) + timedelta(1) * (1 - part / max(pages, 1))
            rows = rows.replace(half, f"{moment:%a, %d %b %Y %H:%M:%S} +0000".encode())
        return b'{"%s":[%s],"page":%d,"next_page_uri":%s}' % (self.KEYS[name].encode(), rows, number, more.encode())

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await asyncio.sleep(self.latency)
                body = self.answer(head.split(b" ", 2)[1].decode())
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body))
                writer.write(body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def serve(self) -> None:
        server = await asyncio.start_server(self.connection, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


@contextmanager
def made(lists: list[list[int]], records: int, latency_ms: int) -> Iterator[str]:
    """The URL of such a provider in a process of its own."""
    world = json.dumps({"lists": lists, "records": records, "latency_ms": latency_ms})
    process = subprocess.Popen([sys.executable, __file__, "--serve", world], stdout=subprocess.PIPE, text=True)  # noqa: S603
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


# ------------------------------------------------------------------------------------------------ the ideal client


class Ideal:
    """Asks for every page as soon as its address is known, ``concurrency`` at a time, and keeps only hashes. From its first
    run it knows every list's length, and then always asks for the list that has most pages left: the best there is."""

    def __init__(self, url: str, login: tuple[str, str], resources: tuple[str, ...], page_size: int, concurrency: int) -> None:
        self.url, self.login, self.resources = url, login, resources
        self.size, self.concurrency = page_size, concurrency
        self.lengths: Counter = Counter()
        self.accounts = 0

    def query(self, given: dict) -> str:
        days = {k: (DAY + timedelta(v)).isoformat() if isinstance(v, int) else v for k, v in given.items()}
        return urlencode(days | {"PageSize": self.size})

    def bound(self) -> int:
        """Answers one must wait for, one after the other, whoever asks."""
        longest = max(n + (1 if chain[1] == "rooms" else 0) for chain, n in self.lengths.items())
        return self.accounts + max(longest, -(-sum(self.lengths.values()) // self.concurrency))

    def run(self) -> Counter:
        """sha256 of every page, with how often it came."""
        return asyncio.run(self._run())

    async def _run(self) -> Counter:
        found, counted = Counter(), Counter()
        known = Counter(self.lengths)
        waiting: list[tuple] = []
        under_way, ready = 0, asyncio.Condition()

        def push(chain: tuple, page: int, url: str) -> None:
            left = known[chain] - page + (1 if chain[1] == "rooms" else 0)
            heapq.heappush(waiting, (-left, len(found) + len(waiting), chain, page, url))

        limits = httpx.Limits(max_connections=self.concurrency, max_keepalive_connections=self.concurrency)
        async with httpx.AsyncClient(base_url=self.url, limits=limits, timeout=120, trust_env=False) as client:

            async def get(url: str, login: tuple[str, str]) -> bytes:
                answer = await client.get(url, auth=login)
                answer.raise_for_status()
                return answer.content

            async def work() -> None:
                nonlocal under_way
                while True:
                    async with ready:
                        while not waiting and under_way:
                            await ready.wait()
                        if not waiting:
                            ready.notify_all()
                            return
                        _, _, chain, page, url = heapq.heappop(waiting)
                        under_way += 1
                    body = await get(url, (chain[0], self.login[1]) if chain[1] in ("rooms", "video") else self.login)
                    found[hashlib.sha256(body).hexdigest()] += 1
                    counted[chain] += 1
                    following = re.search(rb'"next_page_ur[il]":\s*"([^"]+)"', body)
                    async with ready:
                        under_way -= 1
                        if following:
                            push(chain, page + 1, following[1].decode())
                        if chain[1] == "rooms":
                            for room in json.loads(body)["rooms"]:
                                path = f"/v1/Rooms/{room['sid']}/Participants?{self.query({})}"
                                push((chain[0], "video", room["sid"]), 0, path)
                        ready.notify_all()

            url, self.accounts = f"{API}.json?{self.query({})}", 0
            while url:
                listed = json.loads(await get(url, self.login))
                url, self.accounts = listed["next_page_uri"], self.accounts + 1
                for sid in (a["sid"] for a in listed["accounts"]):
                    for name in self.resources:
                        if name == "video":
                            push((sid, "rooms"), 0, f"/v1/Rooms?{self.query(ROOMS)}")
                        else:
                            push((sid, name), 0, f"{API}/{sid}/{PATHS[name][0]}?{self.query(PATHS[name][1])}")
            await asyncio.gather(*(work() for _ in range(self.concurrency)))
        self.lengths = counted
        return found


# ------------------------------------------------------------------------------------------------ ours


def source(url: str, login: tuple[str, str], **settings: object) -> Twilio:
    who = Connection(login=login[0], password=login[1])
    own = Settings(connection="benchmark", base_url=url, timeout_seconds=120, **settings)
    return Twilio("benchmark", own, Context(resolve=lambda _: who))


def packed(given: Twilio) -> Counter:
    """A day through the source and the packing of the real job; nothing is stored. sha256 of every page."""
    return Counter(row[4] for row in pack(given.fetch(DAY), lambda data: hashlib.sha256(data).hexdigest()))


def race(name: str, url: str, login: tuple[str, str], settings: dict, latency_ms: int, rounds: int) -> str:
    """One row of the table."""
    ideal = Ideal(url, login, settings["resources"], settings["page_size"], settings["concurrency"])
    expected = ideal.run()
    own = source(url, login, **settings)
    took: dict[str, list] = {"ideal": [], "ours": []}
    for who in ("ideal", "ours", "ours", "ideal") * rounds:
        began, spent = time.monotonic(), time.process_time()
        found = ideal.run() if who == "ideal" else packed(own)
        took[who].append((time.monotonic() - began, time.process_time() - spent))
        if found != expected:
            raise SystemExit(f"{name}: {who} did not bring the same pages")
    (best, ideal_cpu), (wall, cpu) = ((statistics.median(c) for c in zip(*took[w], strict=True)) for w in ("ideal", "ours"))
    pages, bound = sum(expected.values()), ideal.bound() * latency_ms / 1000
    return (
        f"| {name} | {settings['concurrency']} | {pages} | {max(ideal.lengths.values())} | {bound:.1f} | {best:.1f} | {wall:.1f} "
        f"| **{wall / best:.2f}** | {wall / bound:.2f} | {1000 * cpu / pages:.1f} | {1000 * ideal_cpu / pages:.1f} |"
    )


# ------------------------------------------------------------------------------------------------ memory


def drained(url: str, how: str) -> None:
    """Pull everything and say how many pages came and the peak of this process in MiB: of the child that does only this."""
    given = source(url, (MAIN, PASSWORD), resources=("messages",), concurrency=4)
    if how == "packed":
        pages = sum(packed(given).values())
    else:
        pages = 0
        for _ in given.fetch(DAY):
            pages += 1
            if how == "slow":
                time.sleep(0.004)
    print(pages, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def peak(url: str, how: str, pages: int) -> float:
    done = subprocess.run(  # noqa: S603
        [sys.executable, __file__, "--drain", url, how], stdout=subprocess.PIPE, text=True, check=True, env={**os.environ}
    )
    came, mebibytes = done.stdout.split()
    if int(came) != pages:
        raise SystemExit(f"{came} pages instead of {pages}")
    return float(mebibytes)


def memory() -> Iterator[str]:
    peaks: dict[str, list[float]] = {"fetched": [], "slow": [], "packed": []}
    for pages in MEMORY:
        with made([[pages // 4, 0]] * 4, 150, 0) as url:
            for how, found in peaks.items():
                found.append(peak(url, how, pages))
    names = {"fetched": "pages taken at once", "slow": "reader slower than the provider", "packed": "packed, as the job does"}
    for how, found in peaks.items():
        cells = " | ".join(f"{mebibytes:.0f}" for mebibytes in found)
        yield f"| {names[how]} | {cells} | {found[1] / found[0]:.2f} | {found[2] / found[0]:.2f} |"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--latency-ms", type=int, default=150)
    options.add_argument("--concurrency", type=int, nargs="+", default=[4, 8])
    options.add_argument("--rounds", type=int, default=1, help="each is ideal, ours, ours, ideal")
    options.add_argument("--page-size", type=int, default=25, help="of the sandbox's lists")
    options.add_argument("--messages-per-day", type=int, default=3500)
    options.add_argument("--only", choices=("sandbox", "made", "memory"))
    options.add_argument("--serve", help=argparse.SUPPRESS)
    options.add_argument("--drain", nargs=2, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.serve:
        asyncio.run(Made(**json.loads(given.serve)).serve())
        return
    if given.drain:
        drained(*given.drain)
        return
    if given.only != "memory":
        print(f"Latency {given.latency_ms} ms a page. Times are wall seconds, medians of {2 * given.rounds}.\n")
        print("| day | at a time | pages | longest list | bound | ideal | ours | ours ÷ ideal | ours ÷ bound | CPU ms a page | ideal's |")
        print("| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |")
    if given.only in (None, "sandbox"):
        flags = ("--messages-per-day", str(given.messages_per_day), "--calls-per-day", str(given.messages_per_day // 5))
        with launch(*flags, "--latency-ms", str(given.latency_ms)) as box:
            for concurrency in given.concurrency:
                settings = {
                    "resources": ALL,
                    "concurrency": concurrency,
                    "page_size": given.page_size,
                }
                print(race("sandbox, six lists of four accounts", box.url, box.main, settings, given.latency_ms, given.rounds), flush=True)
    if given.only in (None, "made"):
        for name, lists in WORLDS.items():
            with made(lists, 25, given.latency_ms) as url:
                settings = {
                    "resources": ALL if "six" in name else ("messages", "calls"),
                    "concurrency": given.concurrency[0],
                    "page_size": 25,
                }
                print(race(name, url, (MAIN, PASSWORD), settings, given.latency_ms, given.rounds), flush=True)
    if given.only in (None, "memory"):
        print("\nPeak memory in MiB, pages of about 60 kB, four at a time.\n")
        print(f"| pages | {' | '.join(f'{n:,}' for n in MEMORY)} | ×10 | ×40 |\n| --- | --: | --: | --: | --: | --: |")
        for row in memory():
            print(row, flush=True)


if __name__ == "__main__":
    main()
