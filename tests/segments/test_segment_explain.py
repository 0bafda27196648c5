"""One text explained: the same counts, the cuts, the characters that cost and what they cost."""

import pytest
from hypothesis import HealthCheck, given, settings
from segments_reference import GSM as GSM_CODES
from segments_reference import TWO_SEPTETS, count
from segments_texts import hard_texts, texts, vectors

from etl import segments
from etl.segments import MULTI_16BIT, explain, render_explanation

GSM = {chr(code) for code in GSM_CODES}


def counts(explanation):
    return explanation.encoding, explanation.units, explanation.segments


def test_vectors():
    wrong = [
        (v["family"], v["body"][:60])
        for v in vectors()
        if counts(explain(v["body"])) != (v["encoding"], v["units"], v["segments"])
    ]
    assert wrong == []


def consistent(text, **capacity):
    e = explain(text, **capacity)
    assert counts(e) == count(text, **capacity)
    assert "".join(e.parts) == text
    assert len(e.parts) == len(e.part_units) == e.segments
    assert sum(e.part_units) == e.units
    for c in e.costly:
        assert len(c.positions) == c.count
        assert all(text[p] == c.character for p in c.positions)
        assert c.code_point == f"U+{ord(c.character):04X}"
        assert c.name
    at = sorted(p for c in e.costly for p in c.positions)
    if e.encoding == "UCS-2":
        assert at == [i for i, c in enumerate(text) if c not in GSM]
        a = e.alternative
        assert ("GSM-7", a.units, a.segments) == count(a.text, **capacity)
    else:
        assert at == [i for i, c in enumerate(text) if ord(c) in TWO_SEPTETS]
        assert e.alternative is None
    assert all(line.replace(" ", "").isprintable() for line in render_explanation(e).split("\n"))
    return e


@given(texts)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_equals_reference(text):
    consistent(text)


def test_cuts():
    for text in hard_texts(500):
        consistent(text)
        consistent(text, multi=MULTI_16BIT)
    assert explain("]" * 153).parts == ("]" * 76, "]" * 76, "]")
    assert explain("😀" * 67).part_units == (66, 66, 2)


def test_forcing_characters():
    e = explain("It’s “fine” — it’s")
    assert [(c.character, c.count, c.positions, c.replacement) for c in e.costly] == [
        ("’", 2, (2, 16), "'"),
        ("“", 1, (5,), '"'),
        ("”", 1, (10,), '"'),
        ("—", 1, (12,), "-"),
    ]
    assert e.costly[0].code_point == "U+2019"
    assert e.costly[0].name == "RIGHT SINGLE QUOTATION MARK"
    assert e.alternative.text == "It's \"fine\" - it's"
    assert e.alternative.readable


@pytest.mark.parametrize(
    ("text", "plain", "readable"),
    [
        ("wait…", "wait...", True),
        ("ş ğ ı İ ç", "s g i I c", True),
        ("cafe\u0301", "café", True),
        ("a\u0302", "a", True),
        ("½ ™ ﬁ Ａ", "1/2 TM fi A", True),
        ("10\xa0000\u202f000", "10 000 000", True),
        ("\u2126", "Ω", True),
        ("ΚΑΛΗΜΕΡΑ", "KAΛHMEPA", True),
        ("ok 👍🏽", "ok ", True),
        ("zero\u200bwidth\ufeff", "zerowidth", True),
        ("`\t`", "' '", True),
        ("你好 ok", " ok", False),
        ("привет", "", False),
    ],
)
def test_alternatives(text, plain, readable):
    a = explain(text).alternative
    assert (a.text, a.readable) == (plain, readable)
    assert ("GSM-7", a.units, a.segments) == count(plain)


def test_look_alikes_are_gsm():
    assert [c for c in segments._LOOK_ALIKES if c in GSM] == []
    assert [r for r in segments._LOOK_ALIKES.values() if not set(r) <= GSM] == []
    for point in [*range(0xD800), *range(0xE000, 0x30000)]:
        if chr(point) not in GSM:
            assert set(segments._look_alike(chr(point))) <= GSM


