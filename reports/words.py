"""The sentences of a statement. Each says what the figures show and nothing that is not in them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal

from etl.money import minor_digits
from etl.periods import Month
from etl.schemas import LINES
from reports import campaigns
from reports.campaigns import CAMPAIGN_LINES, CampaignRow
from reports.charges import Change, ChargeRow, TaxRow
from reports.corrected import ADDED, GONE, CorrectedLine, CorrectedMonth, LineChange, Why
from reports.findings import OddDay
from reports.formats import Formats, day_long, day_short, moment, month_name, month_short, month_year, weekday
from reports.ledger import CreditRow, Credits, Lot
from reports.model import ACCOUNT_LINES, Figure, Page
from reports.naming import isolated, line_name
from reports.proof import DIFFERS, EXPLAINED, MATCH, NOT_COMPARED, Check, Reason

STATES = {"open": "Estimated", "provisional": "Provisional", "final": "Final"}


@dataclass(frozen=True)
class Words:
    """A piece of a sentence; ``strong`` for the figures in it."""

    text: str
    strong: bool = False


def plain(words: list[Words]) -> str:
    return "".join(w.text for w in words)


def headline(page: Page, f: Formats) -> list[Words]:
    """The answer in one or two sentences: the amount, against which month, and what moved it."""
    name, total = month_name(page.month), page.total.now
    amount = Words(f.money(abs(total)), strong=True)
    no_usage = not page.charges or (total == 0 and page.usage.messages == 0 and page.usage.calls == 0)
    no_usage = no_usage and not page.corrections.months
    if page.state == "open":
        until = f" through {day_short(page.through)}" if page.through else ""
        said = [Words(f"{name} is estimated at "), Words(f.money(total), strong=True), Words(f" so far{until}.")]
        if page.through is None:
            said = [Words(f"No day of {name} is loaded yet.")]
        if page.total.before is not None:
            said.append(Words(f" All of {month_name(page.month - 1)} came to {f.money(page.total.before)}."))
        return said
    if no_usage:
        said = [Words(f"No usage and no charges in {name}.")]
        if page.total.before:
            said.append(Words(f" {month_name(page.month - 1)} came to {f.money(page.total.before)}."))
        return said
    would = "will be charged" if page.state == "provisional" else "were charged"
    if total < 0:
        said = [Words(f"{name} ends with a credit of "), amount, Words(" in your favor")]
    else:
        said = [Words(f"You {would} "), amount, Words(f" for {name}")]
    if not page.has_before:
        said.append(Words(", the first month of this account."))
    elif page.total.before is None:
        said.append(Words(f". {month_name(page.month - 1)} was in {page.before.currency}: amounts are not compared."))
    else:
        said += _against(page.total, month_name(page.month - 1), f)
    said += _driver(page, f)
    if page.state == "provisional":
        said.append(Words(" Figures may still change until the month is closed."))
    return said


def _against(change: Change, name: str, f: Formats) -> list[Words]:
    if change.difference == 0:
        return [Words(f", the same as {name}.")]
    more = "more" if change.difference > 0 else "less"
    percent = f" ({f.percent(change.percent)})" if change.percent is not None else ""
    said = [Words(", "), Words(f.money(abs(change.difference)), strong=True), Words(f"{percent} {more} than {name}.")]
    if change.before < 0 or change.now < 0:
        said.append(Words(f" {name} came to {f.money(change.before)}."))
    return said


def _driver(page: Page, f: Formats) -> list[Words]:
    row = page.driver
    if row is None:
        return []
    up = page.total.difference > 0
    moved, whole = abs(row.change.difference), abs(page.total.difference)
    amount, what = f.money(moved), in_words(page, row)
    if moved > whole:
        other, verb = ("less", "more") if up else ("more", "less")
        came = "came to" if min(row.change.now, row.change.before) < 0 else "cost"
        return [Words(f" {what} {came} {amount} {verb}, everything else together {f.money(moved - whole)} {other}.")]
    part = "All" if moved == whole else "Most" if moved * 2 >= whole else "The largest part"
    return [Words(f" {part} of the {'rise' if up else 'fall'} is {lower(what)}: {amount} {'more' if up else 'less'}.")]


def in_words(page: Page, row: ChargeRow | TaxRow) -> str:
    """A part with its group, in words: ``Outbound calls``, ``Texts sent``, ``Carrier fees (SMS sent, registered)``."""
    group, label = next((g for g in page.charges if row in g.parts), None), isolated(row.label)
    if group is None:
        return label
    line = group.key.line
    if line == "carrier_fee":
        return f"{group.label} ({label})"
    if line == "text":
        return f"{group.label} {label.lower()}" if label in ("Sent", "Received") else label
    return f"{label} {lower(group.label)}"


def lower(text: str) -> str:
    """Lower-case first letter, unless the word is an abbreviation."""
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


# ------------------------------------------------------------------------------------------------ changes


def change(c: Change, f: Formats, unit: str = "money") -> str:
    """``11.9%``, ``new``, ``no change``, a difference where a percentage misleads, or nothing."""
    kind = c.kind
    if kind in ("none", "new"):
        return "" if kind == "none" else "new"
    if kind == "same":
        return "no change"
    if c.percent is not None:
        return f.percent(c.percent)
    return f.money(abs(c.difference)) if unit == "money" else f.quantity(abs(c.difference))


def arrow(c: Change) -> str:
    up = "" if c.now < 0 and c.kind == "new" else "▲"
    return {"up": up, "new": up, "down": "▼"}.get(c.kind, "")


def spoken(c: Change) -> str:
    """What the arrow means, for those who do not see it."""
    return {"up": "up", "new": "up,", "down": "down"}.get(c.kind, "")


def against(page: Page) -> str:
    """Heading of the columns that compare."""
    return f"vs {month_short(page.month - 1)}" if page.compared else f"All of {month_short(page.month - 1)}"


def value(number: Decimal, unit: str, f: Formats) -> str:
    return {"money": f.money, "count": f.count, "quantity": f.quantity}[unit](number)


# ------------------------------------------------------------------------------------------------ header


def period(page: Page) -> str:
    first, last = page.month.first, page.month.days[-1]
    return f"Usage and charges, {day_long(first)} – {last.day}, {page.month.year} (UTC)"


def standing(page: Page) -> str:
    """Open, provisional or final, and since when."""
    if page.final:
        return f"Final, closed {moment(page.closed_at)}" if page.closed_at else "Final"
    if page.state == "provisional":
        return "Provisional, not closed yet"
    return f"Estimated, through {day_long(page.through)}" if page.through else "Estimated, nothing loaded yet"


def pending(page: Page, f: Formats) -> str:
    """The share of records the provider has not confirmed its own price for; empty once the month is closed."""
    return f"{share(*pending_of(page), f)} of records have no provider price yet" if pending_of(page) else ""


def pending_of(page: Page) -> tuple[int, int] | None:
    """(records without the provider's price, records); None where there are none, or where the month is closed."""
    q = page.quality
    return None if page.final or not q.unpriced or not q.records else (q.unpriced, q.records)


def share(part: int, whole: int, f: Formats) -> str:
    """``4.2%``; of what is there, never ``0.0%``."""
    percent, least = (Decimal(part) / whole * 100).quantize(Decimal("1e-9"), ROUND_HALF_UP), Decimal("0.1")
    return f"less than {f.percent(least)}" if 0 < percent < least else f.percent(percent)


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def standing_of(page: Page, f: Formats) -> str:
    """The state of a section's figures for those who do not see its tag: ``, 4.2% of records have no …``."""
    said = pending(page, f)
    return f", {said}" if said else ""


def captioned(page: Page) -> str:
    """What a table's caption adds while its figures may still change."""
    return "" if page.final else f", {STATES[page.state].lower()}"


def identity(page: Page) -> str:
    return f"Statement {page.statement_id}" + (f", revision {page.revision}" if page.revision else "")


# ------------------------------------------------------------------------------------------------ sections


def charges_lead(page: Page, f: Formats) -> str:
    texts = [row for row in page.charges if row.key.line == "text"]
    in_credits = (
        page.credits is not None and texts and not any(part.exact for row in texts for part in row.parts or [row])
    )
    return _largest_charges(page, f) + (" Texts were paid in credits." if in_credits else "")


def _largest_charges(page: Page, f: Formats) -> str:
    rows = [r for r in page.charges if r.amount]
    total = page.charged.now
    if not rows:
        return "Nothing was charged but corrections." if page.corrections.months else "Nothing was charged."
    if total <= 0 or any(r.amount < 0 for r in rows):
        return "Each line is rounded once. The lines add up to the total."
    rows.sort(key=lambda r: -r.amount)
    if len(rows) == 1:
        return (
            f"{rows[0].label} are the whole of it." if rows[0].label.endswith("s") else f"All of it is {rows[0].label}."
        )
    one, two = rows[:2]
    share = f.percent(((one.amount + two.amount) / total * 100).quantize(Decimal("0.1"), ROUND_HALF_UP))
    together = "all" if len(rows) == 2 else share
    whole = (
        "the charges before taxes"
        if page.taxes
        else "the month’s own charges"
        if page.corrections.months
        else "the total"
    )
    return f"{one.label} and {lower(two.label)} are {together} of {whole}."


def history_lead(page: Page, f: Formats) -> str:
    if len(page.history) < 2:
        return "This is the account’s first month. Earlier months will appear here as they pass."
    name, now = month_name(page.month), page.usage.segments
    others = [r.usage.segments for r in page.history if r.month != page.month]
    if page.state == "open":
        return f"{name} is not over: its bar grows until the last day is in."
    span = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}[len(page.history)]
    mean = (Decimal(sum(others)) / len(others)).quantize(Decimal(1), ROUND_HALF_UP)
    usual = f" The months before averaged {f.count(mean)}.{_evened(page, f)}"
    if not now and not any(others):
        return "No texts in these months."
    if len(others) == 1:
        return f"{name} had {f.count(now)} segments, {month_name(page.history[0].month)} {f.count(others[0])}."
    if now > max(others):
        return f"{name} has the most segments of the {span} months.{usual}"
    if now < min(others):
        return f"{name} has the fewest segments of the {span} months.{usual}"
    return f"{name} had {f.count(now)} segments.{usual}"


