"""The operator's page: what a month needs, what it holds back, and what it earns. Never for a customer's eyes.

`build` turns `etl.operations.Operations` into what is printed: the worst rows of each table, the rest in the files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal

import polars as pl

from etl.operations import (
    AHEAD,
    BEFORE,
    BEHIND,
    COMPARISONS,
    DIFFERS,
    LATE,
    LOADED,
    MISSING,
    NONE,
    NOT_COMPARED,
    Operations,
)  # fmt: skip
from etl.periods import Month
from reports.formats import Formats, day_long, day_short, moment, month_name, month_year
from reports.naming import item_name, line_name, masked, presentable

LOCALE = "en_US"
WORST = 25
"""Rows of a table, the worst; the rest is counted on the page and listed in its file."""
SOURCES = 6
"""Columns of the calendar."""
LOADS = 160
"""Rows of a day and a source: a month of five sources."""
REASONS = 3
"""What holds an account, shown beside it."""
ZERO = Decimal(0)
EARNED = "Charged less cost on records"
"""What the main figure of the margins is: what no record says, the provider bills all the same."""

EXPLANATIONS = (
    ("Loaded", "A day of a source is loaded when it was read, rated and rolled up. Late is what was first loaded more than a "
     "day after its night. A night that finds nothing new leaves no trace, so an old “last changed” is no gap."),
    ("Compared", "Each source’s records of a day are held against the provider’s own totals. Explained: the difference is no "
     "larger than what still has no price there. No totals: the source gives none, as files do."),
    ("Carrier fees", "Whether the price on a text holds its carrier fee is not said by the provider. Apart: it does not, so ours "
     "should equal the total. Included: it does, so ours should equal the total and the carrier fees. The reading that comes "
     "within a cent fits."),
    ("Margin", "Charged less cost on records: what statements charge before taxes, less what the provider says the month’s "
     "records cost. Subscriptions and credit packs are paid apart and in no margin. What has no provider price yet counts as "
     "costing nothing. What the provider bills in totals only (numbers, video, fees that are apart) is on no record, so in "
     "no cost."),
    ("Closed months", "The charge is what the account was closed with. The cost is what the newest load says."),
    ("Rounding", "Costs and margins are rounded to be shown, so a column may be a cent off its sum. The files are exact."),
)  # fmt: skip

_COMMAND = re.compile(r"python -m \w+(?: (?!-)[a-z]+)?(?: --[a-z-]+(?: [\w.:/-]*[\w/])?)*")
_SEVERAL = re.compile(r"(\d+) (\w+)\(s\)")
_STANDING = {"open": "Open", "provisional": "Provisional", "final": "Final"}


@dataclass(frozen=True)
class Said:
    """A piece of a sentence: plain, ``strong``, or a ``command`` to run."""

    text: str
    kind: str = "plain"


@dataclass(frozen=True)
class Figure:
    label: str
    value: str
    note: str


@dataclass(frozen=True)
class Cell:
    """One day of one source in the calendar."""

    state: str
    compared: str | None
    records: int | None

    @property
    def warn(self) -> bool:
        return self.state in (MISSING, BEHIND) or self.compared == DIFFERS

    @property
    def words(self) -> str:
        return ", ".join(word for word in (self.state, self.compared) if word)


@dataclass(frozen=True)
class Calendar:
    """Some days of the month, day × source."""

    caption: str
    days: tuple[tuple[date, tuple[Cell, ...]], ...]


@dataclass(frozen=True)
class MarginRow:
    account_id: str
    name: str
    charged: Decimal | None
    products: Decimal | None
    cost: Decimal
    cost_currency: str
    margin: Decimal | None
    unpriced: int | None

    @property
    def percent(self) -> Decimal | None:
        return percent(self.margin, self.charged)


@dataclass(frozen=True)
class MarginTable:
    """The accounts of one currency, the worst first. ``rest`` stands for those not shown, so that the column adds up."""

    currency: str
    rows: tuple[MarginRow, ...]
    rest: MarginRow | None
    total: MarginRow | None
    left_out: int
    """Accounts without a margin: they are in no sum."""


@dataclass(frozen=True)
class View:
    """What is printed. Rows of the small tables are dictionaries, as their frames' columns say."""

    month: Month
    state: str
    as_of: str | None
    headline: tuple[Said, ...]
    figures: tuple[Figure, ...]
    todo: tuple[tuple[Said, ...], ...]
    sources: tuple[str, ...]
    hidden_sources: int
    calendars: tuple[Calendar, ...]
    loads: tuple[dict, ...]
    hidden_loads: int
    loads_said: str
    unrated: tuple[dict, ...]
    hidden_unrated: int
    quarantine: tuple[dict, ...]
    hidden_quarantine: int
    unassigned: tuple[dict, ...]
    hidden_unassigned: int
    strays: tuple[dict, ...]
    unpriced: tuple[dict, ...]
    unpriced_said: str
    money: tuple[dict, ...]
    money_days: tuple[dict, ...]
    money_said: str
    compared_said: str
    differences: tuple[dict, ...]
    hidden_differences: int
    margins: tuple[MarginTable, ...]
    margin_said: str
    accounts: tuple[dict, ...]
    hidden_accounts: int
    common: tuple[tuple[Said, ...], ...]
    accounts_said: str
    corrections: tuple[dict, ...]
    hidden_corrections: int
    revisions: tuple[dict, ...]
    corrections_said: str
    explanations: tuple[tuple[str, str], ...] = EXPLANATIONS


