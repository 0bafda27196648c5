"""The invariants of one UTC day. Pure: frames in, what is broken out.

A day is looked at bucket by bucket: `look` makes of each what little has to be kept of it, `together` adds that up,
and the verdicts are on the sum.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
SUMMED = ("messages", "segments", "credits", "billed_seconds", "records", "money")
"""What charges and their roll-up agree in."""

Whom = Callable[[str | None], Iterable[str]]
"""Provider account → the accounts its records concern."""


def nobody(_: str | None) -> tuple[str, ...]:
    """The `Whom` of a place where no account is known."""
    return ()


# ------------------------------------------------------------------------------------------------ looking at a bucket


@dataclass(frozen=True)
class Wrong:
    """Records that break a promise: how many, who is charged for them, and the provider accounts of those nobody is
    charged for. They add up."""

    count: int = 0
    accounts: frozenset[str] = frozenset()
    uncharged: frozenset[str | None] = frozenset()

    def __add__(self, other: Wrong) -> Wrong:
        return Wrong(self.count + other.count, self.accounts | other.accounts, self.uncharged | other.uncharged)

    def whose(self, whom: Whom) -> tuple[str, ...]:
        """The accounts these records concern; () when it may be anybody."""
        shared = [tuple(whom(sid)) for sid in self.uncharged]
        return tuple(sorted(self.accounts.union(*shared))) if all(shared) else ()


@dataclass(frozen=True)
class Seen:
    """What is kept of the events and charges of a bucket, or of several.

    ``wrong``      what is wrong → the records that it is wrong with
    ``lost``       number (a hash of `KEY`), provider_account: accepted events without a charge in their bucket
    ``unfounded``  number, account_id: charges without an accepted event in their bucket
    ``foreign``    account → records of somebody else's that it is billed for
    ``records``    a hash of the record_id of each event
    ``pages``      raw_sha256 of the events
    ``charged``    `charged`
    """

    wrong: Mapping[str, Wrong]
    lost: pl.DataFrame
    unfounded: pl.DataFrame
    foreign: Counter[str]
    records: pl.Series
    pages: frozenset[str | None]
    charged: pl.DataFrame


def look(
    events: pl.DataFrame, charges: pl.DataFrame, day: date, numbers: pl.DataFrame | None = None,
    owners: pl.DataFrame | None = None,
) -> Seen:  # fmt: skip
    """What is kept of one bucket of a day. ``numbers``: number_e164, account_id; ``owners``: provider_account,
    account_id; None, and what is whose is not looked at."""
    accepted = events.filter(pl.col("outcome") == "accepted")
    pairs = paired(accepted, charges)
    lost, unfounded = accepted.clear(), charges.clear()
    if pairs is None:
        lost, unfounded = accepted.join(charges, on=KEY, how="anti"), charges.join(accepted, on=KEY, how="anti")
    unexplained = events.filter((pl.col("outcome") != "accepted") & pl.col("reason").is_null())
    strays = accepted.filter((pl.col("occurred_at").dt.date() != day).fill_null(True))
    rows = {"unexplained": unexplained, "stray": strays, **_miscounted(accepted)}
    unpriced = {name: Wrong(x.height, frozenset(x["account_id"].unique())) for name, x in _unpriced(charges).items()}
    known = numbers is not None and owners is not None
    return Seen(
        wrong={name: wrong(some, charges) for name, some in rows.items()} | unpriced,
        lost=lost.select(_number(), pl.col("provider_account").cast(pl.Categorical)),
        unfounded=unfounded.select(_number(), pl.col("account_id").cast(pl.Categorical)),
        foreign=_foreign(charges, events, numbers, owners, pairs) if known else Counter(),
        records=events["record_id"].hash(),
        pages=frozenset(events["raw_sha256"].unique()),
        charged=charged(charges),
    )


def together(seen: Sequence[Seen]) -> Seen:
    """What is kept of all the buckets of a day."""
    return Seen(
        wrong={name: sum((one.wrong[name] for one in seen), Wrong()) for name in seen[0].wrong},
        lost=pl.concat(one.lost for one in seen),
        unfounded=pl.concat(one.unfounded for one in seen),
        foreign=sum((one.foreign for one in seen), Counter()),
        records=pl.concat(one.records for one in seen),
        pages=frozenset().union(*(one.pages for one in seen)),
        charged=added(one.charged for one in seen),
    )


def elsewhere(events: pl.DataFrame, charges: pl.DataFrame, seen: Seen) -> list[pl.Series]:
    """Numbers of what is lost, and of what is unfounded, that this bucket has the charge or the event of. ``events``:
    `KEY`, outcome; ``charges``: `KEY`."""
    accepted = events.filter(pl.col("outcome") == "accepted")
    pairs = ((seen.lost, charges), (seen.unfounded, accepted))
    return [some.join(rows.select(_number()), on="number", how="semi")["number"] for some, rows in pairs]


def settled(seen: Seen, found: Sequence[Sequence[pl.Series]]) -> Seen:
    """``seen`` without what is `elsewhere`, by bucket: a record and its charge belong into one, but are no less there."""
    charged, accepted = (~pl.col("number").is_in(pl.concat(numbers).implode()) for numbers in zip(*found, strict=True))
    return replace(seen, lost=seen.lost.filter(charged), unfounded=seen.unfounded.filter(accepted))


def _number() -> pl.Expr:
    """UInt64 of a record.

    64 bits of a hash cost a tenth of joining by text. That two records of a day share them, and one of these is the one
    that is missing, is not to be expected in the age of the universe.
    """
    return (pl.col("record_id").hash(0) ^ pl.col("kind").hash(1)).alias("number")


def paired(accepted: pl.DataFrame, charges: pl.DataFrame) -> pl.DataFrame | None:
    """Accepted events (`KEY`, provider_account, direction, numbers), each with the account_id of its charge; None unless
    every event has just one charge and every charge just one event."""
    if accepted.height != charges.height:
        return None
    mine, theirs = (frame.select(_number()).to_series() for frame in (accepted, charges))
    at, of = mine.arg_sort(), theirs.arg_sort()
    if not mine.gather(at).equals(theirs.gather(of)):
        return None
    back = pl.DataFrame({"at": at, "of": of}).sort("at")["of"]
    due = accepted.select(*KEY, "provider_account", "direction", "from_number", "to_number")
    return due.with_columns(charges["account_id"].cast(pl.Categorical).gather(back).cast(pl.String))


def wrong(rows: pl.DataFrame, charges: pl.DataFrame) -> Wrong:
    """Of some events (`KEY`, provider_account) and the charges (`KEY`, account_id) of their bucket."""
    if rows.is_empty():
        return Wrong()
    found = rows.select(*KEY, "provider_account").join(charges.select(*KEY, "account_id"), on=KEY, how="left")
    uncharged = found.filter(pl.col("account_id").is_null())["provider_account"].unique()
    return Wrong(rows.height, frozenset(found["account_id"].drop_nulls().unique()), frozenset(uncharged))


def orphans(events: pl.DataFrame, charges: pl.DataFrame, pages: Collection[str]) -> Wrong:
    """The records still listed (`KEY`, provider_account, vanished, raw_sha256) that none of these pages has."""
    listed = events.filter(~pl.col("vanished").fill_null(False))
    return wrong(listed.filter(~pl.col("raw_sha256").is_in(list(pages))), charges)


def sharing(events: pl.DataFrame, charges: pl.DataFrame) -> pl.DataFrame:
    """provider_account, account_id: who is charged for some record of it."""
    mine = events.select(*KEY, "provider_account").join(charges.select(*KEY, "account_id"), on=KEY)
    return mine.select("provider_account", "account_id").unique()


def _unpriced(charges: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """An amount that is missing says why; one that is not zero, and any for usage that is never free, names its price."""
    silent = charges.filter(pl.any_horizontal(pl.col(c).is_null() for c in AMOUNTS), pl.col("unrated").is_null())
    groundless = charges.filter(
        pl.any_horizontal((pl.col(c) != 0) & pl.col(price).is_null() for c, price in AMOUNTS.items())
        | (pl.col("line").is_in(NEVER_FREE) & (pl.col("quantity") > 0) & pl.col("rate_id").is_null()),
        pl.col("unrated").is_null(),
    )
    return {"silent": silent, "groundless": groundless}


def _miscounted(accepted: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """A billed text has a segment or more, as reported, else as counted; the count is that of the body where there is
    one; nothing lasts less than no time."""
    texts = accepted.filter(pl.col("kind") == "message", pl.col("type") == "sms")
    failed = (pl.col("status") == "failed").fill_null(False)
    reckoned = pl.coalesce("segments_reported", "segments_computed")
    # An empty body is a redacted one: what was counted before stays.
    bodies = texts.filter(pl.col("body") != "", pl.col("segments_computed").is_not_null())
    counted = segment_columns("body").struct.field("segments").cast(pl.Int64)
    return {
        "short": texts.filter(~failed, ~(pl.col("segments") >= 1).fill_null(False)),
        "unlike": texts.filter(reckoned.is_not_null(), pl.col("segments").ne_missing(reckoned)),
        "miscounted": bodies.filter(counted != pl.col("segments_computed")) if bodies.height else bodies,
        "negative": accepted.filter(pl.col("answered_seconds") < 0),
    }


def _foreign(
    charges: pl.DataFrame, events: pl.DataFrame, numbers: pl.DataFrame, owners: pl.DataFrame, pairs: pl.DataFrame | None
) -> Counter[str]:
    """Who is billed owns our number, on some day, or the provider's account of the record. ``pairs``: as `paired` says."""
    ours = pl.when(pl.col("direction") == "outbound").then("from_number").otherwise("to_number")
    numbered = (pl.col("account_id") != UNASSIGNED) & ~pl.col("kind").is_in(NUMBERLESS)

    def strangers(named: pl.DataFrame) -> pl.DataFrame:
        return named.join(owners, on=["provider_account", "account_id"], how="anti").join(
            numbers, on=["number_e164", "account_id"], how="anti"
        )

    if pairs is not None:
        # Who is billed for what is said by as many rows as there are numbers.
        named = pairs.lazy().filter(numbered).select("provider_account", "account_id", number_e164=ours).unique()
        if strangers(named.collect()).is_empty():
            return Counter()
    billed = charges.filter(numbered).select(*KEY, "account_id")
    named = billed.join(events.select(*KEY, "provider_account", number_e164=ours), on=KEY)
    return Counter(strangers(named)["account_id"].to_list())


