"""What things are called: charge lines, types, number classes, taxes, and names that people wrote themselves.

Whoever wrote a name or a reason, no phone number in it is shown.
"""

from __future__ import annotations

import re
from functools import lru_cache
from unicodedata import bidirectional

LINE_NAMES = {
    "number": "Phone numbers",
    "call": "Calls",
    "text": "Texts",
    "video": "Video calls",
    "campaign_call": "Campaign calls",
    "recording_storage": "Recording storage",
    "carrier_fee": "Carrier fees",
    "voice_detection": "AI voice detection",
    "failed_message": "Failed messages",
    "credit_overage": "Credit overage",
    "tier_adjustment": "Volume pricing",
    "adjustment": "Adjustments",
    "subscription": "Subscriptions",
    "credit_pack": "Credit packs",
}
PRODUCT_NAMES = {
    "subscription": "Subscription",
    "credit_pack": "Credit pack",
    "tax": "Tax",
    "rounding": "Rounding difference",
    "correction": "Correction",
}
TYPE_NAMES = {"sms": "SMS", "mms": "MMS", "whatsapp": "WhatsApp", "rcs": "RCS", "voice": "Voice", "video": "Video"}
CLASS_NAMES = {"local": "Local", "tollfree": "Toll-free", "shortcode": "Short code", "mobile": "Mobile"}
TAX_NAMES = {
    "federal": "Federal taxes",
    "state": "State taxes",
    "local": "Local taxes",
    "other": "Other taxes and fees",
}

SIMULATED = " (simulated)"
"""What the name of a product ends with that nobody reported."""

_CONTROLS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
_HIDDEN = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff]")
"""What no reader sees: control characters, overrides of the writing direction, halves of a character."""
_GAP = r"[\s.\-/\u00b7\u2010-\u2015\u2022]"
_PHONE = re.compile(
    r"(?P<hash>[0-9A-Fa-f]{20,})"
    rf"|\+\d(?:[\d()]|{_GAP}){{5,}}\d"
    rf"|(?<!\d)\(?\d{{3}}(?:\){_GAP}?|{_GAP})\d{{3}}{_GAP}\d{{4}}(?!\d)"
    r"|(?P<decimal>(?<!\d)(?<!\d\.)(?:\d{1,9}\.\d+|\d+\.\d{1,9})(?!\d|\.\d))"
    r"|(?<!\d)\d{10,15}(?!\d)"
)
"""A phone number, whatever letters it touches; or, by name, digits that are none."""


def line_name(line: str) -> str:
    return LINE_NAMES.get(line, line.replace("_", " ").capitalize())


def item_name(line: str, item: str) -> str:
    """Which one of a line: a number class, the lines a volume price is for, a reason, a product."""
    if line == "number":
        return CLASS_NAMES.get(item) or presentable(item)
    lines = item.split("; ")
    if line == "tier_adjustment" and set(lines) <= set(LINE_NAMES):
        return ", ".join(LINE_NAMES[name] if not i else LINE_NAMES[name].lower() for i, name in enumerate(lines))
    return presentable(item)


@lru_cache(maxsize=65_536)
def presentable(name: str) -> str:
    """A name on one line without hidden characters; one that is a phone number is masked to its last four digits."""
    name = " ".join(_HIDDEN.sub("", name).split())
    digits = re.sub(r"\D", "", name)
    if len(digits) >= 7 and re.fullmatch(rf"(?:[+\d()]|{_GAP})+", name):
        return f"•••• {digits[-4:]}"
    return masked(name)


def masked(text: str) -> str:
    """A sentence without hidden characters, every phone number in it masked to its last four digits."""
    return _PHONE.sub(_last_digits, _HIDDEN.sub("", text))


def _last_digits(found: re.Match) -> str:
    return found[0] if found.lastgroup else f"•••• {re.sub(r'[^0-9]', '', found[0])[-4:]}"


def isolated(name: str) -> str:
    """A name for inside a sentence: written from right to left, it turns nothing around but itself (UAX 9, isolates)."""
    kept = "".join(c for c in name if bidirectional(c) not in _CONTROLS)
    return f"\u2068{kept}\u2069" if any(bidirectional(c) in ("R", "AL", "AN") for c in kept) else kept