def build(operations: Operations) -> View:
    """The view of one month. Pure: the same operations, the same view."""
    o = operations
    f = Formats(LOCALE, "USD")
    margins = _margins(o)
    shown = _worst_sources(o)
    differences = (
        o.reconciled.filter(pl.col("verdict") == "unexplained")
        .join(o.money.select("source", "currency").unique(), on="source", how="left")
        .sort("date", "source", "provider_account", "category")
    )
    common = _common(o.accounts)
    return View(
        month=o.month,
        state="needs attention" if o.todo else "in order",
        as_of=moment(o.as_of) if o.as_of else None,
        headline=_headline(o, f),
        figures=_figures(o, margins, f),
        todo=tuple(said(sentence) for sentence in o.todo),
        sources=shown,
        hidden_sources=len(o.sources) - len(shown),
        calendars=_calendars(o, shown),
        loads=_rows(_worst_loads(o), LOADS),
        hidden_loads=max(0, o.loads.filter(pl.col("records").is_not_null()).height - LOADS),
        loads_said=_loads_said(o, f),
        unrated=_rows(_named(o.unrated, o.accounts), WORST),
        hidden_unrated=max(0, o.unrated.height - WORST),
        quarantine=_rows(o.quarantine, WORST),
        hidden_quarantine=max(0, o.quarantine.height - WORST),
        unassigned=_rows(_named(o.unassigned.filter("known"), o.accounts), WORST),
        hidden_unassigned=max(0, o.unassigned.filter("known").height - WORST),
        strays=_rows(_named(o.unassigned.filter(~pl.col("known")), o.accounts), WORST),
        unpriced=_rows(o.unpriced.filter(pl.col("unpriced") > 0), WORST),
        unpriced_said=_unpriced_said(o, f),
        money=_money_rows(_money_sums(o.money)),
        money_days=_money_rows(o.money.sort("date", "source").tail(LOADS)),
        money_said=_money_said(_money_sums(o.money), f),
        compared_said=_compared_said(o, f),
        differences=_rows(differences, WORST),
        hidden_differences=max(0, differences.height - WORST),
        margins=margins,
        margin_said=_margin_said(o, margins, f),
        accounts=_account_rows(o.accounts, common),
        hidden_accounts=max(0, o.accounts.height - WORST),
        common=tuple(said(sentence) for sentence in common),
        accounts_said=_accounts_said(o, f),
        corrections=tuple(_corrected(row) for row in _rows(_named(_largest(o.corrections), o.accounts), WORST)),
        hidden_corrections=max(0, o.corrections.height - WORST),
        revisions=tuple(_revised(row) for row in _rows(_named(o.revisions, o.accounts), WORST)),
        corrections_said=_corrections_said(o, f),
    )


