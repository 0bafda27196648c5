"""A month's page against the files beside it: each printed number is recomputed from their rows.

What somebody else drew is read by its captions, heads and positions; labels are built again from the rows. The figures of
the month before are in no file line by line or person by person, so such changes are left out, and said to be.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

from reports.naming import line_name, presentable
from reports.verify.book import Book
from reports.verify.cells import quantity
from reports.verify.charged import MERGED, MONTHS, Charges, line_label, month_name, reasons
from reports.verify.markup import Reader, Table, plain
from reports.verify.package import Rows
from reports.verify.people import People
from reports.verify.sums import ZERO, by, explored, rounded, total

CAMPAIGN = ("campaign_call", "voice_detection")
WHY = {
    "delta": "compared with the month before, which is in no file line by line or person by person",
    "drawn": "written inside a drawing, shortened to fit; the table beside it was compared",
    "name": "part of a name or a date, no figure",
    "what": "a date, a place or a reason in words",
    "sub": "said again for narrow screens",
    "tag": "a remark in words",
    "text": "said in a sentence; sentences are not recomputed",
    "cell": "made from more than the files beside the page hold",
}
ENTRIES = {
    "Opened with": ("open", None), "Corrections of closed months": ("correction", None), "Granted by the plan": ("grant", None), "Packs added": ("purchase", None),
    "Auto-recharges, reported": ("recharge", False), "Auto-recharges": ("recharge", True), "Used": ("burn", None),
    "Lost at reset": ("expire", None),
}  # fmt: skip
MEASURES = {
    "Texts sent": ("count", "sms-outbound", "mms-outbound"), "Segments sent": ("quantity", "sms-outbound"),
    "Texts received": ("count", "sms-inbound", "mms-inbound"), "Segments received": ("quantity", "sms-inbound"),
    "Failed texts": ("count", "failed-message-processing-fee"), "Outbound calls": ("count", "calls-outbound"),
    "Outbound minutes": ("quantity", "calls-outbound"), "Inbound calls": ("count", "calls-inbound"),
    "Inbound minutes": ("quantity", "calls-inbound"), "Recordings": ("count", "recordings"),
    "Recorded minutes": ("quantity", "recordings"),
}  # fmt: skip


def check(folder: Path, tables: dict[str, Rows], said: dict[str, Any], book: Book) -> None:
    """Compare every number of ``index.html``; what could not be is listed with the reason."""
    with book.readable("index.html"):
        reader = Reader((folder / "index.html").read_text(encoding="utf-8"))
        page = _Page(folder, tables, said, book, reader)
        for section in (page.menu, page.opening, page.changed, page.charges, page.credits, page.months, page.days, page.people, page.campaigns,
                        page.reconciliation, page.files):  # fmt: skip
            with book.readable(f"page: {section.__name__}"):
                section()
        if reader.data is not None:
            with book.readable("page: explorer"):
                explored(reader.data, tables, "page: explorer", book)
        page.rest()


NOT_FINAL = ("Estimated", "Provisional")
"""What a menu says of a month instead of a total."""


class _Page(Charges, People):
    """Every section."""

    def menu(self) -> None:
        """The totals of the months that are in the history."""
        totals = {month_name(row["month"]): row["total"] for row in self.tables["history_monthly.csv"]}
        texts = self.reader.said("menu", "span")
        for n, name in enumerate(texts):
            if plain(name.text) in totals:
                beside = texts[n + 1 : n + 3]
                name.checked = True
                if not any(cell.text in NOT_FINAL for cell in beside[:1]):
                    amount = next((cell for cell in beside if re.search(r"\d", cell.text)), None)
                    self.cell("menu", plain(name.text), amount, totals[plain(name.text)])

    def opening(self) -> None:
        figures = self.reader.said("opening", "value") + self.reader.said("opening", "value long")
        figures.sort(key=self.reader.cells.index)
        labels = [plain(cell.text) for cell in self.reader.said("opening", "dt")]
        sums = {name: total(self.daily, name) for name in ("outbound_messages", "inbound_messages",
                "outbound_segments", "inbound_segments", "call_billed_seconds")}  # fmt: skip
        known = {
            "Total charges": self.total,
            "Segments": sums["outbound_segments"] + sums["inbound_segments"],
            "Messages": sums["outbound_messages"] + sums["inbound_messages"],
            "Call minutes": quantity(Decimal(sums["call_billed_seconds"]) / 60),
        }
        if self.tables.get("credits.csv"):
            last = max(self.tables["credits.csv"], key=lambda row: row["position"])
            known["Credits left"] = last["balance_allotment"] + last["balance_purchased"]
        self.book.same("page: figures", "how many", len(figures), 4)
        history = {row["month"]: row for row in self.tables["history_monthly.csv"]}
        now, before = history[self.said["month"]], history.get(earlier(self.said["month"]))
        places = [self.reader.cells.index(cell) for cell in figures] + [len(self.reader.cells)]
        deltas = self.reader.said("opening", "delta")
        for n, (label, cell) in enumerate(zip(labels, figures, strict=False)):
            label = label.split(" (")[0]
            self.cell("figures", label, cell, known[label])
            if before is None:
                continue
            changed = [d for d in deltas if places[n] < self.reader.cells.index(d) < places[n + 1]]
            then = _before(label, now, before)
            if label == "Credits left":
                then = total((r for r in self.tables["credits.csv"] if r["entry"] == "open"), "credits")
            elif then is not None and self.said["state"] != "open":
                then = _change(Decimal(known[label]), Decimal(then))
            for delta in changed[-1:]:
                self.cell("figures", f"{label}, beside the month before", delta, then)
        for cell in self.reader.said("opening", "b")[:1]:
            # What is estimated may be below zero; a month that ends so ends with a credit.
            said = self.total if self.said["state"] == "open" else abs(self.total)
            self.cell("figures", "the total in the first sentence", cell, said)

    def changed(self) -> None:
        """What the page says on top of corrections of closed months, and of the revision before."""
        tables = self.reader.of("changed")
        before = self.said.get("replaces")
        for cell in self.reader.said("changed", "intro")[:1] if before else ():
            self.cell("what changed", "revisions", cell, self.said["revision"], before["revision"])
        billed, products = self.lines, self.tables.get("products.csv", [])
        changes = self.tables.get("changes.csv", [])
        for table in tables:
            if table.caption.startswith("Corrections"):
                self._closed_months(table, billed, products)
                continue
            of_products = table.caption.startswith("Lines of the products")
            some = [row for row in changes if row["section"].startswith("product") == of_products]
            now, name = (total(products, "amount"), "product_total") if of_products else (self.total, "total")
            self._changes(table, some, now, Decimal(before[name]))
        expected = bool([row for row in (*billed, *products) if row.get("for_month")])
        expected += len({row["section"].startswith("product") for row in changes})
        self.book.same("page: what changed", "tables", len(tables), expected)

    def _closed_months(self, table: Table, billed: Rows, products: Rows) -> None:
        known = {}
        for rows, more in ((billed, ""), (products, ", products paid apart")):
            corrections = [row for row in rows if row.get("for_month")]
            behind = [r for r in self.tables.get("corrections.csv", ()) if r["line_position"] is not None]
            behind = [r for r in behind if (r["section"] == "product") == bool(more)]
            for month, some in by(corrections, "for_month").items():
                why = reasons(row for row in behind if row["for_month"] == month)
                known[f"{month_name(month)}{more}"] = (total(some, "amount"), why)
        self.book.same("page: what changed", "closed months", ", ".join(r.name for r in table.rows), ", ".join(known))
        for row in table.rows:
            amount, why = known.get(row.name, (ZERO, []))
            self.row("what changed", row, amount)
            self.cell("what changed", f"{row.name}, why", row.head.get("what"), *why)
            row.head["name"].checked = True

    def _changes(self, table: Table, changes: Rows, now: Decimal, before: Decimal) -> None:
        left = [(_changed_label(row), row["amount_before"], row["amount"]) for row in changes]
        for row in table.rows:
            printed = self.marks.numbers(row.cells[-1].text)
            same = [one for one in left if one[0] == row.name]
            one = next((o for o in same if printed == [(o[2] or ZERO) - (o[1] or ZERO)]), same[0] if same else None)
            if one:
                left.remove(one)
            elif MERGED.search(row.name):
                one = (row.name, sum((o[1] or ZERO for o in left), ZERO), sum((o[2] or ZERO for o in left), ZERO))
                left = []
            _, was, is_ = one or (row.name, ZERO, ZERO)
            self.row("what changed", row, was, is_, (is_ or ZERO) - (was or ZERO))
            if row.head.get("sub"):
                self.sub("what changed", row, was, is_)
        self.book.same("page: what changed", f"{table.caption}, not shown", len(left), 0)
        for row in table.foot:
            self.row("what changed", row, before, now, now - before)
            self.sub("what changed", row, before, now)

    def credits(self) -> None:
        ledger = sorted(self.tables.get("credits.csv", []), key=lambda row: row["position"])
        found = self.reader.of("credits")
        if not ledger or not found:
            self.book.same("page: credits", "tables", len(found), 0 if not ledger else "at least one")
            return
        for row in found[0].rows:
            entry, simulated = ENTRIES[row.name]
            mine = [r for r in ledger if r["entry"] == entry and simulated in (None, bool(r["simulated"]))]
            values = []
            for allotted in (True, False):
                some = [r for r in mine if (r["lot"] == "allotment") == allotted]
                values.append(int(total(some, "credits")) if some or not mine else None)
            self.row("credits", row, *values, sum(filter(None, values)))
        last = ledger[-1]
        left = (last["balance_allotment"], last["balance_purchased"])
        for row in found[0].foot:
            self.row("credits", row, *left, sum(left))
        for table in found[1:]:
            self._lots(table, ledger)
        burned = [row for row in ledger if row["entry"] == "burn"]
        parts = {
            "from the allotment": -total((row for row in burned if row["lot"] == "allotment"), "credits"),
            "bought": -total((row for row in burned if row["lot"] != "allotment"), "credits"),
            "charged": total((row for row in ledger if row["entry"] == "overage"), "credits"),
        }
        for cell in self.reader.said("credits", "span"):
            if "needed" in cell.text:
                self.cell("credits", "needed", cell, sum(parts.values()))
        for cell in self.reader.said("credits", "key"):
            part = next((name for name in parts if name in cell.text), None)
            if part and part != "charged":
                self.cell("credits", part, cell, parts[part])

    def _lots(self, table: Table, ledger: Rows) -> None:
        lots = []
        for (_, bought), rows in by((r for r in ledger if r["lot"] != "allotment" and r["entry"] != "overage"),
                                    "lot", "bought_at").items():  # fmt: skip
            opened = total((r for r in rows if r["entry"] in ("open", "correction")), "credits")
            added = total((r for r in rows if r["entry"] in ("purchase", "recharge", "grant")), "credits")
            used = -total((r for r in rows if r["entry"] in ("burn", "expire")), "credits")
            lots.append(((bought or "", rows[0]["lot"]), (opened, added, used, opened + added - used)))
        lots.sort()
        whole = [sum(lot[1][n] for lot in lots) for n in range(4)]
        shown = [(row, lot[1]) for row, lot in zip(table.rows, lots, strict=False)]
        if len(table.rows) == len(lots):
            for row, (opened, added, used, left) in shown:
                self.row("bought credits", row, opened or None, added or None, used, left)
                self.sub("bought credits", row, opened + added)
        for row in table.foot:
            self.row("bought credits", row, *whole)

    def months(self) -> None:
        months = {row["month"]: row for row in self.tables["history_monthly.csv"]}
        for table in self.reader.of("months"):
            self.book.same("page: months", "how many", len(table.rows), len(months))
            for row in table.rows:
                name, year = row.name.split()[:2]
                month = months[f"{year}-{MONTHS.index(name) + 1:02d}"]
                sent, received = month["outbound_segments"], month["inbound_segments"]
                messages = month["outbound_messages"] + month["inbound_messages"]
                minutes = quantity(Decimal(month["call_billed_seconds"]) / 60)
                self.row("months", row, messages, sent + received, sent, received, minutes, month["total"])
                self.sub("months", row, messages)
                row.head["name"].checked = True
                row.cells[-1].kind = "name"

    def days(self) -> None:
        known = {row["date"]: row for row in self.daily}
        amounts = {day: rounded(row["charge"] or ZERO, row["currency"]) for day, row in known.items()}
        columns = ("outbound_messages", "outbound_segments", "inbound_messages", "inbound_segments", "calls")
        tables = [table for table in self.reader.of("days") if table.caption.startswith(("Usage on each", "From the"))]
        all_days = sum(amounts.values(), ZERO)
        for row in tables[0].rows:
            day = known[row.day]
            seconds = day["call_billed_seconds"]
            minutes = None if seconds is None else quantity(Decimal(seconds) / 60)
            charge = None if day["charge"] is None else amounts[row.day]
            self.row("days", row, *(day[column] for column in columns), minutes, charge)
            row.head["name"].checked = True
        self.book.same("page: days", "how many", len(tables[0].rows), len(known))
        minutes = quantity(Decimal(total(self.daily, "call_billed_seconds")) / 60)
        for row in tables[0].foot:
            self.row("days", row, *(total(self.daily, column) for column in columns), minutes, all_days)
        lines = {row["line"] for row in self.monthly}
        monthly = {
            line_name(line): total(rows, "amount") for line, rows in by(self.usage, "line").items() if line in lines
        }
        monthly["All days"] = all_days
        monthly["Rounding"] = self.charged - sum(monthly.values(), ZERO)
        for table in tables[1:]:
            for row in table.rows:
                self.row("from days to the month", row, monthly.get(row.name, ZERO))
            for row in table.foot:
                self.row("from days to the month", row, self.charged)
        messages = total(self.daily, "outbound_messages") + total(self.daily, "inbound_messages")
        for cell in self.reader.said("days", "intro gap"):
            self.cell("days", "messages and calls", cell, messages, total(self.daily, "calls"))

    def campaigns(self) -> None:
        details = [row for row in self.tables["usage.parquet"] if row["line"] in CAMPAIGN]
        named = {name or "No campaign": self._campaign(rows) for name, rows in by(details, "campaign").items()}
        charged = total((row for row in self.usage if row["line"] in CAMPAIGN), "amount")
        for table in self.reader.of("campaigns"):
            left, amounts = dict(named), ZERO
            names = [row.name for row in table.rows]
            for row in table.rows:
                if row.name == "Rounding":
                    self.row("campaigns", row, None, None, None, charged - amounts)
                    continue
                if names.count(row.name) > 1 or (row.name not in left and row.name.startswith("Other campaigns (")):
                    amounts += (self.marks.numbers(row.cells[3].text) or [ZERO])[0] or ZERO
                    continue
                calls, minutes, detected, amount = left.pop(row.name, (0, ZERO, 0, ZERO))
                amounts += amount
                self.row("campaigns", row, calls, minutes, detected, amount)
                self.sub("campaigns", row, calls, minutes, detected or None)
            calls, minutes, detected, _ = self._campaign(details)
            for row in table.foot:
                self.row("campaigns", row, calls, minutes, detected, charged)
                self.sub("campaigns", row, calls, minutes, detected or None)

    def _campaign(self, rows: Rows) -> tuple:
        calls = [row for row in rows if row["line"] == CAMPAIGN[0]]
        detected = total((row for row in rows if row["line"] == CAMPAIGN[1]), "quantity")
        minutes = quantity(Decimal(total(calls, "billed_seconds")) / 60)
        return total(calls, "events"), minutes, detected, self.money(total(rows, "charge"))

    def reconciliation(self) -> None:
        exact, segments = total(self.usage, "amount_exact"), 0
        for column in ("outbound_segments", "inbound_segments"):
            segments += total(self.daily, column)
        fees = total((row for row in self.usage if row["line"] == "carrier_fee"), "amount")
        ledger = sorted(self.tables.get("credits.csv", []), key=lambda row: row["position"])
        sides = {
            r"Charge lines.* = total": self.total, r".* = charge lines": exact, r"Segments of .* = month": segments,
            r"Carrier fees by carrier = .*": fees, r"Revision \d+ \+ what changed = .*": self.total,
            r"Corrections, record by record = .*": total(self.tables.get("corrections.csv", ()), "amount_exact"),
            r"Products, .*": total(self.tables.get("products.csv", []), "amount"),
            r"Credits opened .*": ledger[-1]["balance_allotment"] + ledger[-1]["balance_purchased"] if ledger else 0,
        }  # fmt: skip
        texts = self.tables["usage.parquet"]
        told = [row for row in self.tables.get("reconciliation.csv", []) if row["verdict"] != "no totals"]
        for table in self.reader.of("reconciliation"):
            for row in table.rows:
                value = next((v for pattern, v in sides.items() if re.fullmatch(pattern, row.name)), None)
                if value is not None:
                    self.row("reconciliation", row, value, value, 0)
                    self.sub("reconciliation", row, value)
                elif row.name.startswith("Credits used"):
                    used, taken = self._credits_used(ledger)
                    self.row("reconciliation", row, used, taken, used - taken)
                elif row.name.startswith("Our segments = "):
                    differ = total((r for r in texts if r["line"] == "text"), "segments_differ")
                    self.row("reconciliation", row, None, None, differ)
                    self.sub("reconciliation", row, differ)
                elif row.name in MEASURES:
                    column, *categories = MEASURES[row.name]
                    mine = [r for r in told if r["category"] in categories]
                    if column == "quantity":
                        mine = [r for r in mine if r["usage_unit"] != "messages"]
                    ours, theirs = total(mine, column), total(mine, f"ledger_{column}")
                    self.row("reconciliation", row, ours, theirs, ours - theirs)
                    same = ours == theirs
                    self.sub("reconciliation", row, *((ours,) if same else (ours, theirs, ours - theirs)))

    def _credits_used(self, ledger: Rows) -> tuple:
        """Since the ledger's first whole day: (used and not covered, credits of all texts)."""
        first = ledger[0]
        since = first["date"] if first["entry"] in ("open", "grant") else f"{first['date']}~"
        moved = [row for row in ledger if row["date"] >= since and not row.get("for_month")]
        used = total((row for row in moved if row["entry"] == "overage"), "credits")
        used -= total((row for row in moved if row["entry"] == "burn"), "credits")
        days = [row for row in self.daily if row["date"] >= since]
        return used, total(days, "outbound_credits") + total(days, "inbound_credits")

    def files(self) -> None:
        for table in self.reader.of("files"):
            for row in table.rows:
                name = row.name
                data = (self.folder / name).read_bytes() if (self.folder / name).is_file() else b""
                digest, size = hashlib.sha256(data).hexdigest(), len(data)
                self.book.same("page: files", f"{name} SHA-256", row.title, digest)
                shown = row.cells[2]
                shown.checked = row.cells[1].checked = True
                self.book.same("page: files", f"{name} SHA-256 in short", plain(shown.text).rstrip("…"), digest[:14])
                said = f"{size} B" if size < 1000 else f"{Decimal(size) / 1000:.1f} kB"
                self.book.same("page: files", f"{name} size", plain(row.cells[1].text), said)
                rows = len(self.tables[name]) if name in self.tables else None
                self.cell("files", f"{name} rows", row.cells[0], rows)

    def rest(self) -> None:
        """What has a digit and was compared with nothing, by section and kind."""
        left: dict[tuple[str, str], int] = defaultdict(int)
        for cell in self.reader.cells:
            if not cell.checked and re.search(r"\d", cell.text):
                left[cell.section, cell.kind] += 1
        for (section, kind), count in left.items():
            self.book.leave_out(f"page: {section}, {kind}", WHY[kind], count)


