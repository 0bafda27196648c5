"""Faults on demand, counted and so deterministic: what a provider, a proxy or a network does on a bad night.

A rule is `{"kind": ..., <which requests>, <how often>, <what exactly>}`:

which requests  path (part of the URL path), account (SID or short id; of video: the user), page (number), query (part)
how often       after (let so many matching requests pass first), times (then act so often; 0 = for ever; default 1)

kind            what happens                                                       further fields
throttle        429 / 20429                                                        retry_after (seconds; none by default)
error           a server error                                                     status (default 500)
hang            the answer comes late                                              seconds (default 30)
unauthorized    401 / 20003 although the credentials are right
duplicate-page  the page is served again as the next one, under another token      page (default 0)
loop-page       next_page_uri (next_page_url) of the page points to the page itself
foreign-host    next_page_uri (next_page_url) names another host                   host (default attacker.example)
truncate        the connection closes after half of the announced Content-Length
cut-json        half of the JSON with a Content-Length that fits
html            200 with an HTML page
foreign-row     the page holds a record of another account
vanish          a row is gone from lists and as single resource (for ever)         rows, see below; until (ISO time, clock)
change          a row has other values and date_updated = now (for ever)           rows, see below; set (fields)

Rows of vanish and change: sid, or account + day (+ resource: messages, calls, recordings, rooms, participants;
row: 0 = newest; count). Participants of a day are those of the rooms created on it.
On the command line: `--fault throttle,path=Messages,times=2,retry_after=1` or `--fault change,sid=SM..,set.price=-0.02`.
"""

import threading
from dataclasses import dataclass, field
from datetime import date, datetime

from sandbox.company import find

REQUEST_KINDS = ("throttle", "error", "hang", "unauthorized")
PAGE_KINDS = ("duplicate-page", "loop-page", "foreign-host", "truncate", "cut-json", "html", "foreign-row")
ROW_KINDS = ("vanish", "change")
KINDS = (*REQUEST_KINDS, *PAGE_KINDS, *ROW_KINDS)
_COUNTS = ("after", "times", "page", "status", "row", "count")
_KNOWN = (
    *("kind", "path", "account", "query", *_COUNTS, "retry_after", "seconds"),
    *("host", "sid", "sids", "day", "resource", "until", "set"),
)


class FaultError(ValueError):
    """A fault rule that cannot be understood."""


@dataclass
class Fault:
    kind: str
    path: str = ""
    account: str = ""
    """SID."""
    query: str = ""
    page: int | None = None
    after: int = 0
    times: int = 1
    status: int = 500
    retry_after: str | None = None
    seconds: float = 30.0
    host: str = "attacker.example"
    sids: tuple[str, ...] = ()
    until: int | None = None
    """Seconds since 1970; a vanished row is back from then on."""
    fields: dict = field(default_factory=dict)
    seen: int = 0
    acted: int = 0

    def describes(self, path: str, account: str, query: str, page: int) -> bool:
        return (
            self.path in path
            and self.query in query
            and self.account in ("", account)
            and (self.page is None or self.page == page)
        )

    def public(self) -> dict:
        return {"kind": self.kind, "seen": self.seen, "acted": self.acted, "sids": list(self.sids), "times": self.times}


def parse_spec(spec: str) -> dict:
    """`kind,key=value,set.field=value` as a rule."""
    kind, *pairs = spec.split(",")
    rule: dict = {"kind": kind.strip()}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise FaultError(f"expected key=value, got {pair!r}")
        if key.startswith("set."):
            rule.setdefault("set", {})[key[4:]] = value
        else:
            rule[key.strip()] = value
    return rule


def build(rule: dict, rows_of_day) -> Fault:
    """A fault from a rule; `rows_of_day(resource, account, day)` gives the SIDs of a day, newest first."""
    if not isinstance(rule, dict) or rule.get("kind") not in KINDS:
        raise FaultError(f"kind must be one of {', '.join(KINDS)}")
    unknown = set(rule) - set(_KNOWN)
    if unknown:
        raise FaultError(f"unknown fields: {', '.join(sorted(unknown))}")
    try:
        numbers = {key: int(rule[key]) for key in _COUNTS if rule.get(key) is not None}
        account = find(rule["account"]) if rule.get("account") else None
        row, count = numbers.pop("row", 0), numbers.pop("count", 1)
        sids = tuple(rule.get("sids") or ())
        if rule.get("sid"):
            sids += (rule["sid"],)
        if rule.get("day"):
            if account is None:
                raise FaultError("rows of a day need an account")
            listed = rows_of_day(rule.get("resource", "messages"), account, date.fromisoformat(rule["day"]))
            sids += tuple(listed[row : row + count])
        until = int(datetime.fromisoformat(rule["until"]).timestamp()) if rule.get("until") else None
        seconds = float(rule.get("seconds", 30))
    except (KeyError, TypeError, ValueError) as error:
        raise FaultError(str(error)) from error
    if rule["kind"] in ROW_KINDS and not sids:
        raise FaultError("which rows? give sid, or account and day")
    if rule["kind"] == "duplicate-page":
        numbers.setdefault("page", 0)
    return Fault(
        kind=rule["kind"],
        path=rule.get("path", ""),
        account=account.sid if account else "",
        query=rule.get("query", ""),
        retry_after=str(rule["retry_after"]) if rule.get("retry_after") is not None else None,
        seconds=seconds,
        host=rule.get("host", "attacker.example"),
        sids=sids,
        until=until,
        fields=dict(rule.get("set") or {}),
        **numbers,
    )


class FaultBook:
    """The faults in force."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def public(self) -> list[dict]:
        with self._lock:
            return [fault.public() for fault in self._faults]

    def take(self, kinds: tuple[str, ...], path: str, account: str, query: str, page: int) -> list[Fault]:
        """The faults of these kinds that act on a request now; each match is counted."""
        acting = []
        with self._lock:
            for fault in self._faults:
                if fault.kind not in kinds or not fault.describes(path, account, query, page):
                    continue
                fault.seen += 1
                if fault.seen > fault.after and (fault.times == 0 or fault.acted < fault.times):
                    fault.acted += 1
                    acting.append(fault)
        return acting

    def overlay(self) -> list[Fault]:
        """Faults that change what the rows are."""
        with self._lock:
            return [fault for fault in self._faults if fault.kind in ROW_KINDS]