def _evened(page: Page, f: Formats) -> str:
    """What the month would have without its odd day, where that makes a twentieth of it."""
    odd = page.peak
    if not odd or (odd.segments - odd.typical) * 20 < page.usage.segments:
        return ""
    even = page.usage.segments - odd.segments + odd.typical
    return f" With a typical {weekday(odd.day)} on {day_long(odd.day)} it would have been {f.count(even)}."


def days_lead(page: Page, f: Formats) -> str:
    known = [row for row in page.days if row.usage]
    busy = [row for row in known if row.usage.segments]
    if not busy:
        return "No texts on any day of the month."
    top = max(busy, key=lambda r: r.usage.segments)
    said = f"The busiest day was {weekday(top.day)}, {day_long(top.day)}, with {f.count(top.usage.segments)} segments"
    if page.peak and page.peak.day == top.day:
        said += f"; a typical {weekday(top.day)} has {f.count(page.peak.typical)}"
    quiet = len(known) - len(busy)
    return f"{said}. {quiet} {'day' if quiet == 1 else 'days'} had none." if quiet else f"{said}."


def peak(page: Page, f: Formats) -> tuple[str, str]:
    """The annotation of the odd day, and a brief one for narrow screens."""
    p = page.peak
    times = f.quantity(p.times)
    return f"{day_short(p.day)}: {times} times a typical {weekday(p.day)}", f"{day_short(p.day)}: {times}×"


