"""Texts biased to what is hard about segments, and the stored vectors."""

import gzip
import json
import random
from pathlib import Path

from hypothesis import strategies as st

# One unit in GSM-7, two, two in UCS-2, one that forces UCS-2, and clusters that may be cut.
BASIC = ["a", "Z", "0", " ", "_", "@", "é", "Ω", "ß", "¡", "\n", "\r", "\r\n"]
EXTENSION = list("\f^{}\\[~]|€")
ASTRAL = ["😀", "𝒳", "\U00010000", "\U0010ffff", "🇩🇪", "👩‍👩‍👧", "👍🏽"]
BMP = ["’", "ç", "`", "\t", "\x00", "\x1b", "\x7f", "\u2126", "\u0301", "\ufffd", "\uffff", "\ud7ff", "\ue000", "中"]
EDGES = [1, 2, 3, 66, 67, 68, 69, 70, 71, 133, 134, 135, 152, 153, 154, 159, 160, 161, 305, 306, 307, 459]

_character = st.one_of(*(st.sampled_from(pool) for pool in (BASIC, EXTENSION, ASTRAL, BMP)))
_run = st.builds(lambda c, n: c * n, _character, st.one_of(st.integers(1, 6), st.sampled_from(EDGES)))
_plain_run = st.builds(
    lambda c, n: c * n, st.sampled_from(BASIC + EXTENSION), st.one_of(st.integers(1, 6), st.sampled_from(EDGES))
)
texts = st.one_of(
    st.lists(_run, max_size=12).map("".join),
    # Mixed pools are nearly always UCS-2, so GSM-7 gets a share of its own.
    st.lists(_plain_run, max_size=12).map("".join),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=200),
)
columns = st.lists(st.one_of(st.none(), texts), max_size=30)


def hard_texts(count, seed=20_260_315):
    """`count` texts with wide characters around the cuts; the same for the same seed."""
    r = random.Random(seed)
    out = []
    for _ in range(count):
        gsm = r.random() < 0.5
        wide = EXTENSION if gsm else ["😀", "\U0010ffff"]
        part = 153 if gsm else 67
        text = "" if gsm else r.choice(BMP)
        for _ in range(r.randrange(1, 6)):
            text += r.choice("abcé@ \n") * max(0, part - r.randrange(5)) + r.choice(wide) * r.randrange(4)
        out.append(text)
    return out


def vectors():
    """The stored vectors: dicts with body, encoding, units, segments, family."""
    with gzip.open(Path(__file__).with_name("vectors.jsonl.gz"), "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
