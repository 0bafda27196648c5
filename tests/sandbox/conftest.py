"""Running sandboxes and clients for the tests of the sandbox provider."""

import httpx
import pytest
from sandboxhelp import BASE, NOW

from sandbox.company import MAIN
from sandbox.launch import Running, launch
from sandbox.traffic import World


class Box:
    """A running sandbox with a client that may read every account."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.http = httpx.Client(base_url=running.url, auth=running.main, timeout=30)

    def get(self, path: str, status: int = 200, **query) -> dict:
        answer = self.http.get(path, params=query or None)
        assert answer.status_code == status, answer.text
        return answer.json()

    def pages(self, path: str, **query):
        page = self.get(path, **query)
        yield page
        while page["next_page_uri"]:
            page = self.get(page["next_page_uri"])
            yield page

    def rows(self, path: str, key: str, **query) -> list[dict]:
        return [row for page in self.pages(path, **query) for row in page[key]]

    def fault(self, **rule) -> list[dict]:
        answer = self.http.post("/_sandbox/faults", json=rule)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def clear(self) -> None:
        self.http.delete("/_sandbox/faults")
        self.http.delete("/_sandbox/stats")
        self.http.post("/_sandbox/clock", json={"now": NOW})


@pytest.fixture(scope="session")
def _running():
    with launch("--seed", "7", "--now", NOW) as running:
        yield Box(running)


@pytest.fixture
def box(_running):
    _running.clear()
    yield _running
    _running.clear()


@pytest.fixture(scope="session")
def world() -> World:
    return World(7)


@pytest.fixture(scope="session")
def main_base() -> str:
    return f"{BASE}/{MAIN.sid}"