def people_lead(page: Page, f: Formats) -> str:
    total = page.usage.segments
    each = "Each message counts once, for the member or the shared inbox that handled it."
    if any(row.key.line not in ACCOUNT_LINES for row in page.by_month):
        each += " Charges include the numbers and recordings that are theirs"
        each += "; they are before taxes." if page.taxes else "."
    elif page.taxes:
        each += " Charges are before taxes."
    if not total:
        return each
    share = Decimal(page.inboxes.total.usage.segments) / total * 100
    said = f"Shared inboxes carried {f.percent(share.quantize(Decimal('0.1'), ROUND_HALF_UP))} of all segments"
    before = page.before
    if page.compared and before and before.usage.segments:
        was = Decimal(page.inboxes.total.change.before) / before.usage.segments * 100
        if round(was, 1) != round(share, 1):
            said += f", {'up' if share > was else 'down'} from {f.percent(was.quantize(Decimal('0.1'), ROUND_HALF_UP))}"
            said += f" in {month_name(page.month - 1)}"
    return f"{said}. {each}"


def notes(page: Page) -> list[tuple[str, str]]:
    """What a reader must know before reading any figure: (tag, sentence). Empty when the month is wholly there."""
    q, said = page.quality, []
    gaps = [d for d in q.missing if page.through and d <= page.through]
    if gaps:
        days = ", ".join(day_short(d) for d in gaps[:6]) + (f" and {len(gaps) - 6} more" if len(gaps) > 6 else "")
        said.append(
            ("Incomplete", f"The records of {days} are not complete yet. The figures will rise when they are in.")
        )
    for sentence in q.other:
        said.append(("Held", sentence))
    return said


