"""The members, the shared inboxes and the account against ``usage_by_owner.csv`` and ``monthly_charges.csv``."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from reports.naming import line_name
from reports.verify.cells import Printed, nearest
from reports.verify.markup import Row, Table
from reports.verify.package import Rows
from reports.verify.sums import ZERO, by, total

ACCOUNT = ("credit_overage", "tier_adjustment", "adjustment")


class People(Printed):
    """The section of the people."""

    def people(self) -> None:
        owned = by(self.tables["usage_by_owner.csv"], "owner_kind", "owner_id", "owner_name")
        held = by((row for row in self.monthly if row["line"] not in ACCOUNT),
                  "owner_kind", "owner_id", "owner_name")  # fmt: skip
        sums: dict[str, dict[str, list]] = defaultdict(lambda: defaultdict(list))
        for key in dict.fromkeys([*owned, *held]):
            sums[key[0]][key[2]].append(self._person(owned.get(key, []), held.get(key, [])))
        wholes = {kind: _added([one for some in named.values() for one in some]) for kind, named in sums.items()}
        for table in self.reader.of("people"):
            kind = {"Members": "member", "Shared inboxes": "inbox"}.get(table.caption.split(",")[0])
            if kind:
                self._owners(table, {name: list(some) for name, some in sums[kind].items()}, wholes.get(kind, NOBODY))
            else:
                self._account(table, wholes)

    def _person(self, used: Rows, held: Rows) -> tuple:
        """(messages, sent, received, segments, amount)"""
        sent, received = (int(total(used, f"{way}_segments")) for way in ("outbound", "inbound"))
        messages = int(total(used, "outbound_messages") + total(used, "inbound_messages"))
        return messages, sent, received, sent + received, self.money(total(used, "charge") + total(held, "charge"))

    def _owners(self, table: Table, left: dict[str, list[tuple]], whole: tuple) -> None:
        shown = [NOBODY]
        for row in table.rows:
            if row.name not in left and re.match(r"Other (members|shared inboxes) \(", row.name):
                rest = [one for some in left.values() for one in some]
                one, left = _added(rest), {}
            else:
                one = nearest(left.get(row.name), row.cells[1:], self.marks, 3) if left.get(row.name) else NOBODY
            shown.append(one)
            self._owner(row, one)
        self.book.same("page: people", f"{table.caption}: all in rows", _added(shown)[:4], whole[:4])
        for row in table.foot:
            self._owner(row, whole)

    def _owner(self, row: Row, one: tuple) -> None:
        self.row("people", row, None, *one[:4], one[4])
        self.sub("people", row, one[1], one[2])

    def _account(self, table: Table, wholes: dict[str, tuple]) -> None:
        lines = {
            line_name(line): total(rows, "amount") for line, rows in by(self.usage, "line").items() if line in ACCOUNT
        }
        known = {"All members": "member", "All shared inboxes": "inbox", "Unassigned": "unassigned"}
        rest = self.charged - sum(lines.values(), ZERO) - sum((one[4] for one in wholes.values()), ZERO)
        for row in table.rows:
            if row.name in known:
                self._owner(row, wholes.get(known[row.name], NOBODY))
            else:
                self.row(
                    "people",
                    row,
                    *[None] * (len(row.cells) - 1),
                    lines.get(row.name, rest if row.name == "Rounding" else ZERO),
                )
        for row in table.foot:
            self.row("people", row, None, *_added(wholes.values())[:4], self.charged)


NOBODY = (0, 0, 0, 0, ZERO)


def _added(rows: Iterable[tuple]) -> tuple:
    return tuple(sum(column) for column in zip(NOBODY, *rows, strict=True))
