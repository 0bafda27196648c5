"""What things are called: charge lines, types, number classes, taxes, and names that people wrote themselves.

Whoever wrote a name or a reason, no phone number in it is shown.
"""

from __future__ import annotations

import re

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

_PHONE = re.compile(r"(?<![\w.])(?:\+\d[\d\s().\-/]{5,}\d|\(?\d{3}\)?[\s.\-/]\d{3}[\s.\-/]\d{4}|\d{10,15})(?![\w])")


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


def presentable(name: str) -> str:
    """A name on one line; one that is a phone number is masked to its last four digits."""
    name = " ".join(name.split())
    digits = re.sub(r"\D", "", name)
    if len(digits) >= 7 and re.fullmatch(r"[+\d().\s/-]+", name):
        return f"•••• {digits[-4:]}"
    return masked(name)


def masked(text: str) -> str:
    """A sentence with every phone number in it masked to its last four digits."""
    return _PHONE.sub(lambda found: f"•••• {re.sub(r'[^0-9]', '', found[0])[-4:]}", text)
