"""The invariants of what lies in the store: logs, kept pages, closed months, the record of mails."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Collection, Iterable, Iterator
from decimal import Decimal

import polars as pl

from etl.audit.days import Whom, Wrong
from etl.audit.invariants import Result, broken
from etl.audit.months import totals
from etl.lake import Finding, Lake, Partition, StoreError, Version
from etl.lake.model import hist_key, sha256
from etl.periods import Month

PACK = ".gz"
RESTORE = "restore the object from a backup or a bucket version, then run python -m etl audit again"
_VIEW = {"view", "stray"}
_HASH = re.compile(r"\A[0-9a-f]{64}\Z")
_MAIL = re.compile(
    r"\Aoutbox/month=[^/]+/account=(?P<account>[^/]+)/rev=(?P<revision>\d+)/[0-9a-f]{32}(?P<sent>\.sent)?\Z"
)
_CLOSE = re.compile(r"\Aclose/month=[^/]+/account=(?P<account>[^/]+)/rev-(?P<revision>\d{4})\Z")


def log_whole(findings: Iterable[Finding], where: str) -> Iterator[Result]:
    """Entries without a gap, each naming the one before; every file there; read deep, with the bytes it was named by."""
    for finding in findings:
        if finding.kind not in _VIEW:
            yield broken("log whole", where, f"has {finding.kind} at {finding.key}: {finding.detail}", RESTORE)


def view_is_head(findings: Iterable[Finding], where: str, again: str) -> Iterator[Result]:
    """What outsiders read is the newest version."""
    for finding in findings:
        if finding.kind in _VIEW:
            yield broken("view is head", where, f"shows outsiders {finding.key}: {finding.detail}", again)


def configured(versions: Iterable[Version], where: str, again: str) -> Iterator[Result]:
    """Each version names the settings and the code it was computed with."""
    silent = [v.seq for v in versions if not (_HASH.match(v.config) and _HASH.match(v.code))]
    if silent:
        numbers = ", ".join(map(str, silent))
        yield broken("configured", where, f"has version(s) {numbers} that name no settings or code", again)


def raw_kept(
    lake: Lake,
    head: Version,
    raw: pl.DataFrame,
    where: str,
    whom: Whom,
    stored: Collection[str],
    *,
    deep: bool,
) -> Iterator[Result]:
    """Every page lies in a stored pack; read deep, with the bytes that were received. ``stored``: the keys of its
    history."""
    for (sha,), pages in sorted(raw.partition_by("object_sha256", as_dict=True).items()):
        key = f"_hist/{head.partition.path}/{sha}{PACK}"
        if key not in stored:
            finding = f"has lost {key} with {pages.height} page(s)"
            yield broken("raw kept", where, finding, RESTORE, _concerned(pages, whom))
        elif deep:
            damaged = _damaged(lake, head.partition, sha, pages)
            if damaged:
                finding = f"has {damaged} page(s) in {key} that are not as received"
                yield broken("raw kept", where, finding, RESTORE, _concerned(pages, whom))


def _concerned(pages: pl.DataFrame, whom: Whom) -> tuple[str, ...]:
    """Everybody some page is about; () when one may be about anybody."""
    of_each = [tuple(whom(sid)) for sid in pages["provider_account"].unique()]
    return () if not all(of_each) else tuple(account for accounts in of_each for account in accounts)


def _damaged(lake: Lake, partition: Partition, sha: str, pages: pl.DataFrame) -> int:
    try:
        data = lake.get_blob("raw", sha, PACK, p=partition)
    except StoreError:
        return pages.height
    return sum(
        _page_hash(data[offset : offset + length]) != said
        for said, offset, length in pages.select("sha256", "object_offset", "object_bytes").iter_rows()
    )


def _page_hash(member: bytes) -> str | None:
    try:
        return sha256(gzip.decompress(member))
    except (OSError, EOFError, zlib.error):
        return None


def read_from(orphans: Wrong, where: str, whom: Whom) -> Iterator[Result]:
    """Every record still listed was read from a kept page."""
    if orphans.count:
        finding = f"has {orphans.count} record(s) read from no page that is kept"
        yield broken("raw kept", where, finding, "fetch the day again with python -m etl run", orphans.whose(whom))


def closed_stays_closed(lake: Lake, month: Month, *, deep: bool) -> Iterator[Result]:
    """What each closing pinned is there as it was, and the total it says is that of its lines."""
    seen: dict[tuple[str, int, str], str] = {}
    revisions: dict[str, list[int]] = {}
    for key in lake.list_pins(f"close/month={month}/"):
        named = _CLOSE.match(key)
        where = f"month={month}/account={named['account']}" if named else key
        if named is None:
            yield broken("closed stays closed", where, "is no closing", "remove it: nothing of ours has that name")
            continue
        revisions.setdefault(named["account"], []).append(int(named["revision"]))
        try:
            document = lake.get_pin(key)
            faults = [*_pinned(lake, document, seen, deep), *_as_closed(lake, document, month, named["account"])]
        except (StoreError, ValueError, KeyError, TypeError) as error:
            faults = [f"cannot be read as it was closed: {error}"]
        for fault in faults:
            yield broken("closed stays closed", where, fault, RESTORE)
    for account, numbers in revisions.items():
        if sorted(numbers) != list(range(1, len(numbers) + 1)):
            finding = f"has the revisions {', '.join(map(str, sorted(numbers)))}"
            yield broken("closed stays closed", f"month={month}/account={account}", finding, RESTORE)


def _pinned(lake: Lake, document: dict, seen: dict, deep: bool) -> Iterator[str]:
    """What is wrong with the versions a closing names; each is looked at once for all accounts."""
    for value in document.values():
        for reference in value if isinstance(value, list) else [value]:
            if not (isinstance(reference, dict) and "partition" in reference):
                continue
            key = (reference["partition"], reference["seq"], reference["sha256"])
            if key not in seen:
                seen[key] = _fault(lake, *key, deep)
            if seen[key]:
                yield seen[key]


def _fault(lake: Lake, path: str, seq: int, sha: str, deep: bool) -> str:
    try:
        version = lake.version(Partition.parse(path), seq)
        if version.sha256 != sha:
            return f"pinned {path} version {seq}, which is now another"
        if deep:
            lake.read(version, [])
        lost = [f for f in version.files if not lake.store.exists(hist_key(version.partition, f.sha256))]
    except (StoreError, ValueError) as error:
        return f"pinned {path} version {seq}, which cannot be read: {error}"
    return f"pinned {path} version {seq}, whose file is gone" if lost else ""


def _as_closed(lake: Lake, document: dict, month: Month, account: str) -> Iterator[str]:
    if (document["month"], document["account_id"]) != (str(month), account):
        yield f"is closed by a document of {document['account_id']} for {document['month']}"
    reference = document["statement"]
    version = lake.version(Partition.parse(reference["partition"]), reference["seq"])
    lines = lake.read(version, ["account_id", "section", "currency", "amount"]).filter(pl.col("account_id") == account)
    total = lines.filter(pl.col("section") == "total")["amount"].sum()
    if total != Decimal(document["total"]):
        yield f"was closed with a total of {document['total']}, its pinned lines say {total}"
    yield from (f"was closed with lines that do not add up: it {r.finding}" for r in totals(lines, ""))


def one_mail_each(lake: Lake, month: Month) -> Iterator[Result]:
    """What was sent was intended first, and is noted under its recipient's one name."""
    keys = set(lake.list_pins(f"outbox/month={month}/"))
    look = "ask the mail server what it took before anything is mailed again"
    for key in sorted(keys):
        named = _MAIL.match(key)
        if named is None:
            yield broken("one mail each", key, "is no note of a mail", look)
            continue
        where = f"month={month}/account={named['account']}"
        if named["sent"] and key.removesuffix(".sent") not in keys:
            yield broken("one mail each", where, f"has {key}, a mail sent that was never intended", look)
        document = lake.get_pin(key)
        due = (str(month), named["account"], int(named["revision"]))
        if (document.get("month"), document.get("account_id"), document.get("revision")) != due:
            yield broken("one mail each", where, f"has {key}, the note of another mail", look)