def said(sentence: str) -> tuple[Said, ...]:
    """A sentence of the logs as a page says it: its commands apart, one or several, phone numbers masked."""
    text, pieces, at = _SEVERAL.sub(_one_or_several, masked(sentence)), [], 0
    for found in _COMMAND.finditer(text):
        pieces += [Said(text[at : found.start()]), Said(found[0], "command")]
        at = found.end()
    pieces = [p for p in (*pieces, Said(text[at:])) if p.text]
    if pieces and pieces[0].kind == "plain":
        pieces[0] = Said(pieces[0].text[0].upper() + pieces[0].text[1:])
    return tuple(pieces)


def _one_or_several(found: re.Match) -> str:
    return f"{found[1]} {found[2]}{'' if found[1] == '1' else 's'}"


def percent(part: Decimal | None, whole: Decimal | None) -> Decimal | None:
    """``part`` of ``whole`` in percent, two decimals; None where there is nothing to divide by."""
    if part is None or not whole:
        return None
    return (part / whole * 100).quantize(Decimal("0.01"), ROUND_HALF_UP)


# ------------------------------------------------------------------------------------------------ the opening


def _headline(o: Operations, f: Formats) -> tuple[Said, ...]:
    name = month_name(o.month)
    gaps = o.loads.filter(pl.col("state").is_in([MISSING, BEHIND]))["date"].n_unique()
    whole = not gaps and o.loads.filter(pl.col("state") == AHEAD).is_empty()
    if o.through is None:
        words = [Said(f"No day of {name} is in the figures yet")]
    elif gaps:
        words = [Said(_counted(gaps, "day", f), "strong"), Said(f" of {name} {_are(gaps)} not in the figures")]
    else:
        words = [Said(f"Every day of {name}{'' if whole else f' through {day_short(o.through)}'} is loaded")]
    lost = o.unrated["records"].sum()
    if lost:
        words += [
            Said(", "),
            Said(_counted(lost, "charge", f), "strong"),
            Said(f" {_verb(lost, 'have', 'has')} no price"),
        ]
    elif o.through is not None:
        words.append(Said(", everything has a price"))
    closed, every = o.accounts.filter(pl.col("state") == "final").height, o.accounts.height
    if closed == every and every:
        words.append(
            Said(f", and {'the one account is' if every == 1 else f'all {f.count(every)} accounts are'} closed.")
        )
    else:
        count = f"{f.count(closed)} of {_counted(every, 'account', f)}" if closed else "no account"
        words += [
            Said(", and "),
            Said(count, "strong" if closed else "plain"),
            Said(f" {_are(max(closed, 1))} closed."),
        ]
    if not o.todo:
        return (*words, Said(" Nothing needs doing."))
    return (*words, Said(" "), Said(_counted(len(o.todo), "thing", f), "strong"),
            Said(f" {_verb(len(o.todo), 'need')} doing{'' if len(o.todo) == 1 else ', the most pressing first'}."))  # fmt: skip


def _figures(o: Operations, margins: Sequence[MarginTable], f: Formats) -> tuple[Figure, ...]:
    records = o.loads["records"].sum()
    loaded, due = _days_loaded(o)
    lost, held = o.unrated["records"].sum(), o.quarantine["records"].sum()
    billed = o.unrated.filter(pl.col("account_id").is_in(o.accounts["account_id"].implode()))
    who = [_counted(billed["account_id"].n_unique(), "account", f)] if billed.height else []
    who += ["no account"] if billed.height < o.unrated.height else []
    return (
        Figure("Records loaded", f.count(records), f"{f.count(loaded)} of {_counted(due, 'day', f)} due"),
        Figure("Without a price", f.count(lost), f"of {' and of '.join(who)}" if lost else "everything is rated"),
        Figure("In quarantine", f.count(held),
               f"for {_counted(o.quarantine['reason'].n_unique(), 'reason', f)}" if held else "nothing"),
        _margin_figure(margins, o.margin["unpriced"].sum(), f),
    )  # fmt: skip