def campaign_total(page: Page) -> CampaignRow:
    """All campaigns, with what their lines come to."""
    both = " and ".join(line_name(line) for line in CAMPAIGN_LINES if any(r.key.line == line for r in page.charges))
    return replace(
        campaigns.total(page.campaigns, both), amount=page.campaign_charges.now, change=page.campaign_charges
    )


def campaigns_lead(page: Page, f: Formats) -> str:
    """Whose the campaign calls are."""
    whole = page.campaign_charges.now
    top = page.campaigns[0]
    said = "A call belongs to the campaign whose caller-id number it was dialled from."
    count = sum(row.count for row in page.campaigns)
    if count < 2 or whole <= 0 or top.amount <= 0 or top.count != 1:
        return said
    share = f.percent((top.amount / whole * 100).quantize(Decimal("0.1"), ROUND_HALF_UP))
    return f"{isolated(top.name)} is {share} of what {f.count(count)} campaigns cost. {said}"


def explanations(page: Page) -> list[tuple[str, str]]:
    """The terms of the page, only those that appear on it."""
    lines = {row.key.line for row in page.charges}
    by_days = any(row["days"] is not None for row in page.monthly if row["line"] == "number")
    owned = "for the days of the month on which it was owned" if by_days else "that was owned when the month ended"
    known = {
        "number": ("Phone number", f"Charged by the month, for each number {owned}."),
        "recording_storage": (
            "Recording storage",
            "The minutes of each stored recording, rounded up, for every month in which it is kept.",
        ),
        "carrier_fee": (
            "Carrier fee",
            "Set by the other party’s carrier, by type and direction of the message and by whether the sending number is registered. Charged beside the text’s own price.",
        ),
        "voice_detection": ("AI voice detection", "Once for each answered call of a campaign that has it switched on."),
        "failed_message": ("Failed message", "A text that could not be sent. It has no segments and a fee of its own."),
        "credit_overage": ("Credit overage", "Credits that were used when none were left, at the price of one credit."),
        "tier_adjustment": (
            "Volume pricing",
            "Events are charged at the list price. This is the difference to what the month’s whole quantity costs in its tiers; it is negative where volume makes it cheaper.",
        ),
        "adjustment": ("Adjustment", "A correction or a refund entered by hand, with its reason."),
    }
    said = [
        ("Month and day", "Months and days are cut in UTC. A call belongs to the day it was dialled on, also when it ends after midnight."),
        ("Segment", "A text of up to 160 GSM-7 characters, or 70 characters when it holds emoji or other Unicode, is one segment. "
                    "Longer texts are split into segments of 153 or 67 characters. SMS is billed per segment, MMS per message."),
    ]  # fmt: skip
    if lines & {"call", "campaign_call", "video"}:
        said.append(
            (
                "Call minute",
                "Each call is rounded up on its own by the rate card’s increments; minutes are the rounded seconds divided by 60.",
            )
        )
    said += [known[line] for line in LINES if line in known and line in lines]
    if page.credits:
        said.append(
            (
                "Credit",
                "Texts take credits in both directions: first from the allotment, which lapses at each reset, then from what was bought, oldest first, which never lapses.",
            )
        )
    if page.taxes:
        said.append(
            ("Tax", "Each tax names the amount it is taken of. What is exempt or not taxed is not in that amount.")
        )
    if page.rounding is not None:
        said.append(
            ("Rounding difference", "Taxes are rounded one by one to be shown, and once as a whole to be charged; this is the difference.")
        )  # fmt: skip
    if page.corrections.months or page.corrections.products:
        said.append(
            ("Correction", "A closed statement stays as it is. What arrives or changes later is charged or given back in an open "
                           "month, line by line: what the closed month’s line comes to now, less what was billed for it.")
        )  # fmt: skip
    if page.revised:
        said.append(
            ("Revision", "A closed month that was opened again gets a new revision. The one before keeps its address and stays "
                         "as it was.")
        )  # fmt: skip
    if any(isinstance(finding, OddDay) for finding in page.findings):
        said.append(
            ("A typical day", "The middle one of the same weekday in these months, without the day itself. A day is worth a look "
                              "from twice or up to half of it.")
        )  # fmt: skip
    if pending_of(page):
        said.append(
            ("Provider price", "What the provider says a record costs us, often days later. Your charges come from your rate "
                               "card and do not depend on it.")
        )  # fmt: skip
    said += [
        ("Average price", "The charge divided by the quantity. Shown for comparison, never used to compute a charge."),
        ("Rounding", f"Each charge line is computed exactly and rounded once, half up, to {_minor(page)}. The total adds the rounded lines. "
                     "What a day or a person is charged is rounded to be shown; where that leaves something, it is named."),
        ("Change", "Compares with the whole month before. “New” means there was none then; less than 0.05% is no change."),
        ("Estimated", "Until a month is closed its figures are estimates. A final statement is never changed; what arrives later is a correction in a later month."),
    ]  # fmt: skip
    return said


