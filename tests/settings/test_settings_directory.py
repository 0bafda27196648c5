"""The directory's files: every bad row is named by file and line, and who owns a number depends on the day."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from etl import directory
from etl.settings import ConfigurationError

GOOD = {
    "accounts": """\
account_id,name,company,currency,rate_card,email_to,provider_account_sid,locale
acme,Acme,Acme Inc,USD,standard,a@acme.example; b@acme.example,AC1;AC2,
bolt,Bolt,,EUR,other,,AC3,de_DE
""",
    "owners": """\
account_id,owner_kind,owner_id,name
acme,member,mia,Mia
acme,inbox,support,Support
bolt,member,mia,Mia of Bolt
""",
    "numbers": """\
number_e164,account_id,owner_kind,owner_id,campaign_id,registered,number_class,valid_from,valid_to
+12025550101,acme,member,mia,,true,local,,2026-03-10
+12025550101,bolt,member,mia,,FALSE,local,2026-03-10,
88811,acme,inbox,support,spring,True,shortcode,2026-01-01,
""",
    "campaigns": """\
account_id,campaign_id,name,voice_detection
acme,spring,Spring,TRUE
acme,autumn,Autumn,false
""",
}

ONLY_ACCOUNTS = {name: GOOD[name].splitlines()[0] + "\n" for name in ("owners", "numbers", "campaigns")}


@pytest.fixture
def load(tmp_path):
    def load_files(**changed: str | None) -> directory.Directory:
        for name, text in (GOOD | changed).items():
            if text is not None:
                (tmp_path / f"{name}.csv").write_text(text, encoding="utf-8")
        return directory.load(tmp_path)

    return load_files


def refusal(load, **changed) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(**changed)
    return str(caught.value)


def complaints(load, **changed) -> list[str]:
    return [line.strip() for line in refusal(load, **changed).splitlines()[1:]]


# ------------------------------------------------------------------------------------------------ what it holds


def test_accounts(load):
    acme, bolt = load().accounts
    assert (acme.company, acme.email_to, acme.provider_accounts, acme.locale) == (
        "Acme Inc", ("a@acme.example", "b@acme.example"), ("AC1", "AC2"), "en_US",
    )  # fmt: skip
    assert (bolt.company, bolt.currency, bolt.email_to, bolt.locale) == ("Bolt", "EUR", (), "de_DE")


def test_true_and_false_however_a_spreadsheet_writes_them(load):
    """A campaign's paid voice detection must not be switched off by capital letters."""
    found = load()
    assert found.campaigns["voice_detection"].to_list() == [True, False]
    assert found.numbers["registered"].to_list() == [True, False, True]


def test_quoted_empty_cells_are_empty(load):
    """Else a number without campaign would dial for the campaign called nothing."""
    quoted = "\n".join(
        ",".join(f'"{cell}"' for cell in line.split(",")) for line in GOOD["numbers"].strip().splitlines()
    )
    assert load(numbers=quoted).numbers.equals(load().numbers)


def test_an_unknown_account_lists_the_known_ones(load):
    found = load()
    assert found.account("acme").name == "Acme"
    with pytest.raises(ConfigurationError, match="account 'acne' is not in accounts.csv: use one of acme, bolt"):
        found.account("acne")


def test_the_fingerprint_is_of_the_files(load):
    assert (
        load().fingerprint == load().fingerprint != load(owners=GOOD["owners"] + "acme,member,noah,Noah\n").fingerprint
    )


def test_optional_columns_of_accounts(load):
    header, row = (
        "account_id,name,company,currency,rate_card,email_to,provider_account_sid",
        "acme,Acme,,USD,standard,,",
    )
    (plain,) = load(**ONLY_ACCOUNTS, accounts=f"{header}\n{row}\n").accounts
    assert (plain.service_address, plain.tax_exempt, plain.valid_from, plain.locale) == (None, (), None, "en_US")
    (full,) = load(
        **ONLY_ACCOUNTS,
        accounts=f"{header},service_address,tax_exempt,valid_from\n{row},US-WA-SEATTLE,federal; wa-b,2026-05-01\n",
    ).accounts
    assert (full.service_address, full.tax_exempt) == ("US-WA-SEATTLE", ("federal", "wa-b"))
    assert full.valid_from == date(2026, 5, 1)