@pytest.mark.parametrize(
    ("characters", "read_as"),
    [
        ("‘’‚‛′`´ʹʻʼʽˈ", "'" * 12),
        ("“”„‟″«»", '"' * 7),
        ("‐‑‒–—―−⁃", "-" * 8),
        ("•‣●▪∙⋅·∗", "*" * 8),
        ("‹〈›〉", "<<>>"),
        ("\u2028\u2029\x85\x0b", "\n" * 4),
        ("\t\u1680", "  "),
        ("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "ABEZHIKMNOPTYX"),
        ("×÷⁄∕∼¦¢©®µμ", "x///~|c(C)(R)uu"),
        ("ıłŁđĐðÐħĦ", "ilLdDdDhH"),
        ("þÞœŒŋŊẞ№✓✔", "thThoeOEnNSSNoOKOK"),
    ],
)
def test_look_alikes_by_hand(characters, read_as):
    assert "".join(map(segments._look_alike, characters)) == read_as


def test_extension_characters():
    e = explain("[€5] [€6]")
    assert [(c.character, c.count, c.positions, c.replacement) for c in e.costly] == [
        ("[", 2, (0, 5), None),
        ("€", 2, (1, 6), None),
        ("]", 2, (3, 8), None),
    ]
    assert e.units == 15


def test_odd_characters_have_names():
    e = explain("\x00\x01\x1b\x7f\ud800\ue000\U000e0fff")
    assert [c.name for c in e.costly] == [
        *("NULL", "CONTROL CHARACTER", "ESCAPE", "DELETE", "LONE SURROGATE", "PRIVATE USE", "UNASSIGNED")
    ]
    assert e.units == 8
    assert [c.name for c in explain("\x07\x08\t\x0b\x85").costly] == [
        *("BELL", "BACKSPACE", "CHARACTER TABULATION", "LINE TABULATION", "NEXT LINE")
    ]
    assert [c.name for c in explain("\f").costly] == ["FORM FEED"]


def test_only_text():
    for value in (None, b"a", 1):
        with pytest.raises(TypeError, match="string"):
            explain(value)


def test_rendered():
    assert render_explanation(explain("")) == "GSM-7, 0 septets, 1 segment"
    assert render_explanation(explain("a")) == "GSM-7, 1 septet, 1 segment"
    assert render_explanation(explain("Don’t " + "a" * 65)) == "\n".join(
        [
            "UCS-2, 71 units, 2 segments",
            "",
            f"  part 1, 67 units: Don’t {'a' * 61}",
            "  part 2, 4 units: aaaa",
            "",
            "These characters force UCS-2:",
            "  ’  U+2019 RIGHT SINGLE QUOTATION MARK, 1 time, at 4; in GSM-7: '",
            "",
            "With look-alikes, or without them: GSM-7, 71 septets, 1 segment (1 segment saved)",
            f"  Don't {'a' * 65}",
        ]
    )
    assert "needs UCS-2" in render_explanation(explain("你好"))


def test_what_is_listed_ends_at_twenty_parts_twenty_characters_and_five_positions():
    twenty, more = (render_explanation(explain("a" * 153 * n)).split("\n") for n in (20, 21))
    assert twenty[-1] == f"  part 20, 153 septets: {'a' * 153}"
    assert more[-2:] == [twenty[-1], "  and 1 more part"]
    five, six = (render_explanation(explain("[" * n)).split("\n") for n in (5, 6))
    assert five[2:] == [
        "These characters count double:",
        "  [  U+005B LEFT SQUARE BRACKET, 5 times, at 1, 2, 3, 4, 5",
    ]
    assert six[-1] == "  [  U+005B LEFT SQUARE BRACKET, 6 times, at 1, 2, 3, 4, 5, ..."
    chinese = "".join(map(chr, range(0x4E00, 0x4E16)))
    listed = [render_explanation(explain(chinese[:n])).split("\n") for n in (20, 21, 22)]
    assert [sum("U+4E" in line for line in lines) for lines in listed] == [20, 20, 20]
    assert ["more character" in line for line in listed[0]].count(True) == 0
    assert "  and 1 more character" in listed[1]
    assert "  and 2 more characters" in listed[2]


def test_a_mark_that_joins_what_stands_before_is_shown_by_its_number():
    shown = render_explanation(explain("q\u0308"))
    assert "  \\u0308  U+0308 COMBINING DIAERESIS, 1 time, at 2" in shown.split("\n")


def test_replacing_may_save_nothing_and_removing_may_cost():
    assert "(no segment saved)" in render_explanation(explain("it’s"))
    assert "(2 segments saved)" in render_explanation(explain("’" * 160))
    # One unit each, and three characters in GSM-7.
    longer = render_explanation(explain("©" * 67))
    assert longer.split("\n")[-2].endswith("GSM-7, 201 septets, 2 segments (no segment saved)")


def test_rendering_is_safe_and_bounded():
    hostile = render_explanation(
        explain("\x1b[31m\u202e\ud800\\x\r\n" + "中" * 5000 + "".join(map(chr, range(0x4E00, 0x4F00))))
    )
    assert "\x1b" not in hostile
    assert "\u202e" not in hostile
    assert "\\\\x\\r\\n" in hostile
    hostile.encode()
    assert "more parts" in hostile
    assert "more characters" in hostile
    assert len(hostile) < 10_000
