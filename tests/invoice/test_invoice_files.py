"""Invoice files as they come: both formats, and every way in which one can be wrong. Nothing is dropped silently."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from invoice_made import OCTOBER

from etl.invoice import Line, read, select
from etl.invoice.files import shown
from etl.settings import ConfigurationError

USAGE = {
    "account_sid": "AC1", "category": "sms-outbound", "description": "Outbound SMS", "start_date": "2026-10-01",
    "end_date": "2026-10-31", "count": "8", "count_unit": "messages", "usage": "11", "usage_unit": "segments",
    "price": "0.05990", "price_unit": "usd", "as_of": "2026-11-01T02:05:11+00:00", "api_version": "2010-04-01",
    "uri": "/Usage", "subresource_uris": {"daily": "/Daily"},
}  # fmt: skip
AS_READ = Line(
    2, "sms-outbound", Decimal("0.05990"), Decimal(11), "segments", Decimal(8), None, "USD", "AC1", date(2026, 10, 1),
    date(2026, 10, 31), datetime(2026, 11, 1, 2, 5, 11, tzinfo=UTC),
)  # fmt: skip


@pytest.fixture
def file(tmp_path):
    def write(content: str | bytes, name: str = "invoice.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def as_csv(**changed) -> str:
    row = {k: v for k, v in {**USAGE, **changed}.items() if isinstance(v, str)}
    return ",".join(row) + "\n" + ",".join(f'"{v}"' for v in row.values()) + "\n"


@pytest.mark.parametrize("style", [str, lambda n: n.title().replace("_", ""), lambda n: n.replace("_", " ").upper()])
def test_usage_records_as_csv_however_their_columns_are_spelt(file, style):
    head, rest = as_csv().split("\n", 1)
    text = ",".join(map(style, head.split(","))) + "\n" + rest
    for content in (text, "\ufeff" + text, text.replace("\n", "\r\n"), "\n\n" + text + "\n,,,,,,,,,,,,,\n"):
        expected = replace(AS_READ, number=4 if content.startswith("\n\n") else 2)
        found = read(file(content))
        assert found.lines == (expected,) and not found.refused and dict(found.read_as)["amount"] == style("price")


@pytest.mark.parametrize("wrap", [lambda r: r, lambda r: {"usage_records": r, "next_page_uri": None}])
@pytest.mark.parametrize("bare", [False, True])
def test_usage_records_as_json_keep_every_digit(file, wrap, bare):
    text = json.dumps(wrap([USAGE]))
    if bare:  # as numbers, which a float would not hold
        text = text.replace('"0.05990"', "0.05990").replace('"11"', "11")
    found = read(file(text, "usage.json"))
    assert found.lines == (replace(AS_READ, number=1),) and f"{found.lines[0].amount}" == "0.05990"


def test_a_generic_invoice_by_description(file):
    found = read(
        file(
            "Description,Quantity,Unit,Unit Price,Amount,Currency\n"
            "Voice minutes,3,minutes,0.014,0.042,usd\nGrand Total,,,,0.042,\n"
        )
    )
    assert [(x.category, x.quantity, x.unit_price, x.amount, x.currency) for x in found.lines] == [
        ("calls", 3, Decimal("0.014"), Decimal("0.042"), "USD"), ("totalprice", None, None, Decimal("0.042"), None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("category,quantity\nsms,1\n", "lacks the column amount"),
        ("quantity,amount\n1,1\n", "lacks the column category or description"),
        ("category,price\nsms,1\n", "price may be the price of one or of all: call it unit_price or amount"),
        ("category,amount,total\nsms,1,1\n", "has both amount and total"),
        ("category,amount,Amount\nsms,1,1\n", "has both amount and Amount"),
        ("category,amount,amount\nsms,1,2\n", "amount"),
        ("category;amount\nsms;1\n", "lacks the column"),
        ("category,amount\nsms,1,000.00\n", "line 2 has 3 cells"),
        ('category,amount\n"sms,1\n', "line 2"),
        (b"category,amount\nsms\xe9,1\n", "line 2 is not UTF-8"),
        ("category,amount\n", "has no line"),
        ("", "lacks the column"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_whole(file, content, said):
    with pytest.raises(ConfigurationError) as error:
        read(file(content))
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"usage_records": [], "next_page_uri": "/next"}', "one page of several"),
        ('{"invoice": []}', "must be a list of records"),
        ('["sms"]', "must be a list of records"),
        ("{", "is not JSON: line 1"),
        ("[" * 200_000, "nested too deep"),
        (b"\xff\xfe[", "not UTF-8"),
        ("[]", "lacks the column"),
    ],
)
def test_a_json_file_that_cannot_be_read_is_refused_whole(file, content, said):
    with pytest.raises(ConfigurationError) as error:
        read(file(content, "invoice.json"))
    assert said in str(error.value)


def test_a_file_that_is_not_there_or_too_large(tmp_path, file, monkeypatch):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read(tmp_path / "none.csv")
    monkeypatch.setattr("etl.invoice.files.MAX_BYTES", 10)
    with pytest.raises(ConfigurationError, match="at most 10"):
        read(file("category,amount\nsms,1\n"))


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (
            {"price": "1,234.56"},
            "'1,234.56' is not a plain decimal number: write 1234.56: a point, no thousands separator",
        ),
        ({"price": "12,5"}, "no thousands separator"),
        ({"price": "1.234.567"}, "write a plain number"),
        ({"price": "$5"}, "write a plain number"),
        ({"price": "(5.00)"}, "write a plain number"),
        ({"price": "1e3"}, "write a plain number"),
        ({"price": "NaN"}, "write a plain number"),
        ({"price": "\u0661"}, "write a plain number"),  # a digit, but not one of ours
        ({"price": "\u22125"}, "write a plain number"),
        ({"price": "5 000"}, "write a plain number"),
        ({"price": ""}, "no amount"),
        ({"price": "0.1234567891"}, "more than nine digits"),
        ({"price": "1234567890"}, "more than nine digits"),
        ({"usage": "many"}, "quantity 'many' is not a plain decimal number"),
        ({"category": "", "description": " "}, "no category"),
        ({"category": "sms\x1b[2J"}, "control character"),
        ({"category": "x" * 201}, "more than 200 characters"),
        ({"price_unit": "dollars"}, "is not an ISO code"),
        ({"start_date": "10/01/2026"}, "is not a day"),
        ({"start_date": ""}, "an end and no start"),
        ({"start_date": "2026-10-31", "end_date": "2026-10-01"}, "lies before its start"),
        ({"as_of": "yesterday"}, "is not a moment"),
    ],
)
def test_a_line_that_cannot_be_used_is_kept_with_its_number_and_reason(file, cells, said):
    good = as_csv(category="mms").split("\n", 1)[1]
    found = read(file(as_csv(**cells) + good))
    assert [one.number for one in found.lines] == [3]
    (refused,) = found.refused
    assert refused.number == 2 and said in refused.reason
    assert refused.reason.isprintable() and refused.category.isprintable()


@pytest.mark.parametrize("cell", [True, ["1"], {"a": "1"}])
def test_a_json_cell_that_is_no_text(file, cell):
    found = read(file(json.dumps([{**USAGE, "usage": cell}]), "i.json"))
    assert [one.reason for one in found.refused] == ["quantity is no text and no number"]


def test_lines_of_another_month_currency_and_account(file):
    rows = [USAGE, {**USAGE, "start_date": "2026-09-01", "end_date": "2026-09-30"}, {**USAGE, "price_unit": "eur"},
            {**USAGE, "account_sid": "AC2"}, {**USAGE, "start_date": "2026-10-31", "end_date": "2026-11-01"},
            {**USAGE, "start_date": "", "end_date": "", "account_sid": ""}]  # fmt: skip
    found = select(read(file(json.dumps(rows), "i.json")), OCTOBER, "USD", ["AC1"])
    assert [(x.number, x.start, x.end) for x in found.lines] == [
        (1, date(2026, 10, 1), date(2026, 10, 31)),
        (6, date(2026, 10, 1), date(2026, 10, 31)),
    ]
    assert [(x.number, x.reason.split(":")[0]) for x in found.aside] == [(2, "another month"), (4, "another account")]
    assert [x.number for x in found.refused] == [3, 5]
    assert "our records are in USD" in found.refused[0].reason and "leaves 2026-10" in found.refused[1].reason
    assert sum(len(x) for x in (found.lines, found.aside, found.refused)) == len(rows)
    with pytest.raises(ConfigurationError, match="no line of the file is of 2026-10: line 2"):
        select(
            replace(read(file(json.dumps(rows), "i.json")), lines=read(file(json.dumps(rows), "i.json")).lines[1:2]),
            OCTOBER,
            "USD",
        )


def test_a_line_without_an_account_where_others_have_several(file):
    rows = [
        USAGE,
        {**USAGE, "account_sid": "AC2"},
        {**USAGE, "account_sid": ""},
        {**USAGE, "account_sid": "", "category": "totalprice"},
    ]
    found = select(read(file(json.dumps(rows), "i.json")), OCTOBER, None)
    assert [x.number for x in found.lines] == [1, 2, 4] and [x.number for x in found.refused] == [3]


@pytest.mark.parametrize("number", ["+1 (555) 010-0123", "15550100123", "555.010.0123", "+15550100123"])
def test_no_phone_number_is_shown(number):
    assert shown(f"Number {number} monthly") == "Number …23 monthly"


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode), st.sampled_from(["i.csv", "i.json"]))
@settings(max_examples=80, deadline=None)
def test_any_bytes_are_read_or_refused(tmp_path_factory, content, name):
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(content)
    try:
        read(path)
    except ConfigurationError as error:
        assert str(error)