def test_a_number_s_own_price_is_exact_and_null_where_there_is_none(load):
    header, *rows = GOOD["numbers"].strip().splitlines()
    prices = ["0.123456789", "", "1.15"]
    priced = "\n".join([f"{header},monthly_price", *(f"{r},{p}" for r, p in zip(rows, prices, strict=True))]) + "\n"
    assert load(numbers=priced).numbers["monthly_price"].to_list() == [Decimal("0.123456789"), None, Decimal("1.15")]
    assert load(numbers=GOOD["numbers"]).numbers["monthly_price"].to_list() == [None] * 3
    assert load().numbers["monthly_price"].dtype == pl.Decimal(18, 9)


def test_absent_optional_files_are_empty_and_leave_the_fingerprint(load, tmp_path):
    found = load()
    assert found.carriers.rows() == found.places.rows() == []
    assert found.carriers.schema == {"prefix": pl.String, "carrier": pl.String}
    (tmp_path / "carriers.csv").write_text("prefix_e164,carrier\n+1202,Tern\n")
    more = load()
    assert more.carriers.rows() == [("1202", "Tern")]
    assert more.fingerprint != found.fingerprint


# ------------------------------------------------------------------------------------------------ files


@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_missing_file_says_its_columns(load, name):
    assert f"{name}.csv does not exist: its columns are " in refusal(load, **{name: None})


@pytest.mark.parametrize("name", sorted(GOOD))
def test_an_empty_file_says_its_first_line(load, name):
    assert f"{name}.csv is empty: its first line must be " in refusal(load, **{name: ""})


@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_missing_column_is_named(load, name):
    header = GOOD[name].splitlines()[0].split(",")
    assert f"{name}.csv lacks the column {header[1]}" in refusal(
        load, **{name: ",".join([header[0], *header[2:]]) + "\n"}
    )


def test_a_line_with_too_many_cells_is_refused(load):
    said = refusal(load, owners=GOOD["owners"] + "acme,member,noah,Noah,x\n")
    assert "owners.csv is not readable as CSV: line 5 has 5 cells; its first line has 4" in said


# ------------------------------------------------------------------------------------------------ rows


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a b,Name,,USD,standard,,", "account_id 'a b' must be letters, digits"),
        (",Name,,USD,standard,,", "account_id '' must be letters, digits"),
        (
            "unassigned,Name,,USD,standard,,",
            "account_id 'unassigned' must be letters, digits, - and _ (at most 64), and not",
        ),
        ('"c\n",Name,,USD,standard,,', "account_id 'c\\n' must be letters, digits"),
        ("../x,Name,,USD,standard,,", "account_id '../x' must be letters, digits"),
        (f"{'x' * 65},Name,,USD,standard,,", "must be letters, digits"),
        ("acme,Name,,USD,standard,,", "account_id 'acme' stands already on line 2"),
        ("cove,,,USD,standard,,", "name is empty"),
        ("cove,Cove,,usd,standard,,", "currency 'usd' must be three capital letters"),
        ("cove,Cove,,,standard,,", "currency None must be three capital letters"),
        ('cove,Cove,,"USD\n",standard,,', "currency 'USD\\n' must be three capital letters"),
        ("cove,Cove,,USD,,,", "rate_card is empty"),
        ("cove,Cove,,USD,standard,nobody,", "'nobody' is not an e-mail address"),
        ('cove,Cove,,USD,standard,"a@b, c@d",', "'a@b, c@d' is not an e-mail address"),
        ("cove,Cove,,USD,standard,,AC1", "provider account 'AC1' already belongs to 'acme'"),
    ],
    ids=lambda text: text[:24],
)
def test_a_bad_account_is_named_by_line(load, row, said):
    found = complaints(load, accounts=GOOD["accounts"] + row + ",\n")
    assert any(line.startswith("accounts.csv line 4: ") and said in line for line in found), found


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("acne,member,noah,Noah", "account 'acne' is not in accounts.csv"),
        ("acme,membr,noah,Noah", "owner_kind 'membr' must be member or inbox"),
        ("acme,member,,Noah", "owner_id None must be given"),
        ("acme,member,unassigned,Noah", "owner_id 'unassigned' must be given, and not unassigned"),
        ("acme,member,mia,Mia again", "member 'mia' stands already on line 2"),
    ],
)
def test_a_bad_owner_is_named_by_line(load, row, said):
    (found,) = complaints(load, owners=GOOD["owners"] + row + "\n")
    assert found.startswith("owners.csv line 5: ") and said in found


