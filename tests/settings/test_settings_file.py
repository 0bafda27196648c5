"""One settings file: what is wrong is named with its key before anything is read or requested, and no secret is told."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import pytest

from etl import settings
from etl.settings import ConfigurationError

EXAMPLE = Path(__file__).resolve().parents[2] / "config" / "tollbook.example.toml"
MINIMAL = """\
start = 2026-03-01
directory = "directory"
rates = "rates"

[lake]
url = "lake"

[sources.twilio]
kind = "twilio"
connection = "twilio"

[reports.store]
url = "published"
"""


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in [n for n in os.environ if n.startswith("TOLLBOOK_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def load(tmp_path):
    def load_text(text: str = MINIMAL) -> settings.Settings:
        file = tmp_path / "tollbook.toml"
        file.write_text(text, encoding="utf-8")
        return settings.load(file)

    return load_text


def refusal(load, text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(text)
    assert caught.value.__cause__ is None and caught.value.__suppress_context__
    return str(caught.value)


def test_the_example_is_a_working_file():
    found = settings.load(EXAMPLE)
    assert (found.start, found.lookback_days, found.reread_month_on) == (date(2026, 3, 1), 7, (3, 8))
    assert found.path("lake") == EXAMPLE.parent / "lake"


def test_every_default_the_example_prints_is_the_default(load):
    """The example must not teach another value than the one that holds when a key is left out."""
    minimal, example = load(), settings.load(EXAMPLE)
    names = (
        *("currency", "lookback_days", "settle_hours", "reread_month_on", "close_after_days", "credits_per_segment"),
        "operators",
    )
    assert {n: getattr(minimal, n) for n in names} == {n: getattr(example, n) for n in names}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[lake]", "bogus = 1\n[lake]", "bogus: Extra inputs are not permitted"),
        ("[lake]", 'home = "/"\n[lake]', "home: Extra inputs are not permitted"),
        ('url = "lake"', 'url = "lake"\nbucket = "x"', "lake.bucket: Extra inputs are not permitted"),
        ('url = "lake"', "url = 5", "lake.url: Input should be a valid string"),
        ('url = "lake"', 'url = "ftp://host/x"', "lake.url: Value error, 'ftp://host/x': use file:///folder"),
        ('url = "lake"', 'url = "s3:///prefix"', "lake.url: Value error, 's3:///prefix' names no bucket"),
        ('[lake]\nurl = "lake"', "", "lake: Field required"),
        ("start = 2026-03-01", "", "start: Field required"),
        ("start = 2026-03-01", 'start = "soon"', "start: Input should be a valid date"),
        ("start = 2026-03-01", "start = 2026-03-01\nlookback_days = 0", "lookback_days: Input should be greater than"),
        ("start = 2026-03-01", 'start = 2026-03-01\ncurrency = "usd"', "currency: String should match pattern"),
        ("start = 2026-03-01", "start = 2026-03-01\nreread_month_on = [3, 0]", "reread_month_on.1: Input should be"),
        ("start = 2026-03-01", "start = 2026-03-01\ncredits_per_segment = 0.5", "credits_per_segment: Input should be"),
        ('kind = "twilio"', "", "sources.twilio.kind: Field required"),
        ("[sources.twilio]", '[sources."a/b"]', "source name 'a/b' must be letters"),
        ("[sources.twilio]", '[sources."a\\n"]', "source name 'a\\n' must be letters"),
        ("[reports.store]", '[reports]\nlinks = "base_url"\n[reports.store]', "reports: Value error, links = 'base_url' needs"),
        ("[reports.store]", "[reports]\nlink_days = 8\n[reports.store]", "reports.link_days: Input should be less than"),
        ("[reports.store]", '[mail]\nconnection = "m"\nsender = "nobody"\n[reports.store]', "mail.sender: String should"),
    ],
    ids=lambda text: text[:24],
)  # fmt: skip
def test_what_is_wrong_is_named_by_file_and_key(load, tmp_path, old, new, said):
    text = refusal(load, MINIMAL.replace(old, new))
    assert text.startswith(f"{tmp_path / 'tollbook.toml'} is not usable:\n")
    assert said in text


def test_every_wrong_key_is_listed_not_just_the_first(load):
    text = refusal(load, MINIMAL.replace("start = 2026-03-01", 'settle_hours = 99\ncurrency = "x"'))
    assert [line.split(":")[0].strip() for line in text.splitlines()[1:]] == ["currency", "start", "settle_hours"]


def test_no_sources_is_no_usable_file(load):
    text = MINIMAL.replace('[sources.twilio]\nkind = "twilio"\nconnection = "twilio"\n', "")
    assert "sources: Field required" in refusal(load, text)
    assert "sources: Dictionary should have at least 1 item" in refusal(load, "sources = {}\n" + text)


def test_a_file_that_is_not_there_says_where_to_get_one(tmp_path):
    with pytest.raises(ConfigurationError, match="absent.toml does not exist: copy config/tollbook.example.toml"):
        settings.load(tmp_path / "absent.toml")


def test_a_folder_or_a_forbidden_file_is_no_traceback(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        settings.load(tmp_path)


@pytest.mark.parametrize("content", [b"start = ", b"[lake\n", b"\xff\xfe", b"a = 1\na = 2\n"])
def test_what_is_no_toml_is_named(tmp_path, content):
    file = tmp_path / "t.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match="t.toml is not valid TOML"):
        settings.load(file)


def test_the_file_is_the_argument_s_else_the_variable_s_else_the_usual_one(tmp_path, monkeypatch):
    named, usual = tmp_path / "named.toml", tmp_path / "config" / "tollbook.toml"
    usual.parent.mkdir()
    named.write_text(MINIMAL)
    usual.write_text(MINIMAL)
    monkeypatch.chdir(tmp_path)
    assert settings.load().home == usual.parent
    monkeypatch.setenv("TOLLBOOK_CONFIG", str(named))
    assert settings.load().home == tmp_path
    assert settings.load(usual).home == usual.parent


# ------------------------------------------------------------------------------------------------ environment


def test_the_environment_wins_over_the_file_key_by_key(load, monkeypatch):
    monkeypatch.setenv("TOLLBOOK_LAKE__URL", "s3://bucket/prefix")
    monkeypatch.setenv("TOLLBOOK_LOOKBACK_DAYS", "3")
    monkeypatch.setenv("TOLLBOOK_REREAD_MONTH_ON", "[4, 9]")
    monkeypatch.setenv("TOLLBOOK_SOURCES__TWILIO__BASE_URL", "http://localhost")
    found = load()
    assert (found.lake.url, found.lake.region) == ("s3://bucket/prefix", "us-east-1")
    assert (found.lookback_days, found.reread_month_on) == (3, (4, 9))
    assert found.sources["twilio"].model_dump() == {
        "kind": "twilio", "connection": "twilio", "base_url": "http://localhost",
    }  # fmt: skip


def test_a_wrong_variable_is_named_like_a_wrong_key(load, monkeypatch):
    monkeypatch.setenv("TOLLBOOK_LAKE__BUCKET", "x")
    assert "lake.bucket: Extra inputs are not permitted" in refusal(load, MINIMAL)


@pytest.mark.parametrize(("name", "value"), [("LAKE", "s3://b"), ("REREAD_MONTH_ON", "3,8"), ("SOURCES", "{")])
def test_a_variable_that_is_no_json_is_no_traceback(load, monkeypatch, name, value):
    monkeypatch.setenv(f"TOLLBOOK_{name}", value)
    text = refusal(load, MINIMAL)
    assert "environment" in text and name.lower() in text


def test_home_is_where_the_file_lies_whatever_the_environment_says(load, tmp_path, monkeypatch):
    """A variable of that name is common on servers; it must not move the lake."""
    monkeypatch.setenv("TOLLBOOK_HOME", "/elsewhere")
    assert load().home == tmp_path
    assert load().path("rates") == tmp_path / "rates"


# ------------------------------------------------------------------------------------------------ what it stands for


def test_settings_cannot_be_changed_after_loading(load):
    found = load()
    with pytest.raises(ValueError, match="frozen"):
        found.currency = "EUR"
    with pytest.raises(ValueError, match="frozen"):
        found.lake.url = "elsewhere"


def test_the_fingerprint_follows_what_changes_a_figure_and_nothing_else(load):
    base = load().fingerprint()
    assert load(MINIMAL.replace('"lake"', '"s3://other/lake"').replace('"published"', '"p"')).fingerprint() == base
    assert load("settle_hours = 5\nclose_after_days = 9\n" + MINIMAL).fingerprint() == base
    assert load('currency = "EUR"\n' + MINIMAL).fingerprint() != base
    assert load("credits_per_segment = 2\n" + MINIMAL).fingerprint() != base


def test_a_misspelt_variable_is_refused(load, monkeypatch):
    monkeypatch.setenv("TOLLBOOK_LOOKBAK_DAYS", "3")
    with pytest.raises(
        ConfigurationError, match="TOLLBOOK_LOOKBAK_DAYS is no setting: did you mean TOLLBOOK_LOOKBACK_DAYS"
    ):
        load()
