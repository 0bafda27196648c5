"""One typed configuration: a TOML file, then environment variables over it (``TOLLBOOK_LAKE__URL=…``).

Secrets are never in the file. It names *connections*, in Airflow's sense: on a worker they come from Airflow
(secrets backend, database), elsewhere from ``AIRFLOW_CONN_<NAME>``, the same variable Airflow itself reads.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsError

SAFE_ID = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
"""Ids that become keys, paths and headers: anything else is refused, never escaped."""

CONFIG_VARIABLE = "TOLLBOOK_CONFIG"
DEFAULT_CONFIG = Path("config/tollbook.toml")


class ConfigurationError(Exception):
    """The configuration is wrong; the text names the key and what to write. Raised before any request is made."""


@dataclass(frozen=True)
class Connection:
    """Where and as whom to connect. ``repr`` never shows the password."""

    host: str = ""
    login: str = ""
    password: str = field(default="", repr=False)
    port: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


Resolver = Callable[[str], Connection]


def connection_from_environment(name: str) -> Connection:
    """``AIRFLOW_CONN_<NAME>`` as Airflow writes it, JSON or URI → Connection. ConfigurationError if absent or broken."""
    variable = f"AIRFLOW_CONN_{name.upper()}"
    text = os.environ.get(variable)
    if not text:
        raise ConfigurationError(
            f"connection {name!r} is not known: add it in Airflow (Admin → Connections) or set {variable} "
            '(JSON: {"conn_type": "http", "host": "…", "login": "…", "password": "…"})'
        )
    try:
        return _from_json(text) if text.lstrip().startswith("{") else _from_uri(text)
    except (ValueError, TypeError, AttributeError) as error:
        # Only the kind of error: its text may quote a part of the password.
        raise ConfigurationError(
            f"{variable} is neither a JSON object nor a URI ({type(error).__name__}): write JSON, or escape the "
            "characters / : @ ? # % in the login and password of a URI"
        ) from None


def _from_json(text: str) -> Connection:
    given = json.loads(text)
    extra = given.get("extra") or {}
    return Connection(
        host=given.get("host") or "",
        login=given.get("login") or "",
        password=given.get("password") or "",
        port=int(given["port"]) if given.get("port") else None,
        extra=dict(json.loads(extra) if isinstance(extra, str) else extra),
    )


def _from_uri(text: str) -> Connection:
    parts = urlsplit(text)
    if not parts.scheme:
        raise ValueError("no scheme")
    query = dict(parse_qsl(parts.query))
    return Connection(
        host=unquote(parts.hostname or ""),
        login=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        port=parts.port,
        # Airflow writes an extra that is no flat table of texts as JSON under this one name.
        extra=dict(json.loads(query["__extra__"])) if "__extra__" in query else query,
    )


class Section(BaseModel):
    """A table of the file: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StoreSettings(Section):
    """A place for objects: the lake, or the bucket people read from."""

    url: str = Field(description="file:///folder, a folder beside this file, or s3://bucket/prefix")
    connection: str | None = Field(None, description="connection with the access key (login) and secret (password)")
    endpoint_url: str | None = Field(None, description="for S3-compatible servers; overrides the connection's host")
    region: str = "us-east-1"
    single_writer: bool = Field(False, description="allow a store that ignores conditional writes: one writer only")

    @field_validator("url")
    @classmethod
    def _known_scheme(cls, url: str) -> str:
        scheme = urlsplit(url).scheme
        if scheme not in ("", "file", "s3"):
            raise ValueError(f"{url!r}: use file:///folder, a folder, or s3://bucket/prefix")
        if scheme == "s3" and not urlsplit(url).netloc:
            raise ValueError(f"{url!r} names no bucket: write s3://bucket/prefix")
        return url


class SourceSettings(BaseModel):
    """One provider account or file drop. ``kind`` names the module in ``etl.sources`` that reads it; the other keys are
    that module's own and are checked by it before the first request."""

    model_config = ConfigDict(extra="allow", frozen=True)

    kind: str = Field(pattern="^[a-z][a-z0-9_]*$")

    def fingerprint(self) -> str:
        """sha256 of the table but for where it reads from: how a record becomes an event may depend on the rest."""
        rest = self.model_dump(mode="json", exclude={"connection", "base_url", "store"})
        return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