def _margin_figure(margins: Sequence[MarginTable], unpriced: int, f: Formats) -> Figure:
    margins = [table for table in margins if table.total]
    if not margins:
        return Figure(EARNED, "–", "no account is charged in the currency of its costs")
    main = margins[0]
    of = Formats(LOCALE, main.currency)
    total = main.total
    share = (
        f"{of.percent(total.percent)} of {of.money(total.charged)}" if total.percent is not None else "nothing charged"
    )
    others = [f"{Formats(LOCALE, t.currency).money(t.total.margin)} in {t.currency}" for t in margins if t is not main]
    note = ", and ".join([share, *others[:2]])
    if unpriced:
        note += f"; {_counted(unpriced, 'record', f)} not priced yet"
    return Figure(EARNED, of.money(total.margin), note)


def _days_loaded(o: Operations) -> tuple[int, int]:
    """Days every source of which is in the figures, of those whose night has begun."""
    due = o.loads.filter(~pl.col("state").is_in([AHEAD, BEFORE, NONE]))
    lacking = due.filter(pl.col("state").is_in([MISSING, BEHIND]))["date"].n_unique()
    return due["date"].n_unique() - lacking, due["date"].n_unique()


def _counted(count: int, what: str, f: Formats) -> str:
    return f"{f.count(count)} {what if count == 1 else what + 's'}"


def _are(count: int) -> str:
    return _verb(count, "are", "is")


def _verb(count: int, many: str, one: str | None = None) -> str:
    return (one or f"{many}s") if count == 1 else many


# ------------------------------------------------------------------------------------------------ loads


def _worst_sources(o: Operations) -> tuple[str, ...]:
    """The sources with most days that lack something; by name."""
    bad = (
        o.loads.group_by("source")
        .agg(bad=(pl.col("state").is_in([MISSING, BEHIND]) | (pl.col("compared") == DIFFERS).fill_null(False)).sum())
        .sort("bad", "source", descending=[True, False])
        .head(SOURCES)
    )
    return tuple(bad["source"].sort())


def _calendars(o: Operations, sources: Sequence[str]) -> tuple[Calendar, ...]:
    """The days whose night has begun: in two halves that stand side by side, or in one where there are many sources."""
    cells: dict[date, dict[str, Cell]] = {}
    for row in o.loads.filter(pl.col("source").is_in(list(sources))).iter_rows(named=True):
        cells.setdefault(row["date"], {})[row["source"]] = Cell(row["state"], row["compared"], row["records"])
    begun = o.loads.filter(~pl.col("state").is_in([AHEAD, BEFORE, NONE]))["date"].unique().sort().to_list()
    middle = (len(begun) + 1) // 2
    halves = [begun[:middle], begun[middle:]] if len(sources) <= 2 and len(begun) > 10 else [begun]
    return tuple(
        Calendar(
            f"{day_long(half[0])} to {day_long(half[-1])}" if len(half) > 1 else day_long(half[0]),
            tuple((day, tuple(cells[day][source] for source in sources)) for day in half),
        )
        for half in halves
        if half
    )


