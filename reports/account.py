"""The account's own page: every published month in years, what they come to, a chart of them, and the sentences.

Sums are of what the months' own statements say. A sum is None where one of its months cannot say, or where they are in
different currencies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby

from etl.periods import Month
from reports.charges import ZERO, ProductRow
from reports.charts import Part
from reports.explore import Explorer, within
from reports.formats import Formats, day_long, month_short, month_year
from reports.shelf import Shelved
from reports.words import STATES, Words

CHART_MONTHS = 24
NEWEST_MONTHS = (60, 24, 12)
"""Months the explorer has where it cannot have all."""
LABELLED = 6
"""So many months all have their amount above the bar; of more, the newest and the largest."""
TIGHT = 12
"""So many months have their name below the bar on a phone too; of more, every third."""


@dataclass(frozen=True)
class Sums:
    """What months come to."""

    months: int
    currency: str | None
    total: Decimal | None
    products: Decimal | None
    messages: int | None
    segments: int | None


@dataclass(frozen=True)
class Year:
    """The months of a year, newest first, and what they come to."""

    year: int
    rows: tuple[Shelved, ...]
    sums: Sums


@dataclass(frozen=True)
class Column:
    """A month of the chart. ``value`` stands above it, on a phone too where ``kept``; ``name`` below it likewise."""

    title: str
    part: Part
    middle: float
    value: str
    value_x: float
    value_at: float
    anchor: str
    kept: bool
    name: str
    named: bool
    year: str


@dataclass(frozen=True)
class Months:
    """Total charges by month. ``zero`` is the y of nothing."""

    columns: tuple[Column, ...]
    height: int
    base: float
    zero: float
    label: str
    estimated: bool


# ------------------------------------------------------------------------------------------------ figures


def sums(rows: Iterable[Shelved]) -> Sums:
    rows = tuple(rows)
    currencies = {s.currency for s in rows}
    whole = len(currencies) == 1 and all(s.readable for s in rows)

    def added(values: Iterable) -> int | None:
        values = tuple(values)
        return sum(values) if values and None not in values else None

    return Sums(
        months=len(rows),
        currency=next(iter(currencies)) if whole else None,
        total=sum((s.total for s in rows), ZERO) if whole else None,
        products=sum((s.products.total for s in rows if s.products), ZERO) if whole else None,
        messages=added(s.messages for s in rows),
        segments=added(s.segments for s in rows),
    )


def years(rows: Iterable[Shelved]) -> tuple[Year, ...]:
    """Months, newest first, by year."""
    return tuple(
        Year(year, months, sums(months))
        for year, months in ((year, tuple(run)) for year, run in groupby(rows, key=lambda s: s.month.year))
    )


def figures(rows: tuple[Shelved, ...], formats_of: dict[str, Formats]) -> list[tuple[str, str, str]]:
    """(label, figure, what it is of): the large figures of the page, only those that can be told."""
    whole = sums(rows)
    f = formats_of.get(whole.currency) or next(iter(formats_of.values()), None)
    if f is None or len(rows) < 2:
        return []
    of = f"since {month_year(rows[-1].month)}"
    found = []
    if whole.total is not None:
        found.append(("Total charges", f.money(whole.total), of))
    if whole.products:
        found.append(("Products, paid apart", f.money(whole.products), of))
    for label, number in (("Segments", whole.segments), ("Messages", whole.messages)):
        if number is not None:
            found.append((label, f.count(number), of))
    return found


def parts(explorer: Explorer | None) -> Iterator[Explorer]:
    """All days, then fewer and fewer of the newest, for a page that has no room for all."""
    if explorer is None:
        return
    yield explorer
    for count in NEWEST_MONTHS:
        if count < len(explorer.months):
            yield within(explorer, explorer.months[-count].first, explorer.last)


def gaps(rows: Iterable[Shelved]) -> list[Month]:
    """Months between the first and the last that have no statement, oldest first."""
    known = {s.month for s in rows}
    return [m for m in _through(min(known), max(known)) if m not in known] if known else []


def _through(first: Month, last: Month) -> list[Month]:
    return last.last((last.year - first.year) * 12 + last.number - first.number + 1)


# ------------------------------------------------------------------------------------------------ chart


def chart(rows: Iterable[Shelved], f: Formats, height: int = 200) -> Months | None:
    """Total charges of the newest months in one currency, up to two years of them; None where there is nothing to see."""
    rows = tuple(rows)
    broken = {s.month for s in rows if not s.readable}
    known = {s.month: s for s in rows if s.readable and s.currency == f.currency}
    if not known:
        return None
    last = max(known)
    shown = [m for m in _through(min(known), last)[-CHART_MONTHS:]]
    bars = [known[m] for m in shown if m in known]
    if len(bars) < 2 or not any(s.total for s in bars):
        return None
    top, low = max([ZERO, *(s.total for s in bars)]), min([ZERO, *(s.total for s in bars)])
    head, foot = 24, 40
    room = height - head - foot - (18 if low < 0 else 0)
    zero = head + float(top / (top - low)) * room  # ratio
    step = 100 / len(shown)
    largest = max(bars, key=lambda s: abs(s.total)).month
    columns, tops = [], []
    for i, month in enumerate(shown):
        s, middle = known.get(month), i * step + step / 2
        said = len(shown) <= LABELLED or month in (largest, last)
        if month == largest and last != month and len(shown) > LABELLED and (shown.index(last) - i) * step < 12:
            said = False
        at_end = month == last and len(shown) > LABELLED
        part = Part(_r(i * step + step * 0.13), head, _r(step * 0.74), room, "unknown")
        at, title = zero, f"{month_year(month)}: {'not readable' if month in broken else 'no statement'}"
        if s:
            size = max(float(abs(s.total) / (top - low)) * room, 1.0)  # ratio
            y = zero - size if s.total >= 0 else zero
            part = Part(
                _r(i * step + step * 0.13),
                _r(y),
                _r(step * 0.74),
                _r(size),
                "sent" if s.state == "final" else "received",
            )
            tops.append(y)
            # the newest amount reaches over its neighbour, so it stands above both
            at = (min(tops[-2:]) if at_end else y) - 7 if s.total >= 0 else y + size + 14
            title = (
                f"{month_year(month)}: {f.money(s.total)}{'' if s.state == 'final' else ', ' + STATES[s.state].lower()}"
            )
        columns.append(
            Column(
                title=title,
                part=part,
                middle=_r(middle),
                value=f.money(s.total) if s and said else "",
                value_x=_r(100 - step * 0.13 if at_end else middle),
                value_at=_r(at),
                anchor="end" if at_end else "middle",
                kept=len(shown) <= 4 or month == last,
                name=month_short(month),
                named=len(shown) <= TIGHT or month.number % 3 == 1,
                year=str(month.year) if i == 0 or month.number == 1 else "",
            )
        )
    return Months(
        columns=tuple(columns),
        height=height,
        base=height - foot,
        zero=_r(zero),
        label="Total charges by month. The same figures are in the table below.",
        estimated=any(s.state != "final" for s in bars),
    )


def _r(number: float) -> float:
    return round(number, 2)


# ------------------------------------------------------------------------------------------------ sentences


def extent(rows: tuple[Shelved, ...]) -> str:
    """What is on the page, for the line below the heading."""
    if not rows:
        return "No month is published yet"
    return f"{'1 month' if len(rows) == 1 else f'{len(rows)} months'}, {span(rows)}"


def span(rows: tuple[Shelved, ...]) -> str:
    """From which month to which, of rows newest first."""
    first, last = rows[-1].month, rows[0].month
    return f"{month_year(last) if first == last else f'{month_year(first)} – {month_year(last)}'} (UTC)"


def lead(rows: tuple[Shelved, ...], formats_of: dict[str, Formats]) -> list[Words]:
    """The newest month's amount and how it stands; of an unfinished one also what the newest final one came to."""
    readable = [s for s in rows if s.readable]
    if not readable:
        return [Words("There is no statement to show yet." if not rows else "No statement can be read at the moment.")]
    s = readable[0]
    f, name = formats_of[s.currency], month_year(s.month)
    amount = Words(f.money(abs(s.total)), strong=True)
    if s.state == "open":
        until = f" through {day_long(s.through)}" if s.through else ""
        said = [Words(f"{name} is estimated at "), Words(f.money(s.total), strong=True), Words(f" so far{until}.")]
    elif not s.total:
        said = [
            Words(
                f"Nothing was charged for {name}. " if s.state == "final" else f"Nothing is charged for {name} so far. "
            )
        ]
        said.append(Words("The statement is final." if s.state == "final" else _UNCLOSED))
    elif s.total < 0:
        ends = "ended" if s.state == "final" else "will end"
        said = [Words(f"{name} {ends} with a credit of "), amount, Words(" in your favor.")]
    elif s.state == "final":
        said = [Words("You were charged "), amount, Words(f" for {name}. The statement is final.")]
    else:
        said = [
            Words("You will be charged "), amount,
            Words(f" for {name}. {_UNCLOSED}"),
        ]  # fmt: skip
    final = next((s for s in readable if s.state == "final"), None)
    if s.state != "final" and final:
        words = [Words(f" The newest final statement is {month_year(final.month)}, "),
                 Words(formats_of[final.currency].money(final.total), strong=True), Words(".")]  # fmt: skip
        said += words
    return said


