"""The vectorised path: exact on the vectors, equal to the plain loop, and indifferent to how the column is stored."""

import itertools
import subprocess
import sys

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from segments_reference import GSM, TWO_SEPTETS, count
from segments_texts import columns, hard_texts, vectors

from etl import segments
from etl.segments import MULTI_16BIT, Capacity, segment_columns, segments_dtype, with_segments

COUNTED = {"encoding": pl.Enum(["GSM-7", "UCS-2"]), "units": pl.Int32, "segments": pl.Int32}


def bodies(values):
    return pl.DataFrame({"body": pl.Series(values, dtype=pl.String)})


def counted(values, engine="streaming", **capacity):
    frame = values if isinstance(values, pl.DataFrame) else bodies(values)
    return with_segments(frame.lazy(), **capacity).collect(engine=engine).select(*COUNTED)


def expected(values, **capacity):
    return pl.DataFrame([count(v, **capacity) for v in values], schema=COUNTED, orient="row")


@pytest.fixture(scope="module")
def stored():
    return vectors()


@pytest.mark.parametrize("engine", ["streaming", "in-memory"])
def test_vectors(stored, engine):
    assert len(stored) == 3203
    out = counted([v["body"] for v in stored], engine)
    wrong = [
        (v["family"], v["body"][:60], row)
        for v, row in zip(stored, out.iter_rows(), strict=True)
        if row != (v["encoding"], v["units"], v["segments"])
    ]
    assert wrong == []


def test_reference_agrees_with_vectors(stored):
    wrong = [v["body"][:60] for v in stored if count(v["body"]) != (v["encoding"], v["units"], v["segments"])]
    assert wrong == []


def test_every_character_alone_and_in_company():
    """Each code point of the BMP and some above: the encoding and the units are the alphabet's, nothing else's."""
    points = [c for c in range(0x10000) if not 0xD800 <= c <= 0xDFFF] + [0x10000, 0x1F600, 0x10FFFF]
    out = counted([f"{chr(c)}a" for c in points])
    assert out["encoding"].to_list() == ["GSM-7" if c in GSM else "UCS-2" for c in points]
    assert out["units"].to_list() == [3 if c in TWO_SEPTETS or c > 0xFFFF else 2 for c in points]


@pytest.mark.parametrize("company", ["é", "é€", "[", "€]", "ß😀", "`", "Ω中"])
def test_every_leading_byte_in_company(company):
    """What decides for one character must not hide another, before it or after it."""
    points = [*range(0x20), *range(0x5B, 0x500), *range(0x700, 0xD800, 61), *range(0x2070, 0x20D0), 0xFFFD, 0x10000]
    texts = [t for c in points for t in (chr(c) + company, company + chr(c))]
    assert_frame_equal(counted(texts), expected(texts))


@pytest.mark.parametrize(
    "wide, narrow, part", [("]", "a", 153), ("€", "é", 153), ("😀", "a", 67), ("\U0010ffff", "中", 67)]
)
def test_one_wide_run_across_each_cut(wide, narrow, part):
    """Every start of a run of wide characters around the first cuts, with a rest that ends around a later one."""
    texts = [
        narrow * before + wide * run + narrow * after
        for cut in (part, 2 * part)
        for before in range(cut - 5, cut + 2)
        for run in (1, 2, 3)
        for end in (2 * part, 3 * part)
        for after in range(max(0, end - before - 2 * run - 3), max(0, end - before - 2 * run) + 3)
    ]
    assert_frame_equal(counted(texts), expected(texts))
    sixteen = {"single": (160, 70), "multi": MULTI_16BIT}
    assert_frame_equal(counted(texts, **sixteen), expected(texts, **sixteen))


@given(columns)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_equals_reference(values):
    assert_frame_equal(counted(values), expected(values))


@given(columns, st.integers(2, 9), st.integers(2, 9), st.integers(0, 4))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_capacity(values, gsm7, ucs2, more):
    """Small parts make every text long, so the fill is tried at every offset."""
    capacity = {"single": (gsm7 + more, ucs2 + more), "multi": (gsm7, ucs2)}
    assert_frame_equal(counted(values, **capacity), expected(values, **capacity))


def test_wide_characters_around_every_cut():
    texts = hard_texts(3000)
    assert_frame_equal(counted(texts), expected(texts))
    sixteen = {"single": (160, 70), "multi": MULTI_16BIT}
    assert_frame_equal(counted(texts, **sixteen), expected(texts, **sixteen))