def _minor(page: Page) -> str:
    digits = minor_digits(page.currency)
    if page.currency in ("USD", "EUR", "CAD", "AUD"):
        return "the cent"
    return f"{digits} decimals of {page.currency}" if digits else f"whole {page.currency}"


def title(page: Page) -> str:
    return f"{page.account_name}, {month_year(page.month)}".replace("\u00a0", " ")


def total_label(page: Page) -> str:
    name = month_year(page.month)
    return f"Total for {name}" if page.state != "open" else f"Estimated total for {name}"


def charged_label(page: Page) -> str:
    """What the charges come to before what is added to them; the total itself where nothing is."""
    more = page.rounding is not None or page.corrections.months
    return "Charges before taxes" if page.taxes else "Charges" if more else total_label(page)


# ------------------------------------------------------------------------------------------------ credits


def counted(number: int, one: str, f: Formats) -> str:
    return f"{f.count(number)} {one if number == 1 else one + 's'}"


def credits_lead(page: Page, f: Formats) -> str:
    """When the allotment was reset and ran out, what covered the rest, what is left."""
    c = page.credits
    said = [*filter(None, [_allotment(c)]), *([] if c.ran_out else [_covered(c, f)])]
    if c.left_allotment and c.left_bought:
        said.append(
            f"{f.count(c.left)} are left: {f.count(c.left_allotment)} of the allotment until its next reset, and "
            f"{f.count(c.left_bought)} bought, which {'does' if c.left_bought == 1 else 'do'} not expire."
        )
    elif c.left_allotment:
        verb = "is" if c.left_allotment == 1 else "are"
        said.append(f"{f.count(c.left_allotment)} of the allotment {verb} left until its next reset.")
    elif c.left_bought:
        rest = "one is left; it does" if c.left_bought == 1 else "ones are left; they do"
        said.append(f"{f.count(c.left_bought)} bought {rest} not expire.")
    else:
        said.append("None are left.")
    return " ".join(said)


