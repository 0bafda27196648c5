"""Fixtures: the provider in this process, the recorded samples, and retries that do not wait."""

from __future__ import annotations

import pytest
from sources_fake import MAIN, SAMPLES, Fake

from etl.sources import Page, _http


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Retries do not wait; the seconds they would have waited are here."""
    waited: list[float] = []
    monkeypatch.setattr(_http.Api, "_pause", lambda _self, seconds: waited.append(seconds))
    monkeypatch.setattr(_http.Api, "_wait_turn", lambda _self: None)
    return waited


@pytest.fixture(scope="session")
def sample_pages() -> list[Page]:
    files = [
        ("messages", "messages_2026-11-20_page0.json"), ("messages", "messages_2026-11-20_page1.json"),
        ("calls", "calls_2026-11-20.json"), ("recordings", "recordings_2026-11-20.json"),
        ("numbers", "incoming_phone_numbers.json"), ("usage", "usage_records_daily_2026-11-20.json"),
    ]  # fmt: skip
    return [Page(r, MAIN, n, name, (SAMPLES / name).read_bytes()) for n, (r, name) in enumerate(files)]


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real pauses, but short."""
    monkeypatch.setattr(_http, "FIRST_DELAY", 0.001)
