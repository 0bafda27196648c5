"""Connections come from the variable Airflow itself reads, in both of its spellings; a password is never shown."""

from __future__ import annotations

import json

import pytest

from etl.settings import ConfigurationError, Connection, connection_from_environment

SECRET = "s3cr3t/t:k@n#%"


@pytest.fixture
def resolve(monkeypatch):
    def with_value(text: str | None) -> Connection:
        if text is None:
            monkeypatch.delenv("AIRFLOW_CONN_PROVIDER", raising=False)
        else:
            monkeypatch.setenv("AIRFLOW_CONN_PROVIDER", text)
        return connection_from_environment("provider")

    return with_value


def test_json(resolve):
    given = {"conn_type": "http", "host": "api.example.com", "login": "AC1", "password": SECRET, "port": "8443"}
    found = resolve(json.dumps(given | {"extra": {"endpoint_url": "http://x"}}))
    assert found == Connection("api.example.com", "AC1", SECRET, 8443, {"endpoint_url": "http://x"})
    assert resolve(json.dumps(given | {"extra": '{"a": {"b": 1}}'})).extra == {"a": {"b": 1}}


def test_json_may_leave_everything_out(resolve):
    assert resolve("{}") == resolve('{"host": null, "port": null, "extra": ""}') == Connection()


def test_uri(resolve):
    found = resolve("http://AC1:s3cr3t%2Ft%3Ak%40n%23%25@api.example.com:8443/?endpoint_url=http%3A%2F%2Fx")
    assert found == Connection("api.example.com", "AC1", SECRET, 8443, {"endpoint_url": "http://x"})
    assert resolve("aws://key:secret@") == Connection("", "key", "secret")


def test_a_uri_s_nested_extra_as_airflow_writes_it(resolve):
    assert resolve("aws:///?__extra__=%7B%22a%22%3A+%7B%22b%22%3A+1%7D%7D").extra == {"a": {"b": 1}}


def test_the_reader_agrees_with_airflow_s_own_writer(resolve):
    models = pytest.importorskip("airflow.models.connection")
    for extra in ({}, {"endpoint_url": "http://x:1/"}, {"nested": {"a": [1]}}):
        written = models.Connection(
            conn_id="p", conn_type="http", host="api.example.com", login="AC 1", password=SECRET, port=81,
            extra=json.dumps(extra),
        )  # fmt: skip
        expected = Connection("api.example.com", "AC 1", SECRET, 81, extra)
        assert resolve(written.get_uri()) == resolve(written.as_json()) == expected


def test_an_absent_connection_says_what_to_set(resolve):
    for absent in (None, ""):
        with pytest.raises(
            ConfigurationError, match="connection 'provider' is not known: .* set AIRFLOW_CONN_PROVIDER"
        ):
            resolve(absent)


@pytest.mark.parametrize(
    "text",
    [
        f'{{"login": "AC1", "password": "{SECRET}"',
        f'{{"password": "{SECRET}", "port": "{SECRET}"}}',
        f'{{"password": "{SECRET}", "port": ["{SECRET}"]}}',
        f'{{"password": "{SECRET}", "extra": "{SECRET}"}}',
        f'{{"password": "{SECRET}", "extra": "[1]"}}',
        f"http://AC1:{SECRET}@api.example.com",
        f"http://AC1:pa/{SECRET}@api.example.com",
        SECRET,
        f"[{SECRET}",
        f"http://[{SECRET}",
    ],
)
def test_a_broken_connection_names_the_variable_and_tells_no_secret(resolve, text):
    with pytest.raises(ConfigurationError, match="AIRFLOW_CONN_PROVIDER is neither a JSON object nor a URI") as caught:
        resolve(text)
    assert not any(part in str(caught.value) for part in ("s3cr3t", "t:k", "pa/"))
    assert caught.value.__suppress_context__


def test_repr_shows_no_password_and_no_extra():
    shown = repr(Connection("h", "l", SECRET, extra={"token": SECRET}))
    assert "s3cr3t" not in shown and "host='h'" in shown
