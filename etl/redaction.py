"""What no log may say: message texts, whole phone numbers, credentials. `install` keeps them out of everything a process
logs, whoever logs it: our own lines, exceptions, and what HTTP and S3 clients say when they are asked to say much.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import Mapping
from typing import Any

HIDDEN = "***"
LAST = 3
"""Digits of a phone number that are shown."""

# Order matters: what names itself comes first, phone numbers last.
_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # scheme://user:password@host
    (re.compile(r"(?<=://)[^\s/@:'\"]+:[^\s@'\"]+@"), f"{HIDDEN}@"),
    # Authorization: Basic …, 'Authorization': 'AWS4-HMAC-SHA256 Credential=…', (b'authorization', b'Bearer …')
    (
        re.compile(
            r"""(?ix)(\b(?:(?:proxy-)?authorization|x-api-key|x-amz-security-token|(?:set-)?cookie))
            (["']?\s*[:=,]\s*b?)
            ("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|(?:basic|bearer|digest|token|aws4-hmac-sha256)\s[^\r\n]*)"""
        ),
        rf"\1\2{HIDDEN}",
    ),
    (re.compile(r"(?i)\b(Basic|Bearer)\s+[A-Za-z0-9._~+/=-]{8,}"), rf"\1 {HIDDEN}"),
    # X-Amz-Signature=…&…, password=…, "auth_token": "…"
    (
        re.compile(
            r"""(?ix)\b((?:x-amz-(?:signature|credential|security-token))|signature|credential|[a-z_]*(?:password|passwd|secret|
            auth_?token|access_?token|access_?key|secret_?key|api_?key))
            (["']?\s*[:=]\s*b?)
            ("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s&,;)}\]]+)"""
        ),
        rf"\1\2{HIDDEN}",
    ),
    # "body": "…", 'Body': '…', Body=… of a form; and an answer that a client prints whole
    (
        re.compile(r"""(?i)(["']body["']\s*:\s*b?)("(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?)"""),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"(?i)((?:^|[?&\s'\"])body=)[^&\s'\"]+"), rf"\1{HIDDEN}"),
    (re.compile(r"(?is)\b(response body:\s*).+"), rf"\1{HIDDEN}"),
)
_PHONES = (
    # +15550100123, %2B15550100123, +1 (555) 010-0123
    re.compile(r"(?<![\w+])(?:\+|(?i:%2b))[1-9](?:[ .\-/()\u00a0]{0,2}\d){6,14}(?!\d)"),
    # 15550100123: ten to fifteen digits that are no part of an id, an amount, a time or a longer number
    re.compile(r"(?<![\w.$€£])(?<![0-9A-Fa-f]-)\d{10,15}(?![\w]|[.,-]\d)"),
    # 1 (555) 010-0123, 555.010.0123
    re.compile(r"(?<![\w.+-])(?:1[ .\-])?\(?\d{3}\)?[ .\-/\u00a0]{1,2}\d{3}[ .\-\u00a0]\d{4}(?![\w]|[.-]\d)"),
)


def mask(text: str) -> str:
    """The text without credentials and message bodies, every phone number in it cut to its last three digits. Amounts, dates,
    hashes and the provider's ids stay."""
    for pattern, instead in _RULES:
        text = pattern.sub(instead, text)
    for pattern in _PHONES:
        text = pattern.sub(_last_digits, text)
    return text


def mask_all(value: Any) -> Any:
    """`mask` of every text in lists and dictionaries."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {key: HIDDEN if str(key).lower() == "body" else mask_all(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return type(value)(mask_all(item) for item in value)
    return value


def install() -> None:
    """Mask every record this process logs from now on, through the standard library or structlog. Once is enough."""
    if not isinstance(logging.getLogRecordFactory(), _Masked):
        logging.setLogRecordFactory(_Masked(logging.getLogRecordFactory()))
    structlog = sys.modules.get("structlog")  # Airflow's tasks log through it; nothing of ours does
    if structlog is not None:
        steps = structlog.get_config()["processors"]
        # In place: a logger that was used before holds this very list. The last step turns the event into a line.
        if isinstance(steps, list) and _structured not in steps:
            steps.insert(len(steps) - 1, _structured)


class _Masked:
    """Makes log records whose text is masked already, so that no handler, filter or formatter ever sees another."""

    def __init__(self, make: Any) -> None:
        self._make = make

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self._make(*args, **kwargs)
        try:
            said = record.getMessage()
        except Exception:  # noqa: BLE001  a wrong format is the handler's to report; its text and arguments are not
            record.msg, record.args = f"{record.name}: a log line that cannot be formatted", ()
            return record
        masked = mask(said)
        if masked != said:
            record.msg, record.args = masked, ()
        if record.exc_info and record.exc_info[0] is not None:
            told = _told(record.exc_info)
            if (masked := mask(told)) != told:
                # The exception itself still has its text: its traceback is told here instead.
                record.msg, record.args, record.exc_info = f"{record.getMessage()}\n{masked}", (), None
        return record


def _structured(_logger: Any, _method: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
    said = dict(event)
    if said.get("exc_info"):  # the next step would write the traceback
        told = _told(said["exc_info"] if isinstance(said["exc_info"], tuple) else sys.exc_info())
        if (masked := mask(told)) != told:
            del said["exc_info"]
            said["event"] = f"{said.get('event', '')}\n{masked}"
    return mask_all(said)


def _told(exc_info: Any) -> str:
    return "".join(traceback.format_exception(*exc_info)).rstrip()


def _last_digits(found: re.Match[str]) -> str:
    digits = [c for c in found[0].lower().removeprefix("%2b") if c.isdecimal()]
    return HIDDEN + "".join(digits[-LAST:])