class MailSettings(Section):
    """Where statements are mailed from. Without this section nothing is mailed."""

    connection: str = Field(description="SMTP connection: host, port, login, password")
    sender: str = Field(description="address in From:", pattern=r"^[^\s<>@]+@[^\s<>@]+$")
    sender_name: str = "Tollbook"
    starttls: bool = Field(True, description="refuse to send over a connection that is not encrypted")
    reply_to: str | None = None
    amount_in_subject: bool = Field(True, description="false keeps the amount off lock screens")
    max_age_days: int = Field(45, ge=1, description="a month that ended longer ago is published but not mailed")
    unsubscribe_url: str | None = Field(None, description="https page for one-click unsubscribe; {account} is replaced")


class ReportSettings(Section):
    """How and where pages are published."""

    store: StoreSettings
    links: Literal["relative", "base_url", "presigned"] = "relative"
    base_url: str | None = Field(
        None,
        pattern="^(https?|file)://",
        description="where people open the bucket; mails need it unless links = presigned",
    )
    link_days: int = Field(7, ge=1, le=7, description="life of a presigned link; S3 allows no more than 7 days")
    contact: str | None = Field(None, description="who answers questions, printed on the page")
    issuer: str = Field(
        "Tollbook", min_length=1, description="who provides the service and bills it, as FOCUS files name it"
    )

    @model_validator(mode="after")
    def _base_url_given(self) -> ReportSettings:
        if self.links == "base_url" and not self.base_url:
            raise ValueError("links = 'base_url' needs base_url = 'https://…'")
        return self


LATEST_DAYS = 31
"""Days before its own that a file may hold records of, at most."""


class BoundsSettings(Section):
    """What no account is charged on one UTC day before a person looked at it. Amounts are in the account's currency; in
    one without cents they count a hundred times, in one with a thousandth part a tenth."""

    daily_factor: Decimal | Literal["off"] = Field(
        Decimal(10), description="times the median of its charged days in the 28 days before"
    )
    daily_floor: Decimal = Field(Decimal(100), ge=0, description="what the factor never holds")
    daily_cap: Decimal | Literal["off"] = Field(Decimal(10_000), description="whatever was charged before")

    @field_validator("daily_factor", "daily_cap")
    @classmethod
    def _above_nothing(cls, value: Decimal | str) -> Decimal | str:
        if isinstance(value, Decimal) and not (value.is_finite() and value > 0):
            raise ValueError('give a number above 0, or "off"')
        return value


class RetentionSettings(Section):
    """How long texts and other people's numbers are kept. Ages count from the record's UTC date (docs/privacy.md)."""

    bodies_days: int = Field(365, ge=1, description="days that texts live, and the pages as received")
    numbers_days: int = Field(730, ge=1, description="days that other people's numbers live in full")
    key_connection: str | None = Field(
        None, description="connection whose password keys the hash of a cut number; without it a number is only cut"
    )

    @model_validator(mode="after")
    def _numbers_last_longer(self) -> RetentionSettings:
        if self.numbers_days < self.bodies_days:
            raise ValueError(
                f"numbers_days = {self.numbers_days} is less than bodies_days = {self.bodies_days}: pages hold both"
            )
        return self