def _worst_loads(o: Operations) -> pl.DataFrame:
    """What is loaded, oldest first; where there is too much for a page, the days that differ before the others."""
    order = {name: i for i, name in enumerate((BEHIND, LATE, LOADED))}
    found = o.loads.filter(pl.col("records").is_not_null())
    ranked = found.with_columns(
        _state=pl.col("state").replace_strict(order, default=9, return_dtype=pl.Int32),
        _compared=pl.col("compared").replace_strict(
            {n: i for i, n in enumerate(COMPARISONS)}, default=9, return_dtype=pl.Int32
        ),
    )
    return (
        ranked.sort("_state", "_compared", "date", "source")
        .head(LOADS)
        .sort("date", "source")
        .drop("_state", "_compared")
    )


def _loads_said(o: Operations, f: Formats) -> str:
    loaded, due = _days_loaded(o)
    late = o.loads.filter(pl.col("state") == LATE)["date"].n_unique()
    words = f"{f.count(loaded)} of {_counted(due, 'day', f)} due {_are(loaded)} in the figures."
    if late:
        words += f" {_counted(late, 'day', f)} came more than a day after {'its' if late == 1 else 'their'} night."
    unread = o.loads.filter(pl.col("compared") == NOT_COMPARED)["date"].n_unique()
    if unread:
        words += f" {_counted(unread, 'day', f)} {_are(unread)} not compared with the provider’s own totals."
    return words


# ------------------------------------------------------------------------------------------------ held back


def _named(frame: pl.DataFrame, accounts: pl.DataFrame) -> pl.DataFrame:
    return frame.join(accounts.select("account_id", "name"), on="account_id", how="left", maintain_order="left")


def _rows(frame: pl.DataFrame, limit: int) -> tuple[dict, ...]:
    """The first rows, as they may be shown: names on one line, phone numbers in names, reasons and ids masked."""
    return tuple(_presentable(row) for row in frame.head(limit).iter_rows(named=True))


def _presentable(row: dict) -> dict:
    shown = dict(row)
    if "line" in shown:
        shown["line"] = line_name(row["line"])
    for name in ("example", "name", "provider_account", "reason", "why"):
        if shown.get(name):
            shown[name] = presentable(shown[name])
    if row.get("by") == "month" and row.get("example"):
        shown["example"] = item_name(row["line"], row["example"])
    if "fix" in shown:
        shown["fix"] = said(row["fix"])
    if "first_date" in shown:
        first, last = row["first_date"], row["last_date"]
        shown["when"] = day_short(first) if first == last else f"{day_short(first)} to {day_short(last)}"
    return shown


def _unpriced_said(o: Operations, f: Formats) -> str:
    waiting, records = o.unpriced["unpriced"].sum(), o.unpriced["records"].sum()
    if not records:
        return "No text and no call is loaded."
    if not waiting:
        return f"The provider has said its price for all {f.count(records)} texts and calls."
    oldest = o.unpriced["oldest"].min()
    age = (o.now.date() - oldest).days
    share = f.percent(Decimal(waiting) / records * 100)
    return (
        f"The provider has not said its price for {f.count(waiting)} of {f.count(records)} texts and calls ({share}). "
        f"The oldest {_are(waiting)} of {day_long(oldest)}, {_counted(age, 'day', f)} ago."
    )


# ------------------------------------------------------------------------------------------------ reconciliation


def _money_rows(money: pl.DataFrame) -> tuple[dict, ...]:
    """Ours less theirs, under both readings of whether a text's price holds its carrier fee."""
    apart = pl.col("cost") - pl.col("ledger_cost")
    rows = money.with_columns(if_apart=apart, if_included=apart - pl.col("ledger_fees"))
    return tuple(rows.iter_rows(named=True))


def _money_sums(money: pl.DataFrame) -> pl.DataFrame:
    summed = ("cost", "ledger_cost", "ledger_fees", "with_fees", "apart", "included")
    return money.group_by("source", "currency").agg(pl.len().alias("days"), pl.col(summed).sum()).sort("source")