def _allotment(c: Credits) -> str:
    """What became of the allotment, in the order of the days; a grant comes at the beginning of its day."""
    moments = sorted([(day, 0) for day in c.resets] + [(day, 1) for day in c.ran_out])
    if not moments:
        return ""
    what, seen = ("was reset on", "ran out on"), set()
    parts = []
    for day, kind in moments:
        parts.append(f"{what[kind].replace(' on', ' again on') if kind in seen else what[kind]} {day_long(day)}")
        seen.add(kind)
    said = f"The allotment {', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else f"The allotment {parts[0]}"
    if c.ran_out and c.used_bought:
        return f"{said}; bought credits covered the rest{' as far as there were any' if c.overage else ''}."
    return f"{said}; what followed is overage." if c.ran_out and c.overage else f"{said}."


def _covered(c: Credits, f: Formats) -> str:
    """Where the used credits came from while the allotment lasted."""
    if not c.needed:
        return "No credits were used."
    said = f"{counted(c.used, 'credit', f)} {'was' if c.used == 1 else 'were'} used"
    if c.used_allotment and not c.used_bought:
        return f"{said}, out of the allotment."
    return f"{said}, out of what was bought." if c.used_bought and not c.used_allotment else f"{said}."


def burned(page: Page, f: Formats) -> list[tuple[str, int, str]]:
    """Where the credits came from that the month's texts took: (class of the drawing, how many, in words)."""
    c = page.credits
    parts = [
        ("sent", c.used_allotment, f"{f.count(c.used_allotment)} from the allotment"),
        ("received", c.used_bought, f"{f.count(c.used_bought)} bought"),
        ("over", c.overage, f"{f.count(c.overage)} {_overage(page, f)}"),
    ]
    return [part for part in parts if part[1]]


def _overage(page: Page, f: Formats) -> str:
    """What is said of credits that nothing covered."""
    line = next((row for row in page.charges if row.key.line == "credit_overage"), None)
    return f"charged as overage, {f.money(line.amount)}" if line else "more than there were"


def began(page: Page, f: Formats, figure: Figure) -> str:
    """What a level was when the month began."""
    return f"{value(figure.change.before, figure.unit, f)} when {month_name(page.month)} began"


def marked(label: str, f: Formats) -> str:
    """A product's name with thousands marks in its count of credits: ``1000 credits`` → ``1,000 credits``."""
    return re.sub(r"(?<![\w.,])[0-9]{4,9}(?= credits?\b)", lambda found: f.count(int(found[0])), label)


def credits_brief(page: Page, f: Formats) -> str:
    """The credits in one line, for a mail."""
    c = page.credits
    said = [f"{f.count(c.used)} used"]
    if c.lost:
        said.append(f"{f.count(c.lost)} lost at reset")
    if c.overage:
        said.append(f"{f.count(c.overage)} charged as overage")
    left = f"{f.count(c.left)} left" if c.left else "none left"
    if c.left_allotment and c.left_bought:
        left += f" ({f.count(c.left_allotment)} of the allotment, {f.count(c.left_bought)} bought)"
    return ", ".join([*said, left])


def signed(number: int | None, f: Formats, row: CreditRow) -> str:
    """A count with its sign; the opening balance without, nothing where nothing of the kind moved."""
    if number is None:
        return ""
    return f"+{f.count(number)}" if number > 0 and row.entry != "open" else f.count(number)


def on_days(row: CreditRow) -> str:
    """When something came or went, where that is on one day or two; which months a correction is for."""
    if row.months:
        return ", ".join(month_year(Month.parse(month)) for month in row.months[:DAYS_NAMED])
    if row.entry in ("open", "burn") or not 0 < len(row.days) < 3:
        return ""
    return " and ".join(day_short(day) for day in row.days)


def lot_name(lot: Lot) -> str:
    if lot.count > 1:
        return f"{lot.count} lots used up" if not lot.left else f"{lot.count} more lots"
    return f"{day_short(lot.bought_at)}, {lot.bought_at.year}" if lot.bought_at else "Date unknown"


