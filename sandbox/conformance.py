"""Holds the sandbox against the provider's own OpenAPI documents: a validating Prism proxy between a client and it.

    npm i --prefix /tmp/prism @stoplight/prism-cli
    python -m sandbox.conformance --prism /tmp/prism/node_modules/.bin/prism --specs tests/sandbox

The sandbox and the proxies are started on free ports and stopped at the end. Prism answers 500 (`--errors`) or adds an
`sl-violations` header when a request or an answer breaks the document; either is counted. Exit code 1 if any was.
"""

import argparse
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from sandbox.company import ACCOUNTS, CUSTOMERS, MAIN
from sandbox.launch import launch
from sandbox.usage_pages import PERIODS


@contextmanager
def prism_proxy(prism: str, spec: Path, upstream: str) -> Iterator[str]:
    """A Prism proxy with --errors in front of a server; yields its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [prism, "proxy", "--errors", "-h", "127.0.0.1", "-p", str(port), str(spec), upstream]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ))  # noqa: S603
    try:
        for _ in range(300):
            if process.poll() is not None:
                raise RuntimeError(f"prism ended with exit code {process.returncode}")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        else:
            raise RuntimeError("prism did not listen within 30 s")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def paths(day: date, pages: int) -> Iterator[tuple[str, int]]:
    """(path and query, pages to follow) over every endpoint and account."""
    until = day + timedelta(1)
    yield "/2010-04-01/Accounts.json?PageSize=2", pages
    for account in ACCOUNTS:
        base = f"/2010-04-01/Accounts/{account.sid}"
        yield f"{base}.json", 1
        yield f"{base}/IncomingPhoneNumbers.json?PageSize=5", pages
        yield f"{base}/Messages.json?PageSize=50", pages
        yield f"{base}/Messages.json?DateSent%3E={day}&DateSent%3C={until}&PageSize=100", pages
        yield f"{base}/Calls.json?StartTime%3E={day}&StartTime%3C={until}&PageSize=40", pages
        yield f"{base}/Calls.json?Status=busy&PageSize=5", pages
        yield f"{base}/Recordings.json?DateCreated%3E={day}&DateCreated%3C={until}&PageSize=10", pages
        for period in ("", *(f"/{name}" for name in PERIODS if name != "Yearly")):
            dates = f"StartDate={day}&EndDate={until}&" if period in ("", "/Daily", "/Monthly") else ""
            yield f"{base}/Usage/Records{period}.json?{dates}PageSize=20", pages


def check(url: str, day: date, pages: int) -> tuple[Counter, list[str]]:
    """Requests everything through the proxy; returns (counts, violations)."""
    counts, violations = Counter(), []
    with httpx.Client(base_url=url, auth=(MAIN.sid, MAIN.token), timeout=60) as client:

        def get(target: str, expected: int = 200) -> dict:
            answer = client.get(target)
            counts["requests"] += 1
            if answer.status_code != expected or "sl-violations" in answer.headers:
                violations.append(f"{answer.status_code} {target}: {answer.text[:500]}")
                return {}
            return answer.json()

        for target, limit in paths(day, pages):
            next_target: str | None = target
            for _ in range(limit):
                body = get(next_target)
                counts["pages"] += 1
                rows = next((value for value in body.values() if isinstance(value, list)), [])
                counts["records"] += len(rows)
                for row in rows[:2]:
                    if "sid" in row and row["uri"].split("/")[-2] in ("Messages", "Calls", "Accounts"):
                        get(row["uri"])
                        counts["single records"] += 1
                next_target = body.get("next_page_uri")
                if not next_target:
                    break
        account = f"/2010-04-01/Accounts/{CUSTOMERS[0].sid}"
        get(f"{account}/Messages.json?DateSent%3E=2020-01-01", expected=400)
        get(f"{account}/Usage/Records/Daily.json?StartDate=2020-01-01&EndDate=2020-01-02", expected=404)
        get(f"{account}/Messages/SM{'0' * 32}.json", expected=404)
        client.auth = (MAIN.sid, "wrong")
        get(f"{account}/Messages.json", expected=401)
    return counts, violations


def check_video(url: str, day: date, pages: int) -> tuple[Counter, list[str]]:
    """Requests every room of a week, each with its participants; returns (counts, violations)."""
    counts, violations = Counter(), []
    with httpx.Client(base_url=url, timeout=60) as client:

        def listed(target: str, key: str) -> Iterator[dict]:
            for _ in range(pages):
                answer = client.get(target)
                counts["requests"] += 1
                counts["pages"] += 1
                if answer.status_code != 200 or "sl-violations" in answer.headers:
                    violations.append(f"{answer.status_code} {target}: {answer.text[:500]}")
                    return
                counts["records"] += len(answer.json()[key])
                yield from answer.json()[key]
                following = urlsplit(answer.json()["meta"]["next_page_url"] or "")
                if not following.path:
                    return
                target = f"{following.path}?{following.query}"

        for account in ACCOUNTS:
            client.auth = (account.sid, MAIN.token)
            created = f"DateCreatedAfter={day}T00:00:00Z&DateCreatedBefore={day + timedelta(7)}T00:00:00Z"
            for room in listed(f"/v1/Rooms?Status=completed&{created}&PageSize=5", "rooms"):
                list(listed(f"/v1/Rooms/{room['sid']}/Participants?PageSize=2", "participants"))
    return counts, violations


def main() -> int:
    """Runs the check and prints what was counted; exit code 0 if nothing broke the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prism", default="prism", help="path of the prism executable")
    parser.add_argument("--specs", type=Path, default=Path("tests/sandbox"), help="folder of the two documents")
    parser.add_argument("--day", type=date.fromisoformat, default=date(2026, 10, 6))
    parser.add_argument("--pages", type=int, default=4, help="pages to follow of each list (default 4)")
    options = parser.parse_args()
    counts, violations = Counter(), []
    with launch() as box:
        for document, run in (("twilio_api_v2010.read.json", check), ("twilio_video_v1.read.json", check_video)):
            with prism_proxy(options.prism, options.specs / document, box.url) as url:
                found, broken = run(url, options.day, options.pages)
            counts += found
            violations += broken
    for name, number in counts.items():
        print(f"{name:<16}{number:>8}")
    print(f"{'violations':<16}{len(violations):>8}")
    for violation in violations[:10]:
        print("  ", violation)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