class Settings(BaseSettings):
    """Everything a run needs to know. Build it with `load`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lake: StoreSettings
    reports: ReportSettings
    sources: dict[str, SourceSettings] = Field(min_length=1)
    mail: MailSettings | None = None
    directory: Path = Field(description="folder with accounts.csv, owners.csv, numbers.csv, campaigns.csv")
    rates: Path = Field(description="folder with the rate card: prices.csv and carrier_fees.csv")
    currency: str = Field("USD", pattern="^[A-Z]{3}$", description="of usage that belongs to no account")
    start: date = Field(description="first UTC day ever loaded (go-live)")
    lookback_days: int = Field(7, ge=1, le=31, description="days each night reads again")
    share_days: bool = Field(
        False, description="whether tasks share a day of many records: for several machines (docs/deploy.md)"
    )
    settle_hours: int = Field(2, ge=0, le=24, description="hours after midnight UTC before a day is loaded")
    reread_month_on: tuple[Annotated[int, Field(ge=1, le=31)], ...] = Field(
        (3, 8), description="days of the month on which the month before is read again"
    )
    close_after_days: int = Field(7, ge=0, le=31, description="days after a month's end before it may close")
    price_wait_days: int = Field(
        14, ge=0, le=62, description="days after a record's UTC date that a price still missing at the provider holds its month"
    )
    bounds: BoundsSettings = Field(default_factory=BoundsSettings)
    retention: RetentionSettings = Field(default_factory=RetentionSettings)
    operators: tuple[str, ...] = Field(
        (), description="who is mailed when a task fails, a night is late, or a month stays held"
    )
    done_by_hours: int | None = Field(
        None, ge=1, le=72, description="hours after midnight UTC by which a night is done, else it is late; settle_hours + 6"
    )
    credits_per_segment: int = Field(1, ge=0, description="credits one billed segment burns, sent or received")
    number_billing: Literal["month_end", "days"] = Field(
        "month_end", description="numbers: those owned at month end at their whole price, or each by the days owned"
    )
    tax_rounding: Literal["per_line", "per_statement"] = Field(
        "per_line", description="where taxes are rounded: on each line, or once on the statement"
    )
    _home: Path = PrivateAttr(default=Path())

    @model_validator(mode="after")
    def _kept_while_read_again(self) -> Settings:
        """What a night reads again must not have expired: each night would undo what the night before erased."""
        read_again = max(self.lookback_days, 31 + max(self.reread_month_on, default=0))
        if self.retention.bodies_days <= read_again:
            raise ValueError(
                f"retention.bodies_days = {self.retention.bodies_days}: days up to {read_again} days old are read again "
                f"(lookback_days, reread_month_on): give {read_again + 1} or more"
            )
        return self

    @model_validator(mode="after")
    def _done_after_it_began(self) -> Settings:
        if self.done_by <= self.settle_hours:
            raise ValueError(
                f"done_by_hours = {self.done_by_hours}: the night begins {self.settle_hours} hours after midnight "
                "(settle_hours), so no night would be in time: give more"
            )
        return self

    @field_validator("*", mode="before")
    @classmethod
    def _as_meant(cls, value: Any, info: ValidationInfo) -> Any:
        """pydantic takes true for 1, false for 0 credits and a number for the seconds since 1970."""
        is_switch = cls.model_fields[info.field_name].annotation is bool
        if (isinstance(value, bool) and not is_switch) or (info.field_name == "start" and not isinstance(value, str | date)):
            raise ValueError(f"{str(value).lower()} is no value of this key")
        return value

    @field_validator("sources")
    @classmethod
    def _safe_names(cls, sources: dict[str, Any]) -> dict[str, Any]:
        for name in sources:
            if not re.fullmatch(SAFE_ID, name):
                raise ValueError(f"source name {name!r} must be letters, digits, - and _")
        return sources

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, **_: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        environment = EnvSettingsSource(settings_cls, env_prefix="TOLLBOOK_", env_nested_delimiter="__")
        return environment, init_settings

    @property
    def done_by(self) -> int:
        """Hours after midnight UTC by which the night is done."""
        return self.settle_hours + 6 if self.done_by_hours is None else self.done_by_hours

    @property
    def home(self) -> Path:
        """The folder of the settings file."""
        return self._home

    def path(self, relative: Path | str) -> Path:
        """A path in the file is relative to the file."""
        return (self.home / relative).resolve()

    def fingerprint(self) -> str:
        """sha256 of every setting that can change a figure; named in each log entry. Where things are stored does not."""
        figures = self.model_dump(
            mode="json", include={"start", "currency", "credits_per_segment", "number_billing", "tax_rounding"}
        )
        return hashlib.sha256(json.dumps(figures, sort_keys=True).encode()).hexdigest()


def load(path: Path | str | None = None) -> Settings:
    """Settings from ``path``, else ``$TOLLBOOK_CONFIG``, else ``config/tollbook.toml``.

    Raises ConfigurationError naming the file, the key, and what was expected.
    """
    file = Path(path or os.environ.get(CONFIG_VARIABLE) or DEFAULT_CONFIG)
    try:
        given = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(
            f"{file} does not exist: copy config/tollbook.example.toml there, or name a file with --config"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} is not valid TOML: {error}") from None
    _refuse_misspelt_variables()
    try:
        settings = Settings(**given)
        settings._home = file.resolve().parent
        return settings
    except SettingsError as error:
        raise ConfigurationError(f"the environment is not usable, write TOLLBOOK_… as JSON: {error}") from None
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise ConfigurationError(f"{file} is not usable:\n" + "\n".join(lines)) from None


def _refuse_misspelt_variables() -> None:
    """A misspelt variable would be ignored without a word. Others that begin like ours are none of our business."""
    known = {name.upper() for name in Settings.model_fields}
    for variable in os.environ:
        name = variable.removeprefix("TOLLBOOK_").split("__")[0]
        if variable.startswith("TOLLBOOK_") and name not in known:
            for meant in difflib.get_close_matches(name, known, n=1, cutoff=0.8):
                raise ConfigurationError(f"the variable {variable} is no setting: did you mean TOLLBOOK_{meant}?")