def lot_detail(lot: Lot) -> str:
    """The purchase it came from; of our own recharges the time, for their ids say nothing to anybody."""
    if not lot.simulated:
        return lot.lot
    return f"{lot.bought_at:%H:%M}\u00a0UTC" if lot.bought_at else ""


# ------------------------------------------------------------------------------------------------ what changed

NEWS = "What changed since you last read"
CLOSED = "Closed statements stay as they are. What arrived or changed later is in this one:"
_RECORDS = {
    "message": ("text", "texts"), "call": ("call", "calls"), "video": ("video call", "video calls"),
    "recording": ("recording", "recordings"), "number": ("phone number", "phone numbers"),
}  # fmt: skip
_WHYS = {
    "late": ("{many} arrived after {month} was closed", "Added after {month} was closed"),
    "changed": ("{many} changed after {month} was closed", "Changed after {month} was closed"),
    "repriced": ("{many} {are} priced by another row of the rate card now", "Priced by another row of the rate card now"),
    "gone": ("{many} no longer {belong} to {month}", "No longer part of {month}"),
    "taken back": ("An earlier correction of {many} is taken back", "An earlier correction is taken back"),
    "follows": ("Computed anew for {many}", "Computed anew from what changed"),
}  # fmt: skip
"""Reason → (in words with records, without)."""
_OTHERS = "Other lines were computed anew."


def why(reason: Why, month: Month, f: Formats) -> str:
    """``12 texts of Sep 28 to Sep 30 arrived after September was closed.``"""
    with_records, without = _WHYS[reason.reason]
    if not reason.records:
        return f"{without.format(month=month_name(month))}."
    one, several = _RECORDS[reason.kind] if reason.kind else ("record", "records")
    alone = reason.records == 1
    many = f"{f.count(reason.records)} {one if alone else several}"
    if reason.first and reason.last:
        many += f" of {day_short(reason.first)}"
        many += f" to {day_short(reason.last)}" if reason.first != reason.last else ""
    words = {"are": "is" if alone else "are", "belong": "belongs" if alone else "belong"}
    return f"{with_records.format(many=many, month=month_name(month), **words)}."


def whys(of: CorrectedMonth | CorrectedLine, month: Month, f: Formats, limit: int | None = None) -> str:
    """Every reason in a sentence; where there are more than ``limit``, how many kinds of reasons are left."""
    said = [why(reason, month, f) for reason in of.whys[:limit]]
    if len(said) > 1 and isinstance(of, CorrectedMonth):
        said = [_OTHERS if one == f"{_WHYS['follows'][1]}." else one for one in said]
    more = len(of.whys) - len(said)
    return " ".join([*said, f"And {counted(more, 'other reason', f)}."] if more else said)


def correction_of(month: Month) -> str:
    return f"Corrections of {month_year(month)}"


def corrected_name(row: CorrectedLine) -> str:
    """A corrected line, and who levies the tax."""
    return ", ".join(filter(None, (row.label, row.place)))


def more_or_less(amount: Decimal, f: Formats) -> str:
    """An amount with its sign, also where it is more."""
    return f"+{f.money(amount)}" if amount > 0 else f.money(amount)


def moved(row: CorrectedLine, f: Formats) -> str:
    """The quantity of a correction with its sign and unit; nothing where none moved."""
    if not row.quantity or row.unit is None:
        return ""
    return ("+" if row.quantity > 0 else "−") + f.amount_of(abs(row.quantity), row.unit)


def replaced(page: Page) -> str:
    r = page.revised
    same_lines = "" if r.changes or r.products else " No line differs."
    return f"Revision {r.revision} of this statement replaces revision {r.replaces}.{same_lines}"


def reopened(page: Page) -> str:
    """Why and when the month was opened again, in the words of who did it."""
    r = page.revised
    when = f"Opened again {moment(r.at)}" if r.at else "Opened again"
    return f"{when}: {isolated(r.reason)}" if r.reason else f"{when}."


def changed_name(change: LineChange) -> str:
    return ", ".join(filter(None, (change.label, change.place)))