_UNCLOSED = "Figures may still change until the month is closed."


def bought(rows: tuple[Shelved, ...], formats_of: dict[str, Formats]) -> list[Words]:
    """The newest month's products: how many, how much, and what of it nobody reported."""
    if not rows:
        return [Words("Nothing was bought in any published month.")]
    s = rows[0]
    f, products = formats_of[s.currency], s.products
    counts = [
        (sum(int(r.quantity or 0) for r in products.rows if r.line == line), name)
        for line, name in (("subscription", "subscription"), ("credit_pack", "credit pack"))
    ]
    what = " and ".join(f"{f.count(n)} {name if n == 1 else name + 's'}" for n, name in counts if n) or "products"
    more_than_bought = [
        "taxes" if any(r.line == "tax" and r.amount for r in products.rows) else "",
        "corrections of closed months" if any(r.of for r in products.rows) else "",
    ]
    said = " and ".join(filter(None, more_than_bought))
    taxed = f" with {said}" if said else ""
    simulated = sum((r.amount for r in products.rows if r.simulated), ZERO)
    more = f", {f.money(simulated)} of it simulated" if simulated else ""
    return [
        Words(f"In {month_year(s.month)}, {what} came to "), Words(f.money(products.total), strong=True),
        Words(f"{taxed}{more}. They are paid apart: no statement’s total contains them."),
    ]  # fmt: skip