def _money_said(sums: pl.DataFrame, f: Formats) -> str:
    """Which reading of the carrier fees fits, source by source."""
    words = []
    for row in sums.filter(pl.col("with_fees") > 0).iter_rows(named=True):
        fits = [f"{f.count(row[n])} {_verb(row[n], 'fit')} {n}" for n in ("apart", "included") if row[n]]
        words.append(
            f"{presentable(row['source'])}: of {_counted(row['with_fees'], 'total', f)} with carrier fees "
            f"{' and '.join(fits) or 'none fits either reading'}."
        )
    return " ".join(words)


def _compared_said(o: Operations, f: Formats) -> str:
    if o.reconciled.is_empty():
        return "Not compared: no day of the month was held against the provider’s own totals."
    counts = dict(o.reconciled["verdict"].value_counts().iter_rows())
    compared = o.reconciled.height - counts.get("no totals", 0)
    if not compared:
        return "The sources give no totals of their own, so nothing can be compared."
    differ, explained = counts.get("unexplained", 0), counts.get("explained", 0)
    words = f"{_counted(compared, 'total', f)} of the provider {_verb(compared, 'were', 'was')} compared: "
    words += f"{f.count(counts.get('ok', 0))} {_verb(counts.get('ok', 0), 'match', 'matches')}"
    if explained:
        words += f", {f.count(explained)} {_verb(explained, 'wait')} for prices still to come"
    return words + (f", {f.count(differ)} {_verb(differ, 'differ')}." if differ else ", none differs.")


# ------------------------------------------------------------------------------------------------ margin


def _margins(o: Operations) -> tuple[MarginTable, ...]:
    names = dict(o.accounts.select("account_id", "name").iter_rows())
    tables = []
    for currency in _currencies(o):
        mine = o.margin.filter(pl.col("currency") == currency)
        good = mine.filter(pl.col("margin").is_not_null())
        listed = mine.sort(pl.col("margin").is_not_null(), "margin", "account_id", "provider_currency")
        shown, rest = listed.head(WORST), listed.slice(WORST)
        tables.append(
            MarginTable(
                currency=currency,
                rows=tuple(_margin_row(row, names) for row in shown.iter_rows(named=True)),
                rest=_margin_sum(rest, currency, rest.height) if rest.height else None,
                total=_margin_sum(good, currency, good.height) if good.height else None,
                left_out=mine.filter(pl.col("margin").is_null())["account_id"].n_unique(),
            )
        )
    return tuple(tables)


def _currencies(o: Operations) -> list[str]:
    """Those of the margins: the one most accounts are billed in first."""
    accounts = o.accounts["currency"].value_counts().sort("count", "currency", descending=[True, False])["currency"]
    found = set(o.margin["currency"].drop_nulls())
    return [c for c in accounts if c in found] + sorted(found - set(accounts))


def _margin_row(row: dict, names: dict[str, str]) -> MarginRow:
    name = presentable(names[row["account_id"]]) if row["known"] else "Nobody’s account"
    return MarginRow(
        row["account_id"], name, row["charged"] if row["known"] else None, row["products"], row["provider_cost"],
        row["provider_currency"], row["margin"], row["unpriced"],
    )  # fmt: skip


def _margin_sum(rows: pl.DataFrame, currency: str, count: int) -> MarginRow:
    """The sum of the rows that have a margin."""
    good = rows.filter(pl.col("margin").is_not_null())
    sums = {name: good[name].sum() or ZERO for name in ("charged", "products", "provider_cost", "margin")}
    return MarginRow(
        str(count), "", sums["charged"], sums["products"], sums["provider_cost"], currency, sums["margin"],
        good["unpriced"].sum(),
    )  # fmt: skip


def _margin_said(o: Operations, margins: Sequence[MarginTable], f: Formats) -> str:
    waiting = o.margin["unpriced"].sum()
    left_out = sum(table.left_out for table in margins)
    words = []
    if waiting:
        words.append(
            f"{_counted(waiting, 'record', f)} {_verb(waiting, 'have', 'has')} no provider price yet and "
            f"{_verb(waiting, 'count')} as costing nothing, so margins may still fall."
        )
    if left_out:
        words.append(
            f"{_counted(left_out, 'account', f)} {_verb(left_out, 'have', 'has')} no statement yet, or costs in another "
            f"currency: {'it is' if left_out == 1 else 'they are'} in no sum, for currencies are never added."
        )
    return " ".join(words)