def changed_how(change: LineChange) -> str:
    """What is said of a line that only one revision has."""
    return {ADDED: "new line", GONE: "line no longer there"}.get(change.kind, "")


def changed_sides(change: LineChange, f: Formats) -> str:
    """Both amounts of a line in brief, for narrow screens."""
    if change.before is None or change.after is None:
        return ""
    return f"{f.money(change.before)} before, {f.money(change.after)} now"


# ------------------------------------------------------------------------------------------------ reconciliation

VERDICTS = {MATCH: "Match", EXPLAINED: "Explained", DIFFERS: "Differs", NOT_COMPARED: "Not compared"}
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
DAYS_NAMED = 3


def in_letters(number: int, f: Formats) -> str:
    return _NUMBERS[number] if number < len(_NUMBERS) else f.count(number)


def proof_lead(page: Page, f: Formats) -> str:
    """How many checks ran, how they ended, and what was not compared."""
    p, cent = page.proof, _minor(page)
    match, explained, differ = (p.count(verdict) for verdict in (MATCH, EXPLAINED, DIFFERS))
    exactly = f"to the unit and {cent}" if cent == "the cent" else "exactly"
    ran = in_letters(match + explained + differ, f)
    said = f"{ran[:1].upper()}{ran[1:]} checks ran"
    if not explained + differ:
        said += f". All match {exactly}."
    else:
        parts = [f"{in_letters(match, f)} {'matches' if match == 1 else 'match'} {exactly}"] if match else []
        if explained:
            plural = "difference is" if explained == 1 else "differences are"
            parts.append(f"{in_letters(explained, f)} {plural} explained")
        if differ:
            plural = ("is", "are") if explained else ("difference is", "differences are")
            parts.append(f"{in_letters(differ, f)} {plural[differ > 1]} not explained")
        said += f": {', '.join(parts)}."
    if p.loaded and not p.compared:
        said += " The provider’s totals are not compared."
    return said


def proof_caption(page: Page) -> str:
    """Which days the provider's totals were compared on."""
    p = page.proof
    days = f", {p.compared} of {p.loaded} days" if 0 < p.compared < p.loaded else ""
    return f"Our records against the provider’s own totals{days}"


def proof_minutes(page: Page) -> str:
    """What a minute is in the comparison, where there is one; on the rest of the page it is the rate card's."""
    if not any(check.what.endswith("minutes") for check in page.proof.provider):
        return ""
    return "Minutes are counted here as the provider counts them: started ones, from the answer to the end."


def proof_figure(number: Decimal | None, check: Check, f: Formats) -> str:
    if number is None:
        return ""
    if check.unit == "texts":
        return counted(int(number), "text", f)
    return f.exact(number) if check.unit == "money" else f.count(number)


def proof_sides(check: Check, here: str, there: str, f: Formats) -> str:
    """Both figures and their difference in a line, for narrow screens."""
    ours, theirs = (proof_figure(number, check, f) for number in (check.ours, check.theirs))
    if check.difference is None:
        return ""
    if check.ours is not None and check.difference == 0:
        return f"{ours} on both sides"
    sides = f"{here} {ours}, {there.lower()} {theirs}, difference" if check.ours is not None else "Difference:"
    return f"{sides} {proof_difference(check, f)}"


def proof_difference(check: Check, f: Formats) -> str:
    """With its sign: a plus where we have more."""
    if check.difference is None:
        return ""
    return ("+" if check.difference > 0 and check.ours is not None else "") + proof_figure(check.difference, check, f)


def proof_reason(reason: Reason, f: Formats) -> str:
    """``Oct 3, Oct 5, Oct 7 and 4 more: the number of records differs.``"""
    named = [day_short(day) for day in reason.days[:DAYS_NAMED]]
    more = len(reason.days) - len(named)
    days = (
        f"{', '.join(named)} and {more} more"
        if more
        else " and ".join(filter(None, (", ".join(named[:-1]), *named[-1:])))
    )
    text = reason.text
    if reason.records:
        text = f"{counted(reason.records, 'record', f)} {'has' if reason.records == 1 else 'have'} {text}"
    if not (days and text):
        return days or text
    return f"{days}: {text}."