@pytest.mark.parametrize(
    "owner_id",
    ["+12025550142", "12025550142", "(202) 555-0142", "+1 202.555.0142", "5550142", "tel:+1-202-555-0142",
     "inbox 202-555-0142", "cell2025550142", "+1 202 555 0142 office"],
)  # fmt: skip
def test_an_owner_is_not_called_by_a_telephone_number(load, owner_id):
    """Ids are published; and no error tells the number either."""
    (found,) = complaints(load, owners=GOOD["owners"] + f"acme,member,{owner_id},Noah\n")
    assert found == (
        "owners.csv line 5: owner_id is a telephone number: give it an id such as front-desk, because ids are published"
    )


@pytest.mark.parametrize(
    "owner_id",
    ["front-desk", "member-0042", "142", "10042", "user_1000234", "agent-7", "2026-desk", "us-0123456789abcdef",
     "5f1c2e9a-1234-4567-8901-123456789012", "64f0123456789abcde012345", "a1b2c3d4e5f6", "noah@acme.example"],
)  # fmt: skip
def test_ids_with_digits_are_ids(load, owner_id):
    owners = load(owners=GOOD["owners"] + f"acme,member,{owner_id},Noah\n").owners
    assert owner_id in owners["owner_id"].to_list()


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("acne,x,X,true", "account 'acne' is not in accounts.csv"),
        ("acme,,X,true", "campaign_id is empty"),
        ("acme,x,X,yes", "voice_detection must be true or false"),
        ("acme,x,X,", "voice_detection must be true or false"),
        ("acme,spring,Again,true", "campaign 'spring' stands already on line 2"),
    ],
)
def test_a_bad_campaign_is_named_by_line(load, row, said):
    (found,) = complaints(load, campaigns=GOOD["campaigns"] + row + "\n")
    assert found.startswith("campaigns.csv line 4: ") and said in found


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("12025550102,acme,member,mia,,true,local,,", "number_e164 must be + and 7 to 15 digits, or a short code"),
        ("+02025550102,acme,member,mia,,true,local,,", "number_e164 must be"),
        ("+١٢٠٢٥٥٥٠١٠٢,acme,member,mia,,true,local,,", "number_e164 must be"),
        ('"+12025550102\n",acme,member,mia,,true,local,,', "number_e164 must be"),
        ("+12025550102,acne,member,mia,,true,local,,", "account 'acne' is not in accounts.csv"),
        ("+12025550102,acme,team,mia,,true,local,,", "owner_kind 'team' must be member or inbox"),
        ("+12025550102,acme,member,noah,,true,local,,", "member 'noah' is not in owners.csv"),
        ("+12025550102,bolt,inbox,support,,true,local,,", "inbox 'support' is not in owners.csv"),
        ("+12025550102,bolt,member,mia,spring,true,local,,", "campaign 'spring' is not in campaigns.csv"),
        ("+12025550102,acme,member,mia,,yes,local,,", "registered must be true or false"),
        ("+12025550102,acme,member,mia,,,local,,", "registered must be true or false"),
        ("+12025550102,acme,member,mia,,true,landline,,", "number_class 'landline' must be one of local"),
        ("+12025550102,acme,member,mia,,true,local,tomorrow,", "valid_from 'tomorrow' must be a day"),
        ("+12025550102,acme,member,mia,,true,local,,2026-02-30", "valid_to '2026-02-30' must be a day"),
        ("+12025550102,acme,member,mia,,true,local,2026-03-02,2026-03-02", "valid_to must lie after valid_from"),
        ("88811,acme,member,mia,,true,shortcode,2026-05-01,", "already owned on 2026-05-01 by line 4"),
        ("88811,acme,member,mia,,true,shortcode,,2026-01-02", "already owned on 2026-01-01 by line 5"),
    ],
)
def test_a_bad_number_is_named_by_line(load, row, said):
    found = complaints(load, numbers=GOOD["numbers"] + row + "\n")
    assert any(line.startswith(("numbers.csv line 5: ", "numbers.csv line 4: the")) and said in line for line in found)


def with_column(name: str, column: str, *cells: str) -> str:
    """The good file with one column more; the last row's cell last."""
    header, *rows = GOOD[name].strip().splitlines()
    padded = [*cells, *[""] * (len(rows) - len(cells))]
    return "\n".join([f"{header},{column}", *(f"{r},{c}" for r, c in zip(rows, padded, strict=True))]) + "\n"