# ------------------------------------------------------------------------------------------------ accounts


def _common(accounts: pl.DataFrame) -> tuple[str, ...]:
    """What holds every account that is open, where there are several: said once."""
    open_ = accounts.filter(pl.col("state") != "final")["held"]
    if len(open_) < 2:
        return ()
    first, *others = (list(held) for held in open_)
    shared = set(first).intersection(*others)
    return tuple(sentence for sentence in first if sentence in shared)


def _account_rows(accounts: pl.DataFrame, common: Iterable[str]) -> tuple[dict, ...]:
    """Those with the most to say first: held for reasons of their own, open, changed since closing, closed."""
    own = pl.col("held").list.set_difference(pl.lit(list(common), pl.List(pl.String))).list.len()
    moved = (pl.col("total") != pl.col("total_now")).fill_null(False)
    ranked = accounts.with_columns(_own=own, _moved=moved, _final=pl.col("state") == "final")
    worst = ranked.sort("_own", "_final", "_moved", "account_id", descending=[True, False, True, False]).head(WORST)
    return tuple(_account_row(row, set(common)) for row in worst.iter_rows(named=True))


def _account_row(row: dict, common: set[str]) -> dict:
    held = [sentence for sentence in row["held"] if sentence not in common]
    f = Formats(LOCALE, row["currency"])
    if row["_final"] and row["_moved"]:
        held = [
            f"closed with {f.money(row['total'])}; the newest figures come to {f.money(row['total_now'])}, the statement stays"
        ]
    elif not row["_final"] and not row["held"]:
        held = ["nothing holds it"]
    state = _STANDING[row["state"]]
    return {
        "account_id": row["account_id"],
        "name": presentable(row["name"]),
        "state": f"{state}, revision {row['revision']}" if row["revision"] else state,
        "final": row["_final"],
        "closed_at": moment(row["closed_at"]) if row["closed_at"] else "",
        "total": f.money(row["total"]) if row["total"] is not None else "",
        "held": [said(sentence) for sentence in held[:REASONS]],
        "more": max(0, len(held) - REASONS),
    }


# ------------------------------------------------------------------------------------------------ corrections


def _largest(corrections: pl.DataFrame) -> pl.DataFrame:
    size = pl.col("amount").abs() + pl.col("products").abs()
    return corrections.sort(size, "account_id", "for_month", descending=[True, False, False])


def _corrected(row: dict) -> dict:
    return row | {"month": month_year(Month.parse(row["for_month"]))}


def _revised(row: dict) -> dict:
    return row | {"when": moment(row["closed_at"]), "run": presentable(row["run_id"])}


def _corrections_said(o: Operations, f: Formats) -> str:
    """What is booked and what was opened again, in two sentences."""
    accounts, months = (o.corrections[name].n_unique() for name in ("account_id", "for_month"))
    if not accounts:
        words = "No statement of this month corrects a closed one."
    else:
        records = _counted(o.corrections["records"].sum(), "record", f)
        words = (
            f"Statements of {_counted(accounts, 'account', f)} correct {_counted(months, 'closed month', f)}, "
            f"because of {records}. Currencies are not added."
        )
    if o.revisions.height:
        words += f" The month itself was opened again {_counted(o.revisions.height, 'time', f)}."
    return words


def _accounts_said(o: Operations, f: Formats) -> str:
    counts = dict(o.accounts["state"].value_counts().iter_rows())
    parts = [f"{f.count(counts[state])} {state}" for state in ("open", "provisional", "final") if counts.get(state)]
    return (
        f"{_counted(o.accounts.height, 'account', f)}: {', '.join(parts)}." if parts else "No account was a customer."
    )
