"""The verbs by which texts and other people's numbers go: by age every night, and of one person when asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from etl.jobs.base import STALE_TRIES, WEIGHED, Base, Done, weighed
from etl.jobs.shares import Work
from etl.periods import Month
from etl.settings import ConfigurationError

if TYPE_CHECKING:
    from etl.lake import Partition, Version
    from etl.retention import Rewritten

AGED = ("bodies", "numbers")
"""What goes with age, in this order; whoever has lost the second has lost the first."""
FORGOTTEN = "forgotten"
"""What a version says that was rewritten for one person only: the rest has its age still before it."""
SHORTEST_KEY = 32
MARKS = "retention"
BEGUN = f"{MARKS}/begun"
"""Days of which somebody was forgotten, noted before anything of them changes."""


class RetentionVerbs(Base):
    """A day is rewritten through the same commits as ever; what only older versions hold is erased after that. No figure
    changes. Each verb can be killed and run again."""

    def expirable(self, window: Iterable[date] | None = None) -> list[tuple[date, str]]:
        """(UTC day, source) of all that the lake holds longer than it may, oldest first. Three listings, whatever there is.
        Days of ``window`` are named whatever was noted of them: what a restored backup brought back goes again."""
        asked = None if window is None else {*window}
        raw, events = self._newest()
        aged = [
            (what, *at)
            for at in sorted({*raw, *events})
            if (asked is None or at[0] in asked) and (what := self._expires(at[0]))
        ]
        marks = set(self.lake.list_pins(f"{MARKS}/")) if aged and asked is None else set()
        return [
            (day, source)
            for what, day, source in aged
            if _mark(what, day, source, raw.get((day, source), 0), events.get((day, source), 0)) not in marks
        ]

    def expire(self, day: date, source: str) -> list[Done]:
        """Erase what of a UTC day is older than the settings allow: texts and pages as received, later other people's
        numbers. Nothing for a day too young. ValueError where a cut number would find another price or owner."""
        what = self._expires(day)
        if what is None:
            return []

        def events(frame) -> Rewritten:
            from etl.retention import expired_events

            cutting = what == "numbers"
            return expired_events(frame, numbers=cutting, own=self._own(frame), key=self._key if cutting else None)

        done, raw, head = self._rewrite(day, source, what, events)
        # Last: whoever died before finds the day due again, and finishes it.
        self.lake.pin(_mark(what, day, source, raw, head), {"date": str(day), "source": source, "erased": what})
        return done

    def forget(self, *, number: str | None = None, account: str | None = None) -> list[Done]:
        """Erase the texts and the number of one person (E.164), or of everybody an account texted and called, on every day
        there is, and all pages of those days. What the provider still has comes back with the next night that reads it."""
        from etl.redaction import mask
        from etl.retention import cut, expired_events, forgotten_events, naming

        done: list[Done] = []
        if number is not None:
            if number in set(self.directory.numbers["number_e164"]):
                raise ConfigurationError(f"{mask(number)} is in numbers.csv: it is the company's own, and no person's")
            person = {number, cut(number, self._key)} if self._key else {number}
            heads = list(self.lake.heads("events").values())
            found = (
                naming(self.lake.scan(heads, ["date", "source", "from_number", "to_number"]), person) if heads else None
            )
            for day, source in _days(found):
                done += self._forget(day, source, lambda frame: forgotten_events(frame, person))
        if account is not None:
            for day, source, frame_of in self._records_of(account):

                def change(frame, frame_of=frame_of) -> Rewritten:
                    who = frame_of(frame)
                    return expired_events(frame, numbers=True, own=self._own(frame), key=None, who=who)

                done += self._forget(day, source, change)
        return [*done, *self._unfinished()]

    def kept(self) -> str:
        """How long what is kept, in words. ConfigurationError for a key that cannot be had: in two years nobody would look."""
        told = "told apart by a keyed hash" if self._key else "joined by nothing"
        limits = self.settings.retention
        return f"texts for {limits.bodies_days} days, numbers for {limits.numbers_days}, then cut and {told}"

    # -------------------------------------------------------------------------------------------- inside

    def _forget(self, day: date, source: str, change: Callable[..., Rewritten]) -> list[Done]:
        """`_rewrite` for somebody, noted before and after."""
        self.lake.pin(_begun(day, source), {"date": str(day), "source": source})
        done, raw, head = self._rewrite(day, source, FORGOTTEN, change)
        self._finished(day, source, raw, head)
        return done

    def _finished(self, day: date, source: str, raw: int, events: int) -> None:
        self.lake.pin(
            _mark(FORGOTTEN, day, source, raw, events), {"date": str(day), "source": source, "erased": FORGOTTEN}
        )

    def _unfinished(self) -> list[Done]:
        """Erase for whoever died right after a commit: who is forgotten is not found again in what that commit left. One
        listing where nobody was ever forgotten, else three; only days that changed since are looked at."""
        from etl.lake import EXPIRED, Partition

        marks = set(self.lake.list_pins(f"{MARKS}/"))
        if not any(mark.startswith(f"{BEGUN}/") for mark in marks):
            return []
        done = []
        raw, events = self._newest()
        for day, source in sorted({*raw, *events}):
            seqs = raw.get((day, source), 0), events.get((day, source), 0)
            noted = (_mark(what, day, source, *seqs) in marks for what in (*AGED, FORGOTTEN))
            if _begun(day, source) not in marks or any(noted):
                continue
            for at in (Partition.of(dataset, date=day, source=source) for dataset in ("raw", "events")):
                history = self.lake.history(at)
                if any(v.reason == EXPIRED for v in history) and (gone := self._erased(at)):
                    head = history[-1]
                    done.append(Done("expire", at.path, head.seq, head.rows, False, {"erased": len(gone)}))
            self._finished(day, source, *seqs)
        return done

    def _newest(self) -> list[dict[tuple[date, str], int]]:
        """(day, source) → the number of the newest version, of raw and of events. Two listings."""
        return [
            {(date.fromisoformat(p["date"]), p["source"]): seq for p, seq in self.lake.newest(dataset).items()}
            for dataset in ("raw", "events")
        ]

    def _erased(self, at: Partition) -> list[str]:
        """Bring the view forward and erase what is due of one partition."""
        self.lake.heal(at.dataset, **dict(at.keys))
        return self.lake.erase(at, lambda: self._packs(at) if at.dataset == "raw" else ())

    def _expires(self, day: date) -> str | None:
        age, limits = (self._today() - day).days, self.settings.retention
        return "numbers" if age >= limits.numbers_days else "bodies" if age >= limits.bodies_days else None

    @cached_property
    def _key(self) -> bytes | None:
        name = self.settings.retention.key_connection
        if name is None:
            return None
        key = self.resolve(name).password
        if len(key) < SHORTEST_KEY:
            raise ConfigurationError(
                f"connection {name!r}, the key of cut numbers: its password has {len(key)} characters, give "
                f"{SHORTEST_KEY} or more at random, for all numbers there are can be tried"
            )
        return key.encode()

    def _own(self, events) -> set[str]:
        from etl.retention import own_numbers

        return own_numbers(events, {*self.directory.numbers["number_e164"], *self.directory.identities["identity"]})

    def _rewrite(
        self, day: date, source: str, what: str, change: Callable[..., Rewritten]
    ) -> tuple[list[Done], int, int]:
        """Pages, then events, then what only older versions name. Returns also the numbers of both heads (0: never written)."""
        from etl.lake import EXPIRED, Partition
        from etl.redaction import mask
        from etl.retention import expired_raw, keep_carriers

        raw_at, events_at = (Partition.of(d, date=day, source=source) for d in ("raw", "events"))
        self._refuse_pinned(day, raw_at, events_at)
        Work(self.lake.store, day, source).clear()  # prepared from the pages that go

        def pages(frame) -> Rewritten:
            return expired_raw(frame, {url: mask(url) for url in frame["url"].unique()})

        beside: dict[str, str] = {}

        def events(frame) -> Rewritten:
            result = change(frame)
            beside.pop(WEIGHED, None)
            if result.counts["numbers"]:
                # Carriers have blocks of numbers that take more digits to tell than are kept.
                result = result._replace(rows=keep_carriers(frame, result.rows, self.directory.carriers_of(frame)))
                self._same_charges(day, events_at, frame, result.rows)
                # What was new to numbers cut before stays so.
                was, now = (self._beyond(rows, day) for rows in (frame, result.rows))
                beside[WEIGHED] = "\n".join(sorted(now - (was - weighed(self.lake.history(events_at)))))
            return result

        raw, raw_done = self._expired(raw_at, what, pages, done=lambda head: head.reason == EXPIRED)
        if raw:
            beside[f"raw/{source}"] = raw.sha256
        head, events_done = self._expired(events_at, what, events, beside, done=lambda head: _reached(head, what))
        gone = [key for at, there in ((raw_at, raw), (events_at, head)) if there for key in self._erased(at)]
        done = [one for one in (raw_done, events_done) if one]
        if done:
            done[-1] = Done(**{**done[-1].__dict__, "counts": {**done[-1].counts, "erased": len(gone)}})
        return done, raw.seq if raw else 0, head.seq if head else 0

    def _expired(
        self,
        at: Partition,
        what: str,
        change: Callable[..., Rewritten],
        beside: Mapping[str, str] | None = None,
        *,
        done: Callable[[Version], bool],
    ) -> tuple[Version | None, Done | None]:
        """The partition's expired version, made now unless ``done`` says of the head that it is one."""
        from etl.lake import EXPIRED, Stale
        from etl.schemas import DATASETS

        for _ in range(STALE_TRIES):
            base = self.lake.head(at)
            if base is None:
                return None, None
            if done(base):
                return base, Done("expire", at.path, base.seq, base.rows, False, {})
            result = change(self.lake.read(base, DATASETS[at.dataset].columns))
            reached = what if what in AGED or not _level(base) else _level(base)
            inputs = {**base.inputs, **(beside or {}), MARKS: reached}
            try:
                version = self.lake.commit(
                    at,
                    DATASETS[at.dataset].arrange(result.rows),
                    base=base,
                    inputs=inputs,
                    sums=base.sums,
                    reason=EXPIRED,
                )
            except Stale:
                continue
            if version.reason == EXPIRED:
                return version, Done(
                    "expire", at.path, version.seq, version.rows, version.seq != base.seq, result.counts
                )
        raise Stale(f"{at} moved {STALE_TRIES} times while it expired: is another run of the same day on?")

    def _packs(self, raw_at: Partition) -> set[str]:
        """The objects that pages still lie in."""
        from etl.lake import EXPIRED

        kept: set[str] = set()
        for version in reversed(self.lake.history(raw_at)):
            kept |= {*self.lake.read(version, ["object_sha256"])["object_sha256"].drop_nulls()}
            if version.reason == EXPIRED:
                break
        return kept

    def _same_charges(self, day: date, at: Partition, before, after) -> None:
        """ValueError unless the rows with cut numbers are charged, and to whom, exactly as the whole ones."""
        import polars as pl

        from etl.rating.charge import rate

        was, now = (
            rate(
                self.directory.attribute(frame.filter(pl.col("outcome") == "accepted"), day, self.settings.currency),
                self.card, day, credits_per_segment=self.settings.credits_per_segment,
            )
            for frame in (before, after)
        )  # fmt: skip
        if not was.equals(now):
            differs = was.select(pl.struct(pl.all()).alias("was")).with_columns(
                now.select(pl.struct(pl.all()).alias("now")).to_series()
            )
            first = differs.filter(pl.col("was").ne_missing(pl.col("now")))["was"][0]
            raise ValueError(
                f"{at}: {first['kind']} {first['record_id']} would be priced or owned otherwise with its number cut: a prefix "
                "in prices.csv, carrier_fees.csv or places.csv has more digits than are kept (docs/privacy.md). "
                "Shorten it, or raise retention.numbers_days. Its numbers are kept until then"
            )

    def _refuse_pinned(self, day: date, *partitions: Partition) -> None:
        """ValueError if a closed month names one of them: what it names is never erased. None of ours does."""
        month, paths = Month.of(day), {p.path for p in partitions}
        for key in self.lake.list_pins(f"close/month={month}/"):
            for value in self.lake.get_pin(key).values():
                named = {
                    v.get("partition") for v in (value if isinstance(value, list) else [value]) if isinstance(v, dict)
                }
                if named & paths:
                    raise ValueError(
                        f"{key} pins {', '.join(sorted(named & paths))}: what a closed month names is never erased"
                    )

    def _records_of(self, account_id: str):
        """(day, source, a function from the day's events to which of them are the account's)."""
        import polars as pl

        self.directory.account(account_id)
        theirs = list(self.directory.own_provider_accounts(account_id))
        heads = self.lake.heads("charges")
        found: dict[tuple[str, str], list] = {}
        for partition, head in heads.items():
            mine = self.lake.read(head, ["kind", "record_id", "account_id"]).filter(pl.col("account_id") == account_id)
            if mine.is_empty():
                continue
            keys = mine.select("kind", "record_id", _mine=pl.lit(True))
            own = date.fromisoformat(partition["date"])
            # A record that came late lies in the pages of a day after its own.
            for after in range(self._late_days(partition["source"]) + 1):
                found.setdefault((str(own + timedelta(days=after)), partition["source"]), []).append(keys)
        for (day, source), parts in sorted(found.items()):
            keys = pl.concat(parts).unique()

            def which(frame, keys=keys):
                joined = frame.join(keys, on=["kind", "record_id"], how="left", maintain_order="left")
                uncharged = (pl.col("outcome") != "accepted") & pl.col("provider_account").is_in(theirs)
                return joined.select(pl.col("_mine").fill_null(False) | uncharged.fill_null(False)).to_series()

            yield date.fromisoformat(day), source, which


def _days(rows) -> list[tuple[date, str]]:
    return [] if rows is None else sorted(rows.select("date", "source").unique().collect().rows())


def _mark(what: str, day: date, source: str, raw: int, events: int) -> str:
    """The note that a day has lost this, in the versions it had then: newer ones are looked at again."""
    return f"{MARKS}/{what}/date={day}/source={source}/raw-{raw:08d}.events-{events:08d}"


def _begun(day: date, source: str) -> str:
    return f"{BEGUN}/date={day}/source={source}"


def _level(version: Version) -> str | None:
    """What a version has lost by age."""
    from etl.lake import EXPIRED

    found = version.inputs.get(MARKS)
    return found if version.reason == EXPIRED and found in AGED else None


def _reached(version: Version, what: str) -> bool:
    """Whether nothing is left to be taken from it."""
    level = _level(version)
    return what in AGED and level is not None and AGED.index(level) >= AGED.index(what)
