"""The sentences of "Worth a look": of each finding what it is, what is usual, who made it and what it cost.

Neutral on purpose: more is not worse and less is not better. A figure stands in one place of a remark only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import singledispatch

from etl.money import round_half_up
from reports import words
from reports.charges import ZERO, minutes
from reports.findings import (
    CreditsLost,
    CreditsPace,
    CreditsShort,
    Failed,
    Finding,
    Grown,
    OddDay,
    PriceMove,
    Records,
    Silent,
    Unregistered,
    Who,
)
from reports.formats import NBSP, Formats, day_long, month_name, weekday
from reports.model import Page
from reports.naming import isolated

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven")
MORE, LESS = "▲", "▼"


@dataclass(frozen=True)
class Remark:
    """One row: a tag, the finding in a sentence, what is behind it, and a short figure. ``arrow`` points where a figure
    went, ``warn`` marks what costs more or is missing."""

    tag: str
    bold: str
    text: str
    figure: str
    arrow: str = ""
    warn: bool = False


def remarks(page: Page, f: Formats, limit: int | None = None) -> list[Remark]:
    """The first ``limit`` findings of a page, in words; all without one."""
    return [_remark(finding, page, f) for finding in page.findings[:limit]]


def nothing(page: Page) -> str:
    """What is said where nothing is worth a look; empty where that says nothing either."""
    if not (page.usage.messages or page.usage.calls):
        return ""
    if page.state == "open":
        return "Nothing stands out so far."
    if len(page.history) == 1:
        return ""
    return f"Nothing stands out: no day, person or price of {month_name(page.month)} is far from what is usual here."


@singledispatch
def _remark(finding: Finding, page: Page, f: Formats) -> Remark:
    raise TypeError(f"no words for {type(finding).__name__}")


# ------------------------------------------------------------------------------------------------ usage


@_remark.register
def _(finding: OddDay, page: Page, f: Formats) -> Remark:
    day = weekday(finding.day)
    on = f"on {day}, {day_long(finding.day)}"
    had, typical = _counted(finding.measure, finding.value, f), _bare(finding.measure, finding.typical, f)
    if finding.more:
        bold = f"{had} {on}."
        said = [
            f"A typical {day} has {typical if finding.typical else 'none'}.",
            _made(finding.measure, finding.who, f),
        ]
        figure = _times(finding.value, finding.typical, f) if finding.typical else "new"
    else:
        noun = _noun(finding.measure)
        bold = f"Fewer {noun} than usual {on}." if finding.value else f"No {noun} {on}."
        there = f"There were {_bare(finding.measure, finding.value, f)}; a typical" if finding.value else "A typical"
        said = [f"{there} {day} has {typical}.", _lacked(finding.measure, finding.who, f) if finding.value else ""]
        figure = f.percent(-_percent(finding.typical - finding.value, finding.typical)) if finding.value else "none"
    said.append(
        _cost(f"The day’s {'texts' if finding.measure == 'segments' else 'calls'}", finding.cost, "than usual", page, f)
    )
    if finding.also:
        measure, value, usual = finding.also
        there = _bare(measure, value, f) if value else "none"
        said.append(f"Of {_noun(measure)} there were {there}; usually {_bare(measure, usual, f) if usual else 'none'}.")
    if finding.others:
        said.append("One other day stands out the same way." if finding.others == 1 else
                    f"{f.count(finding.others)} other days stand out the same way.")  # fmt: skip
    return Remark("Usage", bold, _sentences(said), figure, MORE if finding.more else LESS, finding.more)


@_remark.register
def _(finding: Grown, page: Page, f: Formats) -> Remark:
    who, before = finding.who, month_name(page.month - 1)
    had, usual = _counted(finding.measure, who.had, f), _bare(finding.measure, who.usual, f)
    what = "Texts" if finding.measure == "segments" else "Calls"
    said = [_cost(what, finding.cost, f"than in {before}", page, f)]
    if not who.usual:
        return Remark(
            "Usage", f"{_capital(_name(who))} had {had}, and none in {before}.", _sentences(said), "new", MORE, True
        )
    doubled = "doubled" if who.had == 2 * who.usual else "more than doubled"
    said.insert(0, f"{had}, {usual} in {before}.")
    figure = _times(who.had, who.usual, f)
    return Remark("Usage", f"{_capital(_name(who))} {doubled}.", _sentences(said), figure, MORE, True)


@_remark.register
def _(finding: Silent, page: Page, f: Formats) -> Remark:
    names = [isolated(name) for name in finding.names]
    count, month, before = len(names), month_name(page.month), month_name(page.month - 1)
    many = {frozenset({"member"}): "members", frozenset({"inbox"}): "shared inboxes"}.get(finding.kinds, "of them")
    if count > 3:
        names = [*names[:2], f"{f.count(count - 2)} more {many}".replace("more of them", "others")]
    said = f"{', '.join(names[:-1])} and {names[-1]}" if count > 1 else names[0]
    had = [_counted("segments", finding.segments, f)] if finding.segments else []
    had += [words.counted(finding.calls, "call", f)] if finding.calls else []
    figure = "none" if count == 1 else f"{f.count(count)}{NBSP}{many}"
    cost = "" if finding.cost is None else f" for {f.money(page_round(page, -finding.cost))}"
    text = f"In {before} {'it was' if count == 1 else 'they had'} {' and '.join(had)}{cost}."
    return Remark("Usage", f"{said} had no use in {month}.", text, figure, LESS)


def _made(measure: str, who: Who | None, f: Formats) -> str:
    """Whose most of it is."""
    if who is None:
        return ""
    had, usual = _bare(measure, who.had, f), _bare(measure, who.usual, f) if who.usual else "none"
    if who.kind == "unassigned":
        return f"{had} of them belong to no member and no inbox; usually {usual}."
    how = {"member": "are of", "inbox": "went through", "campaign": "are of"}[who.kind]
    return f"{had} of them {how} {_name(who)}, which usually has {usual}.".replace(
        "which", "who" if who.kind == "member" else "which"
    )


def _lacked(measure: str, who: Who | None, f: Formats) -> str:
    if who is None or who.kind == "unassigned":
        return ""
    had, usual = _bare(measure, who.had, f) if who.had else "none", _bare(measure, who.usual, f)
    return f"{_capital(_name(who))} had {had}, usually {usual}."


def _name(who: Who) -> str:
    """A name inside a sentence: ``Amara Okafor``, ``the Leasing inbox``, ``the campaign Autumn viewings``."""
    name = isolated(who.name)
    if who.kind == "inbox":
        return f"the {name}" if who.name.lower().endswith("inbox") else f"the {name} inbox"
    return f"the campaign {name}" if who.kind == "campaign" else name


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:] if text.startswith("the ") else text


def _noun(measure: str) -> str:
    return "segments" if measure == "segments" else "call minutes"


def _bare(measure: str, count: int, f: Formats) -> str:
    return f.count(count) if measure == "segments" else f.quantity(minutes(count))


def _counted(measure: str, count: int, f: Formats) -> str:
    one = count == (1 if measure == "segments" else 60)
    return f"{_bare(measure, count, f)} {_noun(measure)[:-1] if one else _noun(measure)}"


# ------------------------------------------------------------------------------------------------ cost


@_remark.register
def _(finding: Unregistered, page: Page, f: Formats) -> Remark:
    count = sum(quantity for _, quantity in finding.counts)
    what = " and ".join(words.counted(quantity, unit, f) for unit, quantity in finding.counts)
    if finding.price is not None:
        old, new = _prices(finding.registered, finding.price, f)
        said = [f"{'It cost' if count == 1 else 'They cost'} {new} each in carrier fees instead of {old}."]
    else:
        paid = page_round(page, finding.paid)
        would = f.money(paid - page_round(page, finding.cost))
        said = [f"Their carrier fees are {f.money(paid)}; registered, at the same carriers, {would}."]
    if finding.first and finding.before:
        months = "month" if finding.before == 1 else f"{NUMBERS[finding.before]} months"
        said.append(f"None were unregistered in the {months} before.")
    if finding.beside:
        said.append(f"{f.count(finding.beside)} more went to carriers that took no registered ones to compare with.")
    figure = f"{f.money(page_round(page, finding.cost))}{NBSP}extra"
    return Remark(
        "Cost", f"{what} {'was' if count == 1 else 'were'} sent unregistered.", _sentences(said), figure, MORE, True
    )


@_remark.register
def _(finding: Failed, page: Page, f: Formats) -> Remark:
    said = [f"That is {words.share(finding.count, finding.of, f)} of all that were to be sent."]
    if finding.before is not None:
        before = month_name(page.month - 1)
        said.append(
            f"In {before} it was {f.count(finding.before)}." if finding.before else f"In {before} there were none."
        )
    figure = f.money(page_round(page, finding.cost)) if finding.cost else f.count(finding.count)
    return Remark(
        "Cost", f"{words.counted(finding.count, 'text', f)} could not be sent.", _sentences(said), figure, "", True
    )


@_remark.register
def _(finding: PriceMove, page: Page, f: Formats) -> Remark:
    row = next(part for row in page.charges for part in (row.parts or (row,)) if part.key == finding.key)
    up = finding.price > 0
    was, now = _prices(finding.was, finding.now, f)
    before = month_name(page.month - 1)

    def moved(amount: Decimal) -> str:
        return f"{f.money(abs(amount))} {'more' if amount > 0 else 'less'}" if amount else "no difference"

    cause = "No price changed; where it went makes" if finding.mixed else "The price makes"
    text = (
        f"{now} a {finding.unit} on average, {was} in {before}. {cause} {moved(finding.price)}, the quantity "
        f"{moved(finding.quantity)}: {moved(finding.difference)} in all."
    )
    label = words.lower(words.in_words(page, row))
    moved_by = f.percent(_percent(finding.now - finding.was, finding.was))
    figure = f"+{moved_by}" if up else moved_by
    bold = f"The average price of {label} went {'up' if up else 'down'}."
    return Remark("Cost", bold, text, figure, MORE if up else LESS, up)


# ------------------------------------------------------------------------------------------------ credits


@_remark.register
def _(finding: CreditsShort, page: Page, f: Formats) -> Remark:
    paid, charged = page_round(page, finding.paid or ZERO), finding.charged
    recharges = words.counted(finding.recharges, "auto-recharge", f)
    if finding.simulated:
        count = "" if finding.simulated == finding.recharges else f"{f.count(finding.simulated)} of them "
        recharges += f", {count}simulated,"
    recharges += f" added {words.counted(finding.added, 'credit', f)}" + (
        f" for {f.money(paid)}, paid apart" if paid else ""
    )
    overage = f"{words.counted(finding.overage, 'credit', f)} that nothing covered"
    said = []
    if finding.ran_out:
        bold = f"The allotment ran out on {day_long(finding.ran_out)}."
        said += [f"Bought ones covered {f.count(finding.bought)} credits."] if finding.bought else []
        said += [f"{recharges}."] if finding.recharges else []
    else:
        bold = f"{recharges}." if finding.recharges else f"{overage} were used."
    if finding.overage and (finding.ran_out or finding.recharges):
        said.append(f"{overage} {f'cost {f.money(charged)}' if charged else 'are not charged'}.")
    elif finding.overage:
        said.append("They are charged as overage.")
    count, what = (finding.bought, "bought") if finding.bought else (finding.overage, "uncovered")
    figure = f.money(paid + charged) if paid + charged else f"{f.count(count)}{NBSP}{what}" if count else ""
    return Remark("Credits", bold, _sentences(said), figure, "", bool(paid + charged))


@_remark.register
def _(finding: CreditsLost, page: Page, f: Formats) -> Remark:
    on = f" of {' and '.join(day_long(day) for day in finding.days)}" if 0 < len(finding.days) < 3 else ""
    verb = "was" if finding.lost == 1 else "were"
    said = ["What is left of an allotment lapses at its reset."]
    if finding.granted:
        said.append(f"{f.count(finding.granted)} were granted in {month_name(page.month)}.")
    bold = f"{words.counted(finding.lost, 'credit', f)} {verb} lost at the reset{on}."
    return Remark("Credits", bold, _sentences(said), f.count(-finding.lost))


@_remark.register
def _(finding: CreditsPace, page: Page, f: Formats) -> Remark:
    days = f"The last {NUMBERS[finding.days]} days"
    text = f"{days} took {words.counted(finding.burned, 'credit', f)}."
    return Remark(
        "Credits",
        f"At this pace the credits last until {day_long(finding.until)}.",
        text,
        f"{f.count(finding.left)}{NBSP}left",
    )


# ------------------------------------------------------------------------------------------------ data


@_remark.register
def _(finding: Records, page: Page, f: Formats) -> Remark:
    one = finding.count == 1
    if finding.what == "unrated":
        bold = f"{words.counted(finding.count, 'record', f)} {'has' if one else 'have'} no price yet."
        text = (
            f"{'It has' if one else 'They have'} no amount in the total. The month cannot close before that is settled."
        )
        return Remark("Data", bold, text, "not in the total", "", True)
    if finding.what == "differ":
        bold = f"For {words.counted(finding.count, 'text', f)} the provider counts other segments than we do."
        return Remark("Data", bold, "The provider’s count is billed.", words.share(finding.count, finding.of, f))
    bold = f"{words.counted(finding.count, 'record', f)} {'is' if one else 'are'} no longer listed by the provider."
    return Remark("Data", bold, "What was used stays billed.", words.share(finding.count, finding.of, f))


# ------------------------------------------------------------------------------------------------ pieces


def page_round(page: Page, amount: Decimal) -> Decimal:
    return round_half_up(amount, page.currency)


def _cost(what: str, cost: Decimal | None, than: str, page: Page, f: Formats) -> str:
    amount = None if cost is None else page_round(page, cost)
    if not amount:
        return ""
    return f"{what} cost {f.money(abs(amount))} {'more' if amount > 0 else 'less'} {than}."


def _prices(was: Decimal, now: Decimal, f: Formats) -> tuple[str, str]:
    """Two unit prices with as many decimals as it takes to tell them apart."""
    digits = next((n for n in (4, 5, 6, 7) if round(was, n) != round(now, n)), 9)
    return f.price(was, digits), f.price(now, digits)


def _times(number: int, usual: int, f: Formats) -> str:
    return f"{f.quantity((Decimal(number) / usual).quantize(Decimal('0.1'), ROUND_HALF_UP))}×"


def _percent(part: int | Decimal, whole: int | Decimal) -> Decimal:
    return (Decimal(part) / Decimal(whole) * 100).quantize(Decimal("0.1"), ROUND_HALF_UP)


def _sentences(said: Iterable[str]) -> str:
    return " ".join(filter(None, said))