def charged(charges: pl.DataFrame) -> pl.DataFrame:
    """account_id and the sums `SUMMED` of charges."""
    money = pl.sum_horizontal(pl.col(c).sum() for c in AMOUNTS)
    return charges.group_by("account_id").agg(pl.col(SUMMED[:4]).sum(), records=pl.len().cast(pl.Int64), money=money)


def rolled(daily: pl.DataFrame) -> pl.DataFrame:
    """account_id and the sums `SUMMED` of a roll-up."""
    records = pl.col("events").filter(~pl.col("line").is_in(SECOND_LINES)).sum()
    return daily.group_by("account_id").agg(pl.col(SUMMED[:4]).sum(), records=records, money=pl.col("charge").sum())


def added(sums: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """`charged`, or `rolled`, of several."""
    return pl.concat(sums).group_by("account_id").sum()


# ------------------------------------------------------------------------------------------------ the verdicts


def conserved(seen: Seen, where: str, whom: Whom = nobody) -> Iterator[Result]:
    """Every record has one outcome, every outcome but acceptance a reason, every accepted one a charge."""
    if count := seen.wrong["unexplained"].count:
        finding = f"has {count} record(s) that are not billed and say no reason"
        concerned = seen.wrong["unexplained"].whose(whom)
        yield broken("nothing lost", where, finding, "load the day again with python -m etl run", concerned)
    lost, unfounded = seen.lost, seen.unfounded
    if lost.height or unfounded.height:
        concerned = Wrong(lost.height, uncharged=frozenset(lost["provider_account"].unique())).whose(whom)
        anybody = bool(lost.height and not concerned)
        yield broken(
            "nothing lost", where,
            f"has {lost.height} accepted record(s) without a charge and {unfounded.height} charge(s) without a record",
            "run python -m etl rate for the day", () if anybody else {*concerned, *unfounded["account_id"].unique()},
        )  # fmt: skip


def adds_up(charged: pl.DataFrame, rolled: pl.DataFrame, where: str) -> Iterator[Result]:
    """The roll-up holds exactly what the charges hold, in messages, segments, credits, records and money. Both: `SUMMED`
    by account_id."""
    both = charged.join(rolled, on="account_id", how="full", coalesce=True, suffix="_rolled").with_columns(
        pl.exclude("account_id").fill_null(0)
    )
    for what in SUMMED:
        if (due := charged[what].sum()) != (said := rolled[what].sum()):
            finding = f"has {said} {what} rolled up, {due} charged"
            unlike = both.filter(pl.col(what) != pl.col(f"{what}_rolled"))["account_id"]
            yield broken("lines add up", where, finding, "roll the day up again with python -m etl rate", unlike)


def once(events: pl.DataFrame, charges: pl.DataFrame, where: str, whom: Whom = nobody) -> Iterator[Result]:
    """Each (kind, record_id) has one row: no second outcome in its partition. Asked of rows whose hash comes more than once."""
    twice = events.filter(events.select(KEY).is_duplicated())
    if twice.height:
        finding = f"has {twice.height} rows that share a record, first {twice['record_id'].min()}"
        concerned = wrong(twice, charges).whose(whom)
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


def pages_whole(raw: pl.DataFrame, where: str, whom: Whom = nobody) -> Iterator[Result]:
    """The pages of each resource and provider account are numbered from 0 without a hole."""
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


def priced(seen: Seen, where: str) -> Iterator[Result]:
    """No charge is `_unpriced`."""
    silent, groundless = seen.wrong["silent"], seen.wrong["groundless"]
    if silent.count or groundless.count:
        finding = (
            f"has {silent.count} charge(s) without an amount or a reason, and {groundless.count} that no price stands behind"
        )
        concerned = (silent + groundless).accounts
        yield broken("no price is never zero", where, finding, "run python -m etl rate for the day", concerned)


def recounted(seen: Seen, where: str, whom: Whom = nobody) -> Iterator[Result]:
    """No record is `_miscounted`."""
    names = ("short", "unlike", "miscounted", "negative")
    short, unlike, miscounted, negative = (seen.wrong[name].count for name in names)
    if short or unlike or miscounted or negative:
        yield broken(
            "segments recounted", where,
            f"has {short} text(s) without a segment, {unlike} billed otherwise than counted, "
            f"{miscounted} that count otherwise again, and {negative} call(s) shorter than nothing",
            "load the day again with python -m etl run", sum((seen.wrong[name] for name in names), Wrong()).whose(whom),
        )  # fmt: skip


def in_its_day(seen: Seen, where: str, whom: Whom = nobody) -> Iterator[Result]:
    """What is accepted on a UTC day happened on it."""
    if count := seen.wrong["stray"].count:
        finding, concerned = f"has {count} record(s) of another day", seen.wrong["stray"].whose(whom)
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


def belongs(seen: Seen, where: str) -> Iterator[Result]:
    """Nobody is billed for what is `_foreign`."""
    for account, count in sorted(seen.foreign.items()):
        yield broken(
            "nobody else's", f"{where}/account={account}", f"is billed for {count} record(s) of somebody else's",
            "run python -m etl rate for the day, and check numbers.csv",
        )  # fmt: skip