# ------------------------------------------------------------------------------------------------ rows


def _changed_label(row: dict[str, Any]) -> str:
    name = line_label(row)
    if row["for_month"]:
        name = f"Correction of {month_name(row['for_month'])}, {name}"
    return plain(f"{name}, {presentable(row['carrier'])}" if row["line"] == "carrier_fee" and row["carrier"] else name)


def earlier(month: str) -> str:
    year, number = map(int, month.split("-"))
    return f"{year}-{number - 1:02d}" if number > 1 else f"{year - 1}-12"


def _before(label: str, now: dict[str, Any], before: dict[str, Any]) -> Decimal | None:
    """A figure of the month before; amounts only of the same currency."""
    if label == "Total charges":
        return before["total"] if before["currency"] == now["currency"] else None
    if label == "Call minutes":
        return quantity(Decimal(before["call_billed_seconds"]) / 60)
    return before[f"outbound_{label.lower()}"] + before[f"inbound_{label.lower()}"] if label != "Credits left" else None


def _change(now: Decimal, before: Decimal) -> Decimal | None:
    """The number a change is printed with: percent, or a difference where a percentage misleads; None for words."""
    difference = abs(now - before)
    if before == 0 or difference * 2000 < abs(before):
        return None
    if before < 0 or now < 0:
        return difference
    percent = (difference / before * 100).quantize(Decimal("0.1"), ROUND_HALF_UP)
    return percent if percent < 1000 else percent.quantize(Decimal(1), ROUND_HALF_UP)