def bought_detail(row: ProductRow, f: Formats) -> str:
    """When, how many and at what price, or of what a tax is taken; empty where nothing is known."""
    if row.line == "tax":
        return ", ".join(filter(None, (row.place, f"on {f.money(row.base)}" if row.base is not None else "")))
    if row.quantity is None:
        return row.place or row.kind
    if row.of:
        return f"{'+' if row.quantity > 0 else '−'}{f.amount_of(abs(row.quantity), row.unit)}"
    many = f.amount_of(row.quantity, row.unit)
    return f"{many} × {price(row.price, f)}" if row.price is not None and row.quantity != 1 else many


def corrects(row: ProductRow) -> str:
    """Which closed month a correction is of; empty for a product of the month itself."""
    return f"correction of {month_year(Month.parse(row.of))}" if row.of else ""


def price(amount: Decimal, f: Formats) -> str:
    """A price in whole minor units where it has no more, else as unit prices are written."""
    return f.money(amount) if amount == amount.quantize(Decimal(1).scaleb(-f.digits)) else f.price(amount)


def notes(
    rows: tuple[Shelved, ...], dayless: Iterable[Month] = (), lacking: Iterable[Month] = ()
) -> list[tuple[str, str]]:
    """What a reader must know about this page: (tag, sentence). ``dayless`` months were published without their days,
    ``lacking`` ones have a CSV that cannot be read."""
    said = []
    if missing := gaps(rows):
        said.append(("No statement", f"There is no statement of {listed(missing)}."))
    broken = sorted(s.month for s in rows if not s.readable)
    if broken:
        said.append(
            ("Not readable", f"What {listed(broken)} came to cannot be read at the moment and is in no sum here. "
                             "The next publication of the month mends that; its own page is not affected.")
        )  # fmt: skip
    if without := sorted(set(dayless) - set(broken)):
        said.append(
            ("Days", f"The days of {listed(without)} are unknown on this page: the month was published before pages had "
                     "them. The next publication of the month adds them.")
        )  # fmt: skip
    if absent := sorted(set(lacking) - set(broken)):
        said.append(
            ("Files", f"The files below lack {listed(absent)}: the month’s own CSV could not be read. "
                      "The next publication adds it.")
        )  # fmt: skip
    return said


