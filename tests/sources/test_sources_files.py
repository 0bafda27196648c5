"""Export files: the same events as the API gives, whatever the form; broken files fail, broken lines are quarantined."""

from __future__ import annotations

import csv
import gzip
import io
import json
import time
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from sources_fake import BODY, CHILD, DAY, MAIN, SAMPLES, Fake, message, page, source

from etl.settings import ConfigurationError, SourceSettings
from etl.sources import Context, SourceError, files, open_source
from etl.sources.normalise import normalise

HEADER = "From,To,Body,Status,SentDate,ApiVersion,NumSegments,ErrorCode,AccountSid,Sid,Direction,Price,PriceUnit"
ROW = (
    "+15005550006,+15017122661,{body},delivered,2026-11-20T10:00:00Z,2010-04-01,1,0,"
    + MAIN
    + ",{sid},outbound-api,-0.00790,USD"
)


def line(n: int = 1, body: str = "hi") -> str:
    return ROW.format(sid=f"SM{n:032x}", body=body)


def drop(folder, pattern="*.csv", **settings):
    given = SourceSettings(kind="files", store={"url": str(folder)}, pattern=pattern, **settings)
    return open_source("drop", given, Context())


def events(found, day=DAY):
    return found.read(list(found.fetch(day)), day).events


def write(folder, text, name="log.csv"):
    data = text.encode() if isinstance(text, str) else text
    (folder / name).write_bytes(data)
    return drop(folder, "*")


# ------------------------------------------------------------------------------------------------ the same as the API

NOT_IN_CSV = ["updated_at", "media_count", "raw_sha256", "raw_index"]


@pytest.mark.parametrize(
    ("pattern", "left_out"),
    [("console_sms_log.csv", NOT_IN_CSV), ("bulkexport_Messages_{date}.json.gz", ["raw_sha256", "raw_index"])],
)
def test_a_file_gives_the_events_the_api_gives(pattern, left_out, sample_pages):
    from_api = normalise(source(Fake()).read(sample_pages[:2], DAY).events).events
    from_file = normalise(events(drop(SAMPLES, pattern, currency="USD"))).events
    # BulkExport says itself that a price may be missing; where it is there, it is the same.
    unpriced = from_file["provider_cost"].is_null()
    assert from_file.drop(*left_out, "provider_cost").equals(from_api.drop(*left_out, "provider_cost"))
    assert from_file.filter(~unpriced)["provider_cost"].equals(from_api.filter(~unpriced)["provider_cost"])
    assert unpriced.sum() < from_file.height / 2


def test_a_price_without_a_currency_is_not_guessed():
    found = events(drop(SAMPLES, "bulkexport_Messages_{date}.json.gz"))
    assert set(found["reason"]) == {None, "missing_currency"}
    assert found.filter(found["provider_cost"].is_null())["outcome"].unique().to_list() == ["accepted"]


def test_columns_are_found_by_name_in_any_order_and_spelling(tmp_path):
    rows = list(csv.DictReader(io.StringIO((SAMPLES / "console_sms_log.csv").read_text(encoding="utf-8"))))
    order = [
        "Body",
        "Status",
        "SentDate",
        "ApiVersion",
        "NumSegments",
        "AccountSid",
        "Sid",
        "Direction",
        "From",
        "To",
        "Price",
        "PriceUnit",
    ]
    spelt = {
        "SentDate": "Sent Date",
        "NumSegments": "num_segments",
        "AccountSid": "ACCOUNT SID",
        "PriceUnit": "price-unit",
    }
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
    table.writerow([spelt.get(c, c) for c in order] + ["Something new"])
    table.writerows([r[c] for c in order] + ["?"] for r in rows)
    found = events(write(tmp_path, "\ufeff" + out.getvalue()))
    expected = events(drop(SAMPLES, "console_sms_log.csv"))
    assert found.drop("raw_sha256", "error_code").equals(expected.drop("raw_sha256", "error_code"))


def test_headers_of_ones_own_can_be_named(tmp_path):
    (tmp_path / "a.csv").write_text(
        "id,Absender,An,Zustand,Richtung,Zeit\nX1,+1,+2,sent,outbound-api,2026-11-20T10:00:00Z\n"
    )
    names = {
        "sid": "id",
        "from": "Absender",
        "to": "An",
        "status": "Zustand",
        "direction": "Richtung",
        "date_sent": "Zeit",
    }
    found = events(drop(tmp_path, columns=names, provider_account=MAIN))
    row = found.row(0, named=True)
    assert (row["record_id"], row["outcome"], row["provider_account"]) == ("X1", "accepted", MAIN)