def test_known_counts():
    texts = ["", None, "a" * 160, "a" * 161, "]" * 80, "]" * 153, "😀" * 35, "😀" * 67, "\x1b", "a\r\n" * 60, "[€\t]"]
    assert counted(texts).rows() == [
        ("GSM-7", 0, 1),
        (None, None, None),
        ("GSM-7", 160, 1),
        ("GSM-7", 161, 2),
        ("GSM-7", 160, 1),
        ("GSM-7", 306, 3),
        ("UCS-2", 70, 1),
        ("UCS-2", 134, 3),
        ("UCS-2", 1, 1),
        ("GSM-7", 180, 2),
        ("UCS-2", 4, 1),
    ]


def test_types_and_names():
    frame = bodies(["a", None])
    assert frame.select(segment_columns()).schema == {"segments": segments_dtype()}
    assert frame.lazy().select(segment_columns(pl.col("body"))).collect_schema() == {"segments": segments_dtype()}
    assert with_segments(frame.lazy()).collect_schema() == {"body": pl.String, **COUNTED}
    assert frame.with_columns(segment_columns().struct.unnest()).columns == ["body", *COUNTED]
    assert frame.select(segment_columns(pl.col("body").str.to_uppercase()).struct.field("units")).to_series()[0] == 1


@pytest.mark.parametrize("engine", ["streaming", "in-memory"])
@pytest.mark.parametrize("values", [[], [None], [None, None, None], [""], ["", None, ""], ["€"], ["中"], ["\x00"]])
def test_small_columns(values, engine):
    assert_frame_equal(counted(values, engine), expected(values))


def test_order_and_slices_of_a_long_column(stored):
    """More rows than one slice of the kernel, each with a number in it that the units tell."""
    texts = [v["body"] for v in stored if v["units"] < 400]
    want = expected(texts)
    repeats = 300_000 // len(texts) + 1
    frame = bodies(texts * repeats).with_row_index()
    want = pl.concat([want] * repeats)
    for engine in ("streaming", "in-memory"):
        out = with_segments(frame.lazy()).collect(engine=engine)
        assert out["index"].is_sorted()
        assert_frame_equal(out.select(*COUNTED), want)


def test_rows_find_their_way_back_from_every_slice(stored, monkeypatch):
    """Slices of the kernel of any size, so that each step's rows are mapped back in small and uneven groups."""
    texts = [*(v["body"] for v in stored[::7]), None, "", *hard_texts(50)]
    want = expected(texts)
    for rows in (1, 2, 7, 64):
        monkeypatch.setattr(segments, "_SLICE_ROWS", rows)
        assert_frame_equal(counted(texts), want)


def test_eager_buckets(stored):
    """As the nightly job calls it: an expression over a column with gaps, in an eager select, bucket by bucket."""
    texts = [v["body"] for v in stored]
    frame = bodies(texts).with_row_index()
    odd = pl.when(pl.col("index") % 3 != 0).then(pl.col("body"))
    want = expected([t if i % 3 else None for i, t in enumerate(texts)])
    for start in range(0, len(texts), 1000):
        out = frame.slice(start, 1000).select(segment_columns(odd)).unnest("segments")
        assert_frame_equal(out, want.slice(start, 1000))


def test_layouts(stored):
    """Slices, chunks, filters, gathers and Parquet row groups of a column give what the column gives."""
    texts = [v["body"] for v in stored] + [None] * 50
    frame, want = bodies(texts), expected(texts)
    for start, length in [(0, 1), (7, 1000), (3100, 153), (3203, 0)]:
        assert_frame_equal(counted(frame.slice(start, length)), want.slice(start, length))
    chunks = pl.concat([frame.slice(i, 100) for i in range(0, len(texts), 100)], rechunk=False)
    assert chunks.n_chunks() > 30
    assert_frame_equal(counted(chunks, "in-memory"), want)
    assert_frame_equal(counted(chunks, "streaming"), want)
    assert_frame_equal(counted(frame.reverse()), want.reverse())
    some = pl.Series([i % 3 == 1 for i in range(len(texts))])
    assert_frame_equal(counted(frame.filter(some)), want.filter(some))
    arrow = pl.from_arrow(frame.to_arrow().slice(11, 2000))
    assert_frame_equal(counted(arrow), want.slice(11, 2000))


