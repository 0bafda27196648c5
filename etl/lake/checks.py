"""The audit of a lake: every log entry, every file it names, and the view, compared with one another."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from etl.lake.model import Partition, Version, expired, hist_key, log_key, sha256
from etl.lake.store import Corrupt, NotFound, Store

_ENTRY = re.compile(r"\A_log/(?P<path>.+)/(?P<seq>\d{8})\.json\Z")
VIEW_FILE = re.compile(r"\Apart(-\d{5})?\.parquet\Z")


@dataclass(frozen=True)
class Finding:
    """Something the audit found. `error`: data or history is damaged. `warn`: the next heal mends it. `note`: harmless."""

    level: str
    kind: str
    key: str
    detail: str

    def __str__(self) -> str:
        return f"{self.level}: {self.kind}: {self.key}: {self.detail}"


class Inspected(NamedTuple):
    """One partition: its readable versions, oldest first, what is wrong with it, and the keys its history holds."""

    versions: list[Version]
    findings: list[Finding]
    stored: set[str]


def entries(keys: Iterable[str]) -> dict[Partition, list[int]]:
    """The sequence numbers of each partition among listed log keys, ascending. Foreign keys are skipped."""
    found: dict[Partition, list[int]] = defaultdict(list)
    known: dict[str, Partition | None] = {}
    for key in keys:
        match = _ENTRY.match(key)
        if match is None:
            continue
        path = match["path"]
        if path not in known:
            try:
                known[path] = Partition.parse(path)
            except ValueError:
                known[path] = None
        partition = known[path]
        if partition is not None:
            found[partition].append(int(match["seq"]))
    return {partition: sorted(found[partition]) for partition in sorted(found)}


def audit(store: Store, dataset: str | None = None, *, deep: bool = True) -> list[Finding]:
    """Compare logs, history and view. With `deep` every byte of history and view is read and hashed.

    Reads only. Made for a lake at rest: a commit under way shows up as a lagging view or an orphan.
    """
    under = f"{dataset}/" if dataset else ""
    logged = list(store.list(f"_log/{under}"))
    stored = set(store.list(f"_hist/{under}"))
    findings: list[Finding] = []
    logs = entries(iter(logged))
    known = {log_key(partition, seq) for partition, seqs in logs.items() for seq in seqs}
    findings += [
        Finding("warn", "foreign", key, "not a log entry, ignored by every reader")
        for key in logged
        if key not in known
    ]
    named: set[str] = set()
    for partition, seqs in logs.items():
        versions = _log(store, partition, seqs, findings)
        named |= {hist_key(partition, file.sha256) for version in versions for file in version.files}
        _files(store, versions, stored, deep, findings)
        if versions and versions[-1].seq == seqs[-1]:
            _view(store, versions[-1], deep, findings)
    for key in sorted(stored - named):
        if key.endswith(".parquet"):
            findings.append(Finding("note", "orphan", key, "no log entry names it: a commit that never happened"))
    for name in sorted({partition.dataset for partition in logs} | ({dataset} if dataset else set())):
        for key in store.list(f"{name}/"):
            findings += _stray(key, logs)
    return findings


def inspect(store: Store, partition: Partition, *, deep: bool = True) -> tuple[list[Version], list[Finding]]:
    """One partition's readable versions, oldest first, and what `audit` would find about its log, history and view."""
    findings: list[Finding] = []
    seqs = entries(store.list(f"_log/{partition.path}/")).get(partition, [])
    stored = set(store.list(f"_hist/{partition.path}/"))
    versions = _log(store, partition, seqs, findings)
    _files(store, versions, stored, deep, findings)
    if versions and versions[-1].seq == seqs[-1]:
        _view(store, versions[-1], deep, findings)
    return versions, findings


