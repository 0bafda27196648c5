"""``python -m etl rates``: a rate card is judged, and compared, without a provider, a lake or a secret."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from exporthelp import REPOSITORY, etl, etl_alone, place

PRICES = """\
rate_id,rate_card,line,direction,type,number_class,prefix,currency,price,minimum_seconds,increment_seconds,clock,bill_unanswered,connection_fee,valid_from,valid_to,recorded_at,note
text-1,standard,text,outbound,sms,,+1,USD,0.0090,,,,,,2026-01-01,2026-09-01,2026-01-01,per segment
text-2,standard,text,outbound,sms,,+1,USD,0.0095,,,,,,2026-09-01,,2026-08-03,per segment
call-1,standard,call,,,,,USD,0.0140,60,60,dial,false,,2026-01-01,,2026-01-01,per minute
"""
FEES = """\
fee_id,carrier,direction,type,registered,number_class,prefix,currency,price,valid_from,valid_to,recorded_at,note
fee-1,,outbound,sms,,,+1,USD,0.0045,2026-01-01,,2026-01-01,
"""
TAXES = """\
tax_id,level,jurisdiction,name,kind,rate,lines,share,sourcing,compound,valid_from,valid_to,recorded_at,note
tax-1,state,US-WA,Sales tax,percent,6.5,text;call,,service_address,false,2026-01-01,,2026-01-01,
"""


@pytest.fixture
def rates(tmp_path) -> Path:
    folder = tmp_path / "rates"
    folder.mkdir()
    for name, text in (("prices", PRICES), ("carrier_fees", FEES), ("taxes", TAXES)):
        (folder / f"{name}.csv").write_text(text)
    return folder


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


# ------------------------------------------------------------------------------------------------ check


def test_a_sound_card_is_counted(rates):
    done = etl("rates", "check", rates)
    assert (done.code, done.err) == (0, "")
    assert done.text == "ok   rate card: 3 price(s), 1 carrier fee(s), 0 rung(s)\nok   taxes: 1 rule(s)\n"
    (rates / "taxes.csv").unlink()
    assert etl("rates", "check", rates).text.endswith("ok   taxes: 0 rule(s)\n")


def test_the_example_card_is_sound():
    assert etl("rates", "check", REPOSITORY / "config" / "rates").code == 0


def test_nothing_but_the_folder_is_needed(rates):
    process = etl_alone("rates", "check", rates)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, b"")
    assert out.decode() == etl("rates", "check", rates).text


def test_without_a_folder_it_is_the_settings_one(rates):
    settings = place(rates.parent / "place")
    shutil.copytree(rates, settings.parent / "rates")
    assert etl("rates", "check", "--config", settings).text == etl("rates", "check", rates).text
    (settings.parent / "rates" / "prices.csv").unlink()
    done = etl("rates", "check", "--config", settings)
    assert done.code == 2
    assert "prices.csv does not exist" in done.text


def test_every_error_is_named_by_file_and_line(rates):
    change(rates / "prices.csv", "text-1,standard,text,outbound,sms", "text-1,standard,text,sideways,sms")
    change(rates / "carrier_fees.csv", "0.0045", "-0.0045")
    change(rates / "taxes.csv", "state", "galactic")
    done = etl("rates", "check", rates)
    assert done.code == 2
    assert "prices.csv line 2: direction 'sideways' must be" in done.text
    assert "carrier_fees.csv line 2: price -0.0045 is negative" in done.text
    assert "taxes.csv line 2: level 'galactic' must be" in done.text


LAPSED = ("USD,0.0090,,,,,,2026-01-01,2026-09-01", "USD,0.0090,,,,,,2026-01-01,2026-08-31")


def test_a_gap_is_a_warning(rates):
    change(rates / "prices.csv", *LAPSED)
    done = etl("rates", "check", rates)
    assert done.code == 3
    assert "warn rate card: prices.csv: nothing follows 'text-1' from 2026-08-31 until 2026-09-01" in done.text
    lines = [json.loads(line) for line in etl("rates", "check", rates, "--json").text.splitlines()]
    assert [line["exit_code"] for line in lines] == [0, 0, 3]


def test_a_gap_before_go_live_is_none_of_the_settings_business(rates):
    change(rates / "prices.csv", *LAPSED)
    settings = place(rates.parent / "place", start="2026-10-01")
    shutil.copytree(rates, settings.parent / "rates")
    assert etl("rates", "check", "--config", settings).code == 0


# ------------------------------------------------------------------------------------------------ diff


@pytest.fixture
def new(rates) -> Path:
    return Path(shutil.copytree(rates, rates.parent / "new"))


DEARER = ("outbound,sms,,+1,USD,0.0095,", "outbound,sms,,+1,USD,0.0099,")


def test_a_price_that_changes_is_a_sentence_with_its_day(rates, new):
    change(new / "prices.csv", *DEARER)
    done = etl("rates", "diff", rates, new)
    assert (done.code, done.err) == (0, "")
    (sentence,) = done.text.splitlines()
    assert sentence.startswith("prices.csv: standard text outbound sms")
    assert "0.0095" in sentence and "0.0099" in sentence and sentence.endswith("from 2026-09-01 on")
    assert etl("rates", "diff", rates, new, "--exit-code").code == 3


def test_a_row_without_effect_changes_no_price(rates, new):
    change(new / "prices.csv", "per segment", "for each segment")
    done = etl("rates", "diff", rates, new, "--exit-code")
    assert (done.code, done.text) == (0, "no price changes\n")
    rows_too = etl("rates", "diff", rates, new, "--rows", "--exit-code")
    assert rows_too.code == 0
    assert "text-1 is changed: note per segment → for each segment" in rows_too.text


def test_comparing_needs_nothing_but_two_folders(rates, new):
    change(new / "prices.csv", *DEARER)
    process = etl_alone("rates", "diff", rates, new, "--exit-code")
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (3, b"")
    assert out.decode() == etl("rates", "diff", rates, new).text


@pytest.mark.parametrize(("side", "named"), [(0, "rates"), (1, "new")])
def test_a_card_that_is_not_usable_is_named(rates, new, side, named):
    change((rates, new)[side] / "prices.csv", "0.0090", "cheap")
    done = etl("rates", "diff", rates, new)
    assert (done.code, done.out) == (2, b"")
    assert f"{rates.parent / named} is not usable: prices.csv line 2: price 'cheap' must be" in done.err


def test_a_folder_that_is_not_there_is_named(rates):
    done = etl("rates", "diff", rates, "no-such-folder")
    assert (done.code, done.out) == (2, b"")
    assert "no-such-folder/prices.csv does not exist" in done.err