def test_buffers_of_a_part_of_an_arrow_array():
    """Polars hands over buffers that begin with the first row; Arrow does not promise it."""

    class Part:
        def to_arrow(self):
            return pa.array(["skipped", "é", "", "abc", "left out"], pa.large_string()).slice(1, 3)

    text, edges = segments._buffers(Part())
    assert text.tobytes() == "éabc".encode()
    assert edges.tolist() == [0, 2, 2, 5]


def test_streams_from_parquet(stored, tmp_path):
    texts = [v["body"] for v in stored] + [None]
    bodies(texts).write_parquet(tmp_path / "b.parquet", row_group_size=500)
    out = with_segments(pl.scan_parquet(tmp_path / "b.parquet")).collect(engine="streaming")
    assert_frame_equal(out.select(*COUNTED), expected(texts))


def test_null_rows_count_nothing_in_sums():
    out = with_segments(bodies(["a", None, "中"]).lazy(), "body").select(pl.col("segments").sum()).collect()
    assert out.item() == 2


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("a" * 10_000_000, ("GSM-7", 10_000_000, 65_360)),
        ("a" * 9_999_999 + "中", ("UCS-2", 10_000_000, 149_254)),
        # 33 pairs and one unit lost in every part of 67.
        ("😀" * 2_500_000, ("UCS-2", 5_000_000, 75_758)),
        # 152 + a pair that does not fit: the pair opens the next part, whose 151 others leave room for one more.
        (("a" * 152 + "€") * 60_000, count(("a" * 152 + "€") * 60_000)),
    ],
)
def test_big_bodies(text, want):
    assert counted([None, text, "a"]).rows() == [(None, None, None), want, ("GSM-7", 1, 1)]


def test_column_without_a_type():
    """What a reader infers when every body is null."""
    assert counted(pl.DataFrame({"body": [None, None]})).rows() == [(None, None, None)] * 2


def test_not_text_is_refused():
    with pytest.raises(pl.exceptions.SchemaError, match="String"):
        with_segments(pl.LazyFrame({"body": [1]})).collect()


def test_existing_columns_are_not_overwritten():
    with pytest.raises(pl.exceptions.DuplicateError):
        with_segments(pl.LazyFrame({"body": ["a"], "units": [1]})).collect()


@pytest.mark.parametrize("single, multi", [((160, 70), (161, 67)), ((160, 70), (153, 1)), ((0, 0), (0, 0))])
def test_impossible_capacity(single, multi):
    with pytest.raises(ValueError, match="part"):
        segment_columns(single=Capacity(*single), multi=Capacity(*multi))


def test_bounds_close_on_ordinary_texts(monkeypatch):
    """The slow step is for the few: texts whose cuts cannot meet a wide character never reach it."""
    monkeypatch.setattr(segments, "_greedy_count", lambda *_: pytest.fail("the slow step ran"))
    plain = ["".join(p) for p in itertools.product(["a" * 100, "é" * 75, "中" * 30], repeat=3)]
    # Full to the last unit, and nothing but wide characters in parts that all fall one short.
    plain += ["a" * 306, "中" * 134, "]" * 152, "😀" * 66, "😀" * 99]
    assert_frame_equal(counted(plain), expected(plain))


def test_a_column_is_counted_batch_by_batch(tmp_path, monkeypatch):
    """Streaming is what bounds memory: the kernel never sees the whole column at once."""
    seen = []
    kernel = segments._segment_series
    monkeypatch.setattr(segments, "_segment_series", lambda body, **c: (seen.append(len(body)), kernel(body, **c))[1])
    bodies(["a"] * 300_000).write_parquet(tmp_path / "b.parquet", row_group_size=50_000)
    with_segments(pl.scan_parquet(tmp_path / "b.parquet")).collect(engine="streaming")
    assert sum(seen) >= 300_000
    assert max(seen) < 300_000


def test_capacities_are_those_of_the_standard():
    """140 octets are 160 septets or 70 units; a header of 6 octets takes 7 septets or 3 units, one of 7 octets 8 or 4."""
    assert tuple(segments.SINGLE) == (140 * 8 // 7, 140 // 2) == (160, 70)
    assert tuple(segments.MULTI) == ((140 - 6) * 8 // 7, (140 - 6) // 2) == (153, 67)
    assert tuple(segments.MULTI_16BIT) == ((140 - 7) * 8 // 7, (140 - 7) // 2) == (152, 66)
    assert counted(["中" * 132, "中" * 133], multi=MULTI_16BIT)["segments"].to_list() == [2, 3]


def test_starts_without_polars():
    code = "import sys, etl.segments as s; s.explain('a'); assert not {'polars', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