@pytest.mark.parametrize(
    ("name", "column", "cell", "said"),
    [
        ("accounts", "valid_from", "May", "valid_from 'May' must be empty or a day, YYYY-MM-DD"),
        ("accounts", "valid_from", "2026-5-1", "valid_from '2026-5-1' must be empty or a day, YYYY-MM-DD"),
        ("accounts", "service_address", "us-wa", "service_address 'us-wa' must be capital letters, widest part first"),
        ("accounts", "service_address", "US--WA", "service_address 'US--WA' must be capital letters"),
        ("accounts", "service_address", "US WA", "service_address 'US WA' must be capital letters"),
        ("numbers", "monthly_price", "-1", "monthly_price '-1' must be a number, 0 or more, at most 9 decimals"),
        ("numbers", "monthly_price", "$1", "monthly_price '$1' must be a number"),
        ("numbers", "monthly_price", "0.0000000001", "monthly_price '0.0000000001' must be a number"),
        ("campaigns", "valid_from", "soon", "valid_from 'soon' must be a day, YYYY-MM-DD"),
        ("campaigns", "valid_to", "2026-02-30", "valid_to '2026-02-30' must be a day, YYYY-MM-DD"),
    ],
)
def test_a_bad_optional_cell_is_named_by_line(load, name, column, cell, said):
    found = complaints(load, **{name: with_column(name, column, cell)})
    assert [line for line in found if line.startswith(f"{name}.csv line 2: ") and said in line], found


def test_two_owners_may_not_have_one_name_in_video_rooms(load):
    """Bolt's Mia is nobody's twin in Acme."""
    twice = "account_id,owner_kind,owner_id,name,identity\n" + (
        "acme,member,mia,Mia,\nacme,inbox,support,Support,Front Desk\n"
        "acme,member,noah,Noah,front desk\nacme,member,ann,Ann,MIA\nbolt,member,mia,Mia,mia\n"
    )
    assert complaints(load, owners=twice) == [
        "owners.csv line 3: identity 'Front Desk' is another owner's too: give each their own",
        "owners.csv line 4: identity 'front desk' is another owner's too: give each their own",
        "owners.csv line 5: identity 'MIA' is another owner's too: give each their own",
    ]


def test_rows_of_a_campaign_may_follow_each_other_but_not_overlap(load):
    header = "account_id,campaign_id,name,voice_detection,valid_from,valid_to\nacme,spring,Spring,true,,2026-03-10\n"
    assert load(campaigns=header + "acme,spring,Spring,false,2026-03-10,\n").detection.height == 2
    for row, said in (
        (
            "acme,spring,Spring,false,2026-03-09,",
            "campaign 'spring' stands already on line 2 on 2026-03-09: end one by",
        ),
        (
            "acme,spring,Spring,false,,",
            "campaign 'spring' stands already on line 2 on its first day: end one by valid_to",
        ),
        ("acme,spring,Spring,false,2026-04-02,2026-04-02", "valid_to must lie after valid_from"),
    ):
        (found,) = complaints(load, campaigns=f"{header}{row}\n")
        assert found.startswith("campaigns.csv line 3: ") and said in found


def test_every_row_within_a_longer_one_is_named_not_only_the_next(load):
    found = complaints(
        load,
        numbers=GOOD["numbers"].splitlines()[0]
        + """
88811,acme,inbox,support,,true,shortcode,,
88811,acme,inbox,support,,true,shortcode,2026-01-01,2026-02-01
88811,acme,inbox,support,,true,shortcode,2026-03-01,2026-04-01
""",
    )
    assert found == [
        "numbers.csv line 3: the number is already owned on 2026-01-01 by line 2",
        "numbers.csv line 4: the number is already owned on 2026-03-01 by line 2",
    ]


@pytest.mark.parametrize(
    ("name", "rows", "said"),
    [
        ("carriers", "+1202,\n", "line 2: carrier is empty"),
        ("carriers", ",Tern\n", "line 2: prefix_e164 must be the first digits of an E.164 number, such as +1206"),
        ("carriers", "+0202,Tern\n", "line 2: prefix_e164 must be the first digits"),
        ("carriers", "+1234567890123456,Tern\n", "line 2: prefix_e164 must be the first digits"),
        ("carriers", "+1202,Tern\n\n1202,Juniper\n", "line 4: the prefix stands already on line 2"),
        ("places", "+1202,\n", "line 2: jurisdiction is empty"),
        ("places", "+1202,us-dc\n", "line 2: jurisdiction 'us-dc' must be capital letters, widest part first"),
        ("places", "1-202,US-DC\n", "line 2: prefix_e164 must be the first digits"),
    ],
)
def test_a_bad_prefix_is_named_by_line(load, tmp_path, name, rows, said):
    column = "carrier" if name == "carriers" else "jurisdiction"
    (tmp_path / f"{name}.csv").write_text(f"prefix_e164,{column}\n{rows}")
    (found,) = complaints(load)
    assert found.startswith(f"{name}.csv {said}")