def listed(
    store: Store, partition: Partition, logged: Sequence[str], stored: set[str], shown: Sequence[str],
    entry: Callable[[str], bytes], *, deep: bool,
) -> Inspected:  # fmt: skip
    """`inspect` of a partition whose keys in log, history and view were listed before. ``entry``: reads a log entry."""
    findings: list[Finding] = []
    seqs = entries(logged).get(partition, [])
    versions = _log(store, partition, seqs, findings, entry)
    _files(store, versions, stored, deep, findings)
    if versions and versions[-1].seq == seqs[-1]:
        _view(store, versions[-1], deep, findings, shown)
    return Inspected(versions, findings, stored)


def covering(partitions: Sequence[Partition]) -> str:
    """The longest prefix under which the keys of all of them lie."""
    return f"{partitions[0].path}/" if len(partitions) == 1 else os.path.commonprefix([p.path for p in partitions])


def by_folder(keys: Iterable[str]) -> dict[str, list[str]]:
    """The keys of each folder, in their order."""
    found: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        found[key.rpartition("/")[0]].append(key)
    return found


def _log(
    store: Store, partition: Partition, seqs: list[int], findings: list[Finding], entry: Callable[[str], bytes] | None = None
) -> list[Version]:  # fmt: skip
    versions: list[Version] = []
    before: bytes | None = None
    for expected, seq in enumerate(seqs, start=1):
        key = log_key(partition, seq)
        if seq != expected and seq - 1 not in seqs:
            findings.append(Finding("error", "gap", key, f"entry {seq - 1} is missing"))
            before = None
        data = (entry or store.get)(key)
        try:
            version = Version.from_json(data, partition, seq)
        except Corrupt as error:
            findings.append(Finding("error", "log", key, str(error)))
            before = data
            continue
        parent = None if before is None else sha256(before)
        if version.parent != parent and (before is not None or seq == 1):
            findings.append(
                Finding("error", "chain", key, f"its parent is {version.parent}, the entry before is {parent}")
            )
        versions.append(version)
        before = data
    return versions


def _files(store: Store, versions: list[Version], stored: set[str], deep: bool, findings: list[Finding]) -> None:
    """Each file once. One that only versions before the newest expired one name may be gone: retention erased it."""
    since = (expired(versions) or versions[0]).seq if versions else 0
    due = {file.sha256 for version in versions if version.seq >= since for file in version.files}
    for sha in dict.fromkeys(file.sha256 for version in versions for file in version.files):
        key = hist_key(versions[0].partition, sha)
        if key in stored or sha in due:
            _content(store, key, sha, key in stored, deep, findings)


def _content(store: Store, key: str, sha: str, present: bool, deep: bool, findings: list[Finding]) -> None:
    if not present:
        findings.append(Finding("error", "missing", key, "the log names it, the store has it not"))
    elif deep:
        found = sha256(store.get(key))
        if found != sha:
            findings.append(Finding("error", "corrupt", key, f"its bytes have sha256 {found}"))


def _view(
    store: Store, head: Version, deep: bool, findings: list[Finding], shown: Iterable[str] | None = None
) -> None:  # fmt: skip
    for key, file in zip(head.view_keys, head.files, strict=True):
        try:
            found = sha256(store.get(key)) if deep else store.digest(key)
        except NotFound:
            findings.append(Finding("warn", "view", key, f"missing; version {head.seq} is the head"))
            continue
        if found != file.sha256:
            findings.append(Finding("warn", "view", key, f"is not version {head.seq}, the head"))
    for key in store.list(head.partition.path + "/") if shown is None else shown:
        name = key[len(head.partition.path) + 1 :]
        if key not in head.view_keys and VIEW_FILE.match(name):
            findings.append(Finding("warn", "view", key, f"does not belong to version {head.seq}, the head"))


def _stray(key: str, logs: dict[Partition, list[int]]) -> list[Finding]:
    folder, _, name = key.rpartition("/")
    try:
        partition = Partition.parse(folder)
    except ValueError:
        partition = None
    if partition in logs and VIEW_FILE.match(name):
        return []  # `_view` has judged it
    return [Finding("warn", "stray", key, "in the view, but no log knows of it")]