def test_calls_as_json_lines(tmp_path):
    row = {
        "sid": "CA1", "account_sid": MAIN, "from": "+1", "to": "+2", "status": "completed", "direction": "outbound-api",
        "duration": 61, "start_time": "2026-11-20T10:00:00Z", "end_time": "2026-11-20T10:01:10Z", "price": None,
    }  # fmt: skip
    (tmp_path / "calls.jsonl").write_text(json.dumps(row) + "\n")
    found = events(drop(tmp_path, "*.jsonl", resource="calls")).row(0, named=True)
    assert (found["kind"], found["answered_seconds"], found["outcome"]) == ("call", 61, "accepted")


# ------------------------------------------------------------------------------------------------------- which files


def test_names_follow_the_day(tmp_path):
    for day in (DAY, DAY + timedelta(days=1)):
        (tmp_path / f"{day:%Y%m%d}").mkdir()
        (tmp_path / f"{day:%Y%m%d}" / "b.csv").write_text(HEADER + "\n" + line(1))
        (tmp_path / f"{day:%Y%m%d}" / "a.csv").write_text(HEADER + "\n" + line(2))
    pages = list(drop(tmp_path, "{date:%Y%m%d}/*.csv").fetch(DAY))
    assert [(p.number, p.url, p.resource, p.provider_account) for p in pages] == [
        (0, "20261120/a.csv", "messages", ""), (1, "20261120/b.csv", "messages", ""),
    ]  # fmt: skip
    assert pages[0].body == (tmp_path / "20261120" / "a.csv").read_bytes()


def test_a_day_without_its_file_is_not_an_empty_day(tmp_path):
    with pytest.raises(SourceError, match=r"drop: no file in .* matches 'log-2026-11-20.csv'"):
        list(drop(tmp_path, "log-{date}.csv").fetch(DAY))


def test_a_file_of_many_days_gives_each_day_its_own(tmp_path):
    days = [DAY - timedelta(days=40), DAY, DAY + timedelta(days=1)]
    text = "\n".join([HEADER, *(line(n).replace("2026-11-20", str(d)) for n, d in enumerate(days))])
    found = write(tmp_path, text)
    for n, day in enumerate(days):
        assert [r == "other_day" for r in events(found, day)["reason"]] == [i != n for i in range(3)]


def test_an_empty_day_is_a_file_with_a_header(tmp_path):
    assert events(write(tmp_path, HEADER + "\n")).height == 0


def test_a_bucket_is_read_through_the_store():
    class Bucket:
        def list(self, prefix):
            return iter(["2026-11-20.csv", "2026-11-21.csv"])

        def get(self, key):
            return (HEADER + "\n" + line()).encode()

    given = SourceSettings(kind="files", store={"url": "s3://exports/twilio"}, pattern="{date}.csv")
    opened = []
    found = open_source("drop", given, Context(open_store=lambda s: opened.append(s.url) or Bucket()))
    assert found.check() == "2 file(s) in s3://exports/twilio"
    assert events(found).height == 1
    assert set(opened) == {"s3://exports/twilio"}


def test_records_of_another_account_are_quarantined_where_one_is_named(tmp_path):
    write(tmp_path, "\n".join([HEADER, line(1), line(2).replace(MAIN, CHILD)]))
    assert events(drop(tmp_path, provider_account=MAIN))["reason"].to_list() == [None, "foreign_account"]
    assert events(drop(tmp_path))["provider_account"].to_list() == [MAIN, CHILD]


# ------------------------------------------------------------------------------------------------------ broken things


def test_a_file_of_another_form_is_named(tmp_path):
    with pytest.raises(SourceError, match="readme.txt is neither .csv"):
        events(write(tmp_path, "hello", "readme.txt"))


def test_a_bad_line_is_one_quarantined_row(tmp_path):
    text = "\n".join([HEADER, line(1), line(2) + ",more", "short,line", "", line(3)])
    found = events(write(tmp_path, text))
    assert found["reason"].to_list() == [None, "bad_line", "bad_line", None]
    assert found["raw_index"].to_list() == [0, 1, 2, 3]


def test_quotes_commas_and_line_ends_inside_a_text(tmp_path):
    text = "\r\n".join([HEADER, line(1, '"one, ""two""\r\nthree"'), line(2)])
    found = events(write(tmp_path, text))
    assert found["body"].to_list() == ['one, "two"\r\nthree', "hi"]
    assert found["outcome"].to_list() == ["accepted", "accepted"]


@pytest.mark.parametrize(
    "bad", [line(2, '"never closed'), line(2, '"stray" quote'), line(2, '"a') + "\n" + line(3, 'b",x')]
)
def test_a_quote_that_swallows_rows_fails_the_file(bad, tmp_path):
    text = "\n".join([HEADER, line(1), bad, line(4), line(5)])
    with pytest.raises(SourceError, match=r"drop: log.csv, before line \d+: a quote is not closed"):
        events(write(tmp_path, text))