def listed(months: list[Month]) -> str:
    """Months in words: up to four by name, runs of them as a range."""
    runs: list[list[Month]] = []
    for month in months:
        if runs and runs[-1][-1] + 1 == month:
            runs[-1].append(month)
        else:
            runs.append([month])
    names = [
        month_year(run[0])
        if len(run) == 1
        else f"{month_year(run[0])} {'and' if len(run) == 2 else 'to'} {month_year(run[-1])}"
        for run in runs
    ]
    if len(names) > 4:
        return f"{', '.join(names[:3])} and {sum(map(len, runs[3:]))} more months"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def chart_lead(rows: Iterable[Shelved], f: Formats) -> str:
    """What the chart shows: the largest month, beside the middle of the others."""
    final = [s for s in rows if s.state == "final" and s.readable and s.currency == f.currency][:CHART_MONTHS]
    if len(final) < 3:
        return "Each bar is a month’s total."
    top = max(final, key=lambda s: s.total)
    rest = [s.total for s in final if s.month != top.month]
    mean = sum(rest, ZERO) / len(rest)
    if top.total <= 0 or mean <= 0:
        return "Each bar is a month’s total."
    return f"The largest total was {f.money(top.total)} in {month_year(top.month)}; the other final months averaged {f.money(mean)}."


def product_terms(rows: Iterable[Shelved]) -> list[tuple[str, str]]:
    """The terms of the products' page, only those that appear on it."""
    all_of_them = [row for s in rows for row in s.products.rows]
    lines = {row.line for row in all_of_them}
    used = {
        "Subscription": "subscription" in lines,
        "Credit pack": "credit_pack" in lines,
        "Simulated": any(row.simulated for row in all_of_them),
        "Tax": "tax" in lines,
        "Correction": "correction" in lines,
    }
    return [(term, text) for term, text in _PRODUCT_TERMS if used.get(term, True)]


def terms(rows: Iterable[Shelved]) -> list[tuple[str, str]]:
    """The terms of the account's page, only those that appear on it."""
    rows = list(rows)
    states = {s.state for s in rows}
    used = {
        "Estimated": "open" in states,
        "Provisional": "provisional" in states,
        "Final": "final" in states,
        "Revision": any(s.revision > 1 for s in rows),
        "Products": any(s.products for s in rows),
    }
    return [(term, text) for term, text in _TERMS if used.get(term, True)]


_TERMS = (
    ("Month", "Months and days are cut in UTC."),
    ("Total", "What the statement of the month comes to: charges, taxes and the rounding difference."),
    ("Products", "Subscriptions and credit packs. They are paid apart: no statement’s total contains them."),
    ("Estimated", "The month is not over, or not all of it is loaded. Its figures are estimates and will rise."),
    ("Provisional", "All of the month is there, but it is not closed yet. Figures may still change."),
    ("Final", "The month is closed. A final statement is never changed; what arrives later is a correction in a later month."),
    ("Revision", "A closed month that was opened again gets a new revision. Each has an address of its own and stays as it was."),
    ("Files", "Made by joining the months’ own files record by record: what they say is what the months say."),
)  # fmt: skip
_PRODUCT_TERMS = (
    ("Subscription", "Paid in advance, on the day of the month on which it began; a yearly one once a year."),
    ("Credit pack", "Bought credits never lapse. A recharge is a pack that was bought because credits ran low."),
    ("Simulated", "Nobody reported this recharge: it is what the settings of the subscription would have bought."),
    ("Tax", "Taken of the amount beside it."),
    ("Correction", "What changed of a closed month’s products later: more or less than was paid for them."),
    ("Month", "Months are cut in UTC. A product belongs to the month it fell due or was bought in."),
)  # fmt: skip