def test_no_whole_number_is_told_in_an_error(load):
    """Errors end up in logs and mails; a line number finds the row just as well."""
    bad = "+12025550142,acme,team,x,none,maybe,landline,x,y\n+1202555014299999999,acme,member,mia,,true,local,,\n"
    assert "55501" not in refusal(load, numbers=GOOD["numbers"] + bad)


def test_every_bad_row_of_every_file_is_listed(load):
    found = complaints(
        load,
        accounts=GOOD["accounts"] + "x y,X,,USD,standard,,,\n",
        owners=GOOD["owners"] + "nobody,member,a,A\n",
        campaigns=GOOD["campaigns"] + "acme,x,X,perhaps\n",
        numbers=GOOD["numbers"] + "+1,acme,member,mia,,true,local,,\n",
    )
    assert [line.split(":")[0] for line in found] == [
        "accounts.csv line 4", "owners.csv line 5", "campaigns.csv line 4", "numbers.csv line 5",
    ]  # fmt: skip


# ------------------------------------------------------------------------------------------------ attribution


def attributed(found: directory.Directory, day: date, *rows: tuple) -> list[tuple]:
    events = pl.DataFrame(
        [("call", *row, None) for row in rows],
        schema=["kind", "provider_account", "direction", "from_number", "to_number", "carrier"],
        orient="row",
    )
    columns = ["account_id", "owner_kind", "owner_id", "campaign_id", "registered", "currency", "rate_card"]
    result = found.attribute(events, day, "CHF")
    assert result.select(events.columns).equals(events), "the rows and their order stay"
    return result.select(columns).rows()


def test_a_number_belongs_to_whoever_owns_it_that_day(load):
    sent = ("AC1", "outbound", "+12025550101", "+13105550100")
    mine = ("acme", "member", "mia", None, True, "USD", "standard")
    theirs = ("bolt", "member", "mia", None, False, "EUR", "other")
    assert attributed(load(), date(2026, 3, 9), sent) == [mine]
    assert attributed(load(), date(2026, 3, 10), sent) == [theirs], "valid_to is the first day no longer valid"


def test_our_number_is_the_sender_of_what_goes_out_and_the_recipient_of_what_comes_in(load):
    inbound = ("AC1", "inbound", "+13105550100", "88811")
    outbound = ("AC1", "outbound", "+13105550100", "88811")
    assert attributed(load(), date(2026, 3, 1), inbound, outbound) == [
        ("acme", "inbox", "support", "spring", True, "USD", "standard"),
        ("acme", "unassigned", "unassigned", None, None, "USD", "standard"),
    ]


def test_the_sub_account_answers_for_an_unlisted_number_and_nobody_for_an_unknown_one(load):
    rows = attributed(
        load(),
        date(2025, 12, 31),
        ("AC3", "outbound", "+12025550199", "+1"),
        ("AC9", "outbound", "+12025550199", "+1"),
        ("AC2", "inbound", "+1", "88811"),
        ("AC2", None, None, None),
    )
    assert rows == [
        ("bolt", "unassigned", "unassigned", None, None, "EUR", "other"),
        ("unassigned", "unassigned", "unassigned", None, None, "CHF", None),
        ("acme", "unassigned", "unassigned", None, None, "USD", "standard"),
        ("acme", "unassigned", "unassigned", None, None, "USD", "standard"),
    ]


def test_the_number_s_account_wins_over_the_sub_account_it_was_billed_through(load):
    """A number listed for Acme that the provider bills through Bolt's sub-account is Acme's."""
    assert attributed(load(), date(2026, 3, 1), ("AC3", "outbound", "88811", "+1"))[0][0] == "acme"


def test_files_are_where_the_caller_says(tmp_path):
    with pytest.raises(ConfigurationError, match=r"nowhere/accounts\.csv does not exist"):
        directory.load(Path(tmp_path) / "nowhere")