def test_a_bad_json_line_is_one_quarantined_row(tmp_path):
    rows = [
        json.dumps(message(1)),
        '{"sid": "SM',
        "[1]",
        "",
        json.dumps(message(2)),
        "{} {}",
        json.dumps(message(3)) + "\r",
    ]
    found = events(write(tmp_path, "\ufeff" + "\n".join(rows), "log.jsonl"))
    assert found["reason"].to_list() == [None, "bad_line", "not_an_object", None, "bad_line", None]
    assert found["raw_index"].to_list() == [0, 1, 2, 3, 4, 5], "records are counted, and a blank line is none"


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_another_encoding_is_refused_by_line(encoding, tmp_path):
    text = "\n".join([HEADER, line(1), line(2, "Caf\u00e9")])
    number = 3 if encoding == "latin-1" else 1
    with pytest.raises(SourceError, match=rf"drop: log.csv, line {number} is not UTF-8"):
        events(write(tmp_path, text.encode(encoding)))


def test_missing_and_double_columns_are_named(tmp_path):
    with pytest.raises(SourceError, match=r"log.csv, line 1: no column for from, direction"):
        events(write(tmp_path, "Sid,To,Status,SentDate\n"))
    with pytest.raises(SourceError, match=r"log.csv, line 1: two columns are 'sid'"):
        events(write(tmp_path, HEADER + ",MessageSid\n"))
    with pytest.raises(SourceError, match="no column for sid"):
        events(write(tmp_path, ""))


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999])
def test_a_cut_off_gzip_fails_before_it_counts_as_received(keep, tmp_path):
    whole = gzip.compress("\n".join(json.dumps(message(i)) for i in range(500)).encode())
    (tmp_path / "log.json.gz").write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(SourceError, match=r"drop: log.json.gz is (cut off|damaged)"):
        list(drop(tmp_path, "*.gz").fetch(DAY))


def test_a_flipped_bit_or_no_gzip_at_all_is_refused(tmp_path):
    whole = bytearray(gzip.compress("\n".join(json.dumps(message(i)) for i in range(500)).encode()))
    whole[len(whole) // 2] ^= 1
    (tmp_path / "a.json.gz").write_bytes(whole)
    with pytest.raises(SourceError, match="a.json.gz is damaged"):
        list(drop(tmp_path, "*.gz").fetch(DAY))
    (tmp_path / "a.json.gz").write_bytes(b'{"sid": "SM1"}')
    with pytest.raises(SourceError, match="no gzip file"):
        list(drop(tmp_path, "*.gz").fetch(DAY))


def test_a_bomb_is_not_unpacked(tmp_path):
    (tmp_path / "log.json.gz").write_bytes(gzip.compress(b"\0" * (64 << 20)))
    began = time.monotonic()
    with pytest.raises(SourceError, match="unpacks to more than"):
        list(drop(tmp_path, "*.gz").fetch(DAY))
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl"])
def test_a_line_without_end_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_LINE_BYTES", 1000)
    monkeypatch.setattr(files, "MAX_CELL", 1000)
    text = HEADER + "\n" + line(1, "x" * 5000) if name.endswith("csv") else json.dumps(message(body="x" * 5000))
    with pytest.raises(SourceError, match=rf"{name}, line \d is longer"):
        events(write(tmp_path, text, name))


def test_batches_do_not_change_anything(tmp_path, monkeypatch):
    found = write(tmp_path, "\n".join([HEADER, *(line(i) for i in range(10)), "bad"]))
    whole = events(found)
    monkeypatch.setattr(files, "BATCH_ROWS", 3)
    assert events(found).equals(whole)


def test_no_text_in_any_message(tmp_path):
    for text in (line(1, BODY) + ",more\n", f'"{BODY}', BODY + "\n" + BODY):
        (tmp_path / "log.csv").write_text(HEADER + "\n" + text)
        try:
            events(drop(tmp_path))
        except SourceError as error:
            assert BODY not in str(error)


# ------------------------------------------------------------------------------------------------------------ settings


@pytest.mark.parametrize(
    "changes",
    [{"pattern": "../x.csv"}, {"pattern": "/etc/*.csv"}, {"pattern": "{day}.csv"}, {"pattern": "{date.__class__}.csv"},
     {"pattern": ""}, {"resource": "usage"}, {"provider_account": "../x"}, {"currency": "usd"},
     {"store": {"url": "ftp://x"}}, {"typo": 1}, {"columns": {"nonsense": "x"}}],
)  # fmt: skip
def test_wrong_settings_are_refused_by_name(changes):
    given = SourceSettings(**{"kind": "files", "store": {"url": "x"}, "pattern": "*.csv"} | changes)
    with pytest.raises(ConfigurationError, match=f"sources.drop.{next(iter(changes))}"):
        open_source("drop", given, Context())


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SourceError, match="is not a folder: create it"):
        drop(tmp_path / "none").check()


