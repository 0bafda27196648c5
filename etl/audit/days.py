"""The invariants of one UTC day. Pure: frames in, what is broken out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import date

import polars as pl

from etl.audit.invariants import Result, broken
from etl.schemas import DATASETS, SECOND_LINES, UNASSIGNED
from etl.segments import segment_columns

KEY = ("kind", "record_id")
AMOUNTS = {"charge": "rate_id", "carrier_fee": "fee_id", "detection_charge": "detection_rate_id"}
"""Amount of a charge → the column that names its price."""
NEVER_FREE = ("call", "text", "video", "campaign_call")
"""Lines on which a quantity needs a price, be it a price of 0."""
NUMBERLESS = ("video", "recording")
"""Whose these are is told by a name or a call, not by a number."""
LISTED_DAILY = "number"
"""A number is listed again every day it is owned."""


def paired(events: pl.DataFrame, charges: pl.DataFrame) -> pl.DataFrame | None:
    """The accepted events (`KEY`, provider_account, direction, numbers), each with the account_id of its charge; None unless
    every event has just one charge and every charge just one event.

    Records are told apart by 64 bits of a hash, which costs a tenth of joining by text. That two of a day share them, and
    one of these is the one that is missing, is not to be expected in the age of the universe.
    """
    columns = [*KEY, "provider_account", "direction", "from_number", "to_number"]
    due = events.lazy().filter(pl.col("outcome") == "accepted").select(columns).collect()
    if due.height != charges.height:
        return None
    number = pl.col("record_id").hash(0) ^ pl.col("kind").hash(1)
    mine, theirs = (frame.select(number).to_series() for frame in (due, charges))
    at, of = mine.arg_sort(), theirs.arg_sort()
    if not mine.gather(at).equals(theirs.gather(of), check_names=False):
        return None
    back = pl.DataFrame({"at": at, "of": of}).sort("at")["of"]
    return due.with_columns(charges["account_id"].cast(pl.Categorical).gather(back).cast(pl.String))


def whose(
    rows: pl.DataFrame, events: pl.DataFrame, charges: pl.DataFrame, owners: pl.DataFrame | None = None
) -> tuple[str, ...]:
    """The accounts that records concern: who is charged for them; for a record nobody is charged for, `sharing` its
    provider account. () when it may be anybody.

    ``rows`` and ``events``: `KEY`, provider_account; ``charges``: `KEY`, account_id; ``owners``: provider_account,
    account_id.
    """
    found = rows.select(*KEY, "provider_account").join(charges.select(*KEY, "account_id"), on=KEY, how="left")
    accounts = set(found["account_id"].drop_nulls())
    for sid in found.filter(pl.col("account_id").is_null())["provider_account"].unique():
        more = sharing(sid, events, charges, owners)
        if not more:
            return ()
        accounts |= set(more)
    return tuple(sorted(accounts))


def sharing(
    provider_account: str | None, events: pl.DataFrame, charges: pl.DataFrame, owners: pl.DataFrame | None = None
) -> tuple[str, ...]:
    """Who is charged for some record of a provider account on this day, and whose it is in the directory."""
    mine = pl.col("provider_account").eq_missing(provider_account)
    charged = events.filter(mine).select(KEY).join(charges.select(*KEY, "account_id"), on=KEY)["account_id"].unique()
    owning = [] if owners is None else owners.filter(mine)["account_id"].to_list()
    return tuple(sorted({*charged, *owning}))


def conserved(
    events: pl.DataFrame, charges: pl.DataFrame, where: str, owners: pl.DataFrame | None = None,
    pairs: pl.DataFrame | None = None,
) -> Iterator[Result]:  # fmt: skip
    """Every record has one outcome, every outcome but acceptance a reason, every accepted one a charge. ``pairs``: what
    `paired` says, where it was asked."""
    unexplained = events.filter((pl.col("outcome") != "accepted") & pl.col("reason").is_null())
    if unexplained.height:
        finding = f"has {unexplained.height} record(s) that are not billed and say no reason"
        concerned = whose(unexplained, events, charges, owners)
        yield broken("nothing lost", where, finding, "load the day again with python -m etl run", concerned)
    if pairs is not None:
        return
    due = events.filter(pl.col("outcome") == "accepted")
    uncharged = due.join(charges, on=KEY, how="anti")
    unfounded = charges.join(due, on=KEY, how="anti")
    if uncharged.height or unfounded.height:
        concerned = whose(uncharged, events, charges, owners)
        anybody = bool(uncharged.height and not concerned)
        yield broken(
            "nothing lost", where,
            f"has {uncharged.height} accepted record(s) without a charge and {unfounded.height} charge(s) without a record",
            "run python -m etl rate for the day", () if anybody else {*concerned, *unfounded["account_id"]},
        )  # fmt: skip


def adds_up(charges: pl.DataFrame, daily: pl.DataFrame, where: str) -> Iterator[Result]:
    """The roll-up holds exactly what the charges hold, in messages, segments, credits, records and money."""
    counted = daily.filter(~pl.col("line").is_in(SECOND_LINES))
    said = {c: (daily[c].sum(), charges[c].sum()) for c in ("messages", "segments", "credits", "billed_seconds")}
    said["records"] = (counted["events"].sum(), charges.height)
    said["money"] = (daily["charge"].sum(), sum(charges[c].sum() for c in AMOUNTS))
    for what, (rolled, charged) in said.items():
        if rolled != charged:
            finding = f"has {rolled} {what} rolled up, {charged} charged"
            unlike = _unlike(charges, counted if what == "records" else daily, what)
            yield broken("lines add up", where, finding, "roll the day up again with python -m etl rate", unlike)


def _unlike(charges: pl.DataFrame, daily: pl.DataFrame, what: str) -> list[str]:
    """The accounts whose charges and roll-up differ in one respect."""
    money = pl.sum_horizontal(pl.col(c).fill_null(0) for c in AMOUNTS).sum()
    charged = {"records": pl.len(), "money": money}.get(what, pl.col(what).sum())
    rolled = pl.col({"records": "events", "money": "charge"}.get(what, what)).sum()
    both = (
        charges.group_by("account_id").agg(a=charged)
        .join(daily.group_by("account_id").agg(b=rolled), on="account_id", how="full", coalesce=True)
    )  # fmt: skip
    return both.filter(pl.col("a").fill_null(0) != pl.col("b").fill_null(0))["account_id"].to_list()


def once(
    events: pl.DataFrame, charges: pl.DataFrame, where: str, owners: pl.DataFrame | None = None
) -> Iterator[Result]:
    """Each (kind, record_id) has one row: no second outcome in its partition."""
    if events["record_id"].hash().n_unique() == events.height:
        return
    twice = events.filter(events.select(KEY).is_duplicated())
    if twice.height:
        finding = f"has {twice.height} rows that share a record, first {twice['record_id'].min()}"
        concerned = whose(twice, events, charges, owners)
        yield broken("one outcome each", where, finding, "load the day again with python -m etl run", concerned)


def once_over_all(charges: pl.DataFrame, where: str) -> Iterator[Result]:
    """No record is charged in two sources or on two days. ``charges``: date, source, kind, record_id, account_id."""
    records = charges.filter(pl.col("kind") != LISTED_DAILY)
    twice = records.filter(records.select(KEY).is_duplicated()).sort("record_id", "date", "source")
    if twice.height:
        first = twice.filter(pl.col("record_id") == twice["record_id"][0])
        places = ", ".join(f"{day} {source}" for day, source in first.select("date", "source").iter_rows())
        yield broken(
            "one outcome each", where, f"charge {first['record_id'][0]} more than once ({places}), {twice.height} in all",
            "keep such records in one source; one that moved to another day is billed there alone after python -m etl run for "
            "both days", twice["account_id"],
        )  # fmt: skip


def pages_whole(
    raw: pl.DataFrame, where: str, whom: Callable[[str | None], Iterable[str]] = lambda _: ()
) -> Iterator[Result]:
    """The pages of each resource and provider account are numbered from 0 without a hole. ``whom``: provider account →
    the accounts its records concern."""
    torn = (
        raw.group_by("resource", "provider_account")
        .agg(pages=pl.len(), last=pl.col("page").max(), first=pl.col("page").min(), numbers=pl.col("page").n_unique())
        .filter(
            (pl.col("first") != 0) | (pl.col("last") + 1 != pl.col("pages")) | (pl.col("numbers") != pl.col("pages"))
        )
        .sort("resource", "provider_account")
    )
    for resource, sid, pages, last in torn.select("resource", "provider_account", "pages", "last").iter_rows():
        finding = f"has {pages} page(s) of {resource} {sid}, the last of which is number {last} from 0"
        yield broken("complete", where, finding, "fetch the day again with python -m etl run", whom(sid))


def priced(charges: pl.DataFrame, where: str) -> Iterator[Result]:
    """An amount that is missing says why; one that is not zero, and any for usage that is never free, names its price."""
    silent = charges.filter(pl.any_horizontal(pl.col(c).is_null() for c in AMOUNTS), pl.col("unrated").is_null())
    groundless = charges.filter(
        pl.any_horizontal((pl.col(c) != 0) & pl.col(price).is_null() for c, price in AMOUNTS.items())
        | (pl.col("line").is_in(NEVER_FREE) & (pl.col("quantity") > 0) & pl.col("rate_id").is_null()),
        pl.col("unrated").is_null(),
    )
    if silent.height or groundless.height:
        finding = (
            f"has {silent.height} charge(s) without an amount or a reason, and {groundless.height} that no price stands behind"
        )
        concerned = {*silent["account_id"], *groundless["account_id"]}
        yield broken("no price is never zero", where, finding, "run python -m etl rate for the day", concerned)


def recounted(
    events: pl.DataFrame, charges: pl.DataFrame, where: str, owners: pl.DataFrame | None = None
) -> Iterator[Result]:
    """A billed text has a segment or more, as reported, else as counted; the count is that of the body where there is
    one; nothing lasts less than no time."""
    accepted = events.filter(pl.col("outcome") == "accepted")
    texts = accepted.filter(pl.col("kind") == "message", pl.col("type") == "sms")
    failed = (pl.col("status") == "failed").fill_null(False)
    billed = pl.coalesce("segments_reported", "segments_computed")
    short = texts.filter(~failed, ~(pl.col("segments") >= 1).fill_null(False))
    unlike = texts.filter(billed.is_not_null(), pl.col("segments").ne_missing(billed))
    # An empty body is a redacted one: what was counted before stays.
    bodies = texts.filter(pl.col("body") != "", pl.col("segments_computed").is_not_null())
    counted = segment_columns("body").struct.field("segments").cast(pl.Int64)
    miscounted = bodies.filter(counted != pl.col("segments_computed")) if bodies.height else bodies
    negative = accepted.filter(pl.col("answered_seconds") < 0)
    wrong = [short, unlike, miscounted, negative]
    if any(rows.height for rows in wrong):
        yield broken(
            "segments recounted", where,
            f"has {short.height} text(s) without a segment, {unlike.height} billed otherwise than counted, "
            f"{miscounted.height} that count otherwise again, and {negative.height} call(s) shorter than nothing",
            "load the day again with python -m etl run", whose(pl.concat(wrong), events, charges, owners),
        )  # fmt: skip


def in_its_day(
    events: pl.DataFrame, charges: pl.DataFrame, day: date, where: str, owners: pl.DataFrame | None = None
) -> Iterator[Result]:
    """What is accepted on a UTC day happened on it."""
    accepted = events.filter(pl.col("outcome") == "accepted")
    strays = accepted.filter((pl.col("occurred_at").dt.date() != day).fill_null(True))
    if strays.height:
        finding = f"has {strays.height} record(s) of another day"
        concerned = whose(strays, events, charges, owners)
        yield broken("in its day", where, finding, "load the day again with python -m etl run", concerned)


def typed(schema: Mapping[str, pl.DataType], dataset: str, where: str, keys: Collection[str] = ()) -> Iterator[Result]:
    """Every column but the path's ``keys`` has the type of its contract: an amount is Decimal(18, 9), nothing is a float."""
    due = DATASETS[dataset].types
    wrong = [n for n, t in schema.items() if n not in keys and t != due.get(n)]
    lacking = [n for n in due if n not in schema]
    if lacking:
        yield broken("rounded once", where, f"lacks {', '.join(lacking)}", "write it again with python -m etl run")
    if wrong:
        finding = f"has {', '.join(wrong)} of type {', '.join(str(schema[n]) for n in wrong)}"
        yield broken("rounded once", where, finding, "find what wrote it: no figure of it may be billed")