def test_a_folder_is_relative_to_the_configuration(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "log.csv").write_text(HEADER + "\n" + line())
    given = SourceSettings(kind="files", store={"url": "in"}, pattern="*.csv")
    assert events(open_source("drop", given, Context(home=tmp_path))).height == 1


def test_another_day_is_no_reason_to_read_a_page_differently():
    found = drop(SAMPLES, "console_sms_log.csv")
    kept = page("messages", (SAMPLES / "console_sms_log.csv").read_bytes(), asked="")
    kept = type(kept)("messages", "", 0, "console_sms_log.csv", kept.body)
    assert set(found.read([kept], date(2020, 1, 1)).events["reason"]) == {"other_day"}


# ------------------------------------------------------------------------------------------------- other makers' files

NAMES = {"sid": "id", "date_sent": "created", "member": "agent", "inbox": "box", "campaign": "blast", "registered": "reg", "carrier": "network"}


def record(n: int, created: str = "2026-11-20T10:00:00.250Z", **changes) -> dict:
    own = message(n) | {"direction": "outbound", "num_segments": None}
    own["id"], own["created"] = own.pop("sid"), created
    del own["date_sent"]
    return own | {"agent": None, "box": None, "blast": None, "reg": None, "network": None} | changes


def made(folder, *records: dict, **settings):
    (folder / "log.jsonl").write_text("\n".join(json.dumps(r) for r in records))
    return drop(folder, "*", columns=NAMES, **settings)


def test_json_lines_may_name_their_fields_otherwise_and_say_whose_a_record_is(tmp_path):
    found = events(
        made(
            tmp_path,
            record(1, agent="mia", blast="spring", reg=True, network="att"),
            record(2, box="sales", blast="false", reg=False),
            record(3),
        )
    )
    said = found.select("outcome", "direction", "owner_kind", "owner_id", "campaign_id", "registered", "carrier").rows()
    assert said == [
        ("accepted", "outbound", "member", "mia", "spring", True, "att"),
        ("accepted", "outbound", "inbox", "sales", None, False, None),
        ("accepted", "outbound", None, None, None, None, None),
    ]
    assert found["occurred_at"].unique().to_list() == [datetime(2026, 11, 20, 10, 0, 0, 250_000, UTC)]


def test_a_campaign_no_id_can_be_is_quarantined(tmp_path):
    assert events(made(tmp_path, record(1, blast="50 % off!")))["reason"].to_list() == ["bad_campaign"]


def test_what_a_file_brings_late_is_its_own_days(tmp_path):
    records = [
        record(1), record(2, "2026-11-19T23:59:59.999Z"), record(3, "2026-11-18T00:00:00.000Z"), record(4, "2026-11-17T12:00:00.000Z"),
        record(5, "2026-11-21T00:00:00.000Z"), record(6, "2026-11-19T10:00:00.000Z", status="queued"),
    ]  # fmt: skip
    source = made(tmp_path, *records, late_days=2)
    found = source.read(list(source.fetch(DAY)), DAY)
    assert found.events["outcome"].to_list() == ["accepted"] + ["excluded"] * 5
    assert set(found.events["reason"].drop_nulls()) == {"other_day"}
    late = found.late.sort("record_id")
    assert late.select("outcome", pl.col("occurred_at").dt.date().cast(pl.String), pl.col("body").is_not_null()).rows() == [
        ("accepted", "2026-11-19", True), ("accepted", "2026-11-18", True),
    ]  # fmt: skip
    alone = made(tmp_path, *records)
    assert alone.read(list(alone.fetch(DAY)), DAY).late is None


@pytest.mark.parametrize("size", [64, 200, 1000])
def test_lines_are_the_same_however_they_are_cut(size, tmp_path, monkeypatch):
    records = [json.dumps(record(n, body="x" * (n % 7) + "é")) for n in range(40)]
    records[7], records[20] = '{"id": ', json.dumps(record(20, body={"a": 1}))
    (tmp_path / "log.jsonl").write_text("\n".join(records))
    source = drop(tmp_path, "*", columns=NAMES)
    whole = events(source)
    assert whole["raw_index"].to_list() == list(range(40))
    assert whole["reason"].to_list()[7] == "bad_line" and whole["reason"].to_list()[20] == "bad_field"
    monkeypatch.setattr("etl.sources.files.BATCH_BYTES", size)
    monkeypatch.setattr("etl.sources._decode.SLOW_LINES", 4)
    assert events(source).equals(whole)


@pytest.mark.parametrize("body", ["[STOP]", "{name}", "[1, 2]", '{"a": 1}'])
def test_a_text_that_looks_like_a_list_is_a_text(body, tmp_path):
    found = events(made(tmp_path, record(1, body=body), record(2)))
    assert found["body"].to_list() == [body, message(2)["body"]]
    assert found["outcome"].to_list() == ["accepted"] * 2