def known(accounts: Collection[str], customers: Collection[str], where: str) -> Iterator[Result]:
    """Every account named is one of the directory, or 'unassigned'."""
    strangers = sorted(set(accounts) - {*customers, UNASSIGNED})
    if strangers:
        more = f" and {len(strangers) - 5} more" if len(strangers) > 5 else ""
        finding = f"names {', '.join(strangers[:5])}{more}, which accounts.csv does not"
        yield broken("nobody else's", where, finding, "complete accounts.csv, or run python -m etl rate for these days")


def belongs(
    charges: pl.DataFrame, events: pl.DataFrame, numbers: pl.DataFrame, provider_accounts: pl.DataFrame, where: str,
    pairs: pl.DataFrame | None = None,
) -> Iterator[Result]:  # fmt: skip
    """Who is billed owns our number, on some day, or the provider's account of the record. ``numbers``: number_e164,
    account_id; ``provider_accounts``: provider_account, account_id; ``pairs``: as for `conserved`."""
    ours = pl.when(pl.col("direction") == "outbound").then("from_number").otherwise("to_number")

    def strangers(named: pl.DataFrame) -> pl.DataFrame:
        return named.join(provider_accounts, on=["provider_account", "account_id"], how="anti").join(
            numbers, on=["number_e164", "account_id"], how="anti"
        )

    if pairs is not None:
        some = pairs.lazy().filter(pl.col("account_id") != UNASSIGNED, ~pl.col("kind").is_in(NUMBERLESS))
        # Who is billed for what is said by as many rows as there are numbers.
        whom = some.select("provider_account", "account_id", number_e164=ours).unique().collect()
        if strangers(whom).is_empty():
            return
    billed = charges.filter(pl.col("account_id") != UNASSIGNED, ~pl.col("kind").is_in(NUMBERLESS)).select(
        *KEY, "account_id"
    )
    named = billed.join(events.select(*KEY, "provider_account", number_e164=ours), on=KEY)
    foreign = strangers(named)
    for account in foreign["account_id"].unique().sort():
        count = foreign.filter(pl.col("account_id") == account).height
        yield broken(
            "nobody else's", f"{where}/account={account}", f"is billed for {count} record(s) of somebody else's",
            "run python -m etl rate for the day, and check numbers.csv",
        )  # fmt: skip
