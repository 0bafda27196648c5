"""Files as people's programs save them: the same cells and line numbers, or a refusal that says what to do."""

from __future__ import annotations

import hashlib
import re
import tempfile
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl import tables
from etl.settings import ConfigurationError


@pytest.fixture
def read(tmp_path):
    def read_bytes(data: bytes | str, columns=("a", "b"), optional=("c",), **options):
        file = tmp_path / "file.csv"
        file.write_bytes(data.encode() if isinstance(data, str) else data)
        return tables.read(file, columns, optional, **options)[0]

    return read_bytes


def refusal(read, data: bytes | str, **options) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(data, **options)
    return str(caught.value)


# ------------------------------------------------------------------------------------------------ what is read

CELL = st.text(st.sampled_from('ab1 ,;"é\n\r\t\u2028'), max_size=4) | st.sampled_from(("", "", "x"))
ROWS = st.lists(st.lists(CELL, min_size=3, max_size=3).filter(lambda cells: any(c.strip() for c in cells)), max_size=5)


def saved(cells: list[str], everything_quoted: bool) -> str:
    """A row as RFC 4180 writes it."""
    quoted = [everything_quoted or any(mark in cell for mark in ',"\r\n') for cell in cells]
    return ",".join(f'"{c.replace(chr(34), chr(34) * 2)}"' if q else c for c, q in zip(cells, quoted, strict=True))


@settings(deadline=None)
@given(
    ROWS,
    st.sampled_from(("\n", "\r\n", "\r")),
    st.booleans(),
    st.booleans(),
    st.lists(st.sampled_from(("", " ", ",,", '"",,', " , ,")), max_size=6),
    st.permutations(("a", "b", "c")),
)
def test_how_a_program_saves_a_file_makes_no_difference(rows, end, everything_quoted, mark, blanks, order):
    """Any line ends, quoting, byte-order mark, blank lines and order of columns."""
    lines, expected = [saved(order, everything_quoted)], []
    for place, cells in enumerate(rows):
        lines += blanks[place : place + 1]
        line = 1 + sum(len(re.split("\r\n|\r|\n", text)) for text in lines)
        expected.append((line, *(cell or None for cell in cells)))
        lines.append(saved([dict(zip("abc", cells, strict=True))[c] for c in order], everything_quoted))
    data = end.join([*lines, ""]).encode("utf-8-sig" if mark else "utf-8")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "file.csv"
        file.write_bytes(data)
        found, sha = tables.read(file, ("a", "b"), ("c",))
    assert found.columns == [tables.LINE, "a", "b", "c"]
    assert found.rows() == expected
    assert sha == hashlib.sha256(data).digest()


def test_an_optional_column_that_is_not_there_is_null(read):
    found = read("b,a\n2,1\n")
    assert found.rows(named=True) == [{tables.LINE: 2, "a": "1", "b": "2", "c": None}]
    assert found["c"].dtype == pl.String


def test_a_note_may_stand_in_any_file_and_is_not_read(read):
    assert read("a,note,b\n1,why,2\n").columns == [tables.LINE, "a", "b", "c"]
    assert read("a,note\n1,why\n", columns=("a", "note"), optional=()).row(0) == (2, "1", "why")


def test_columns_without_name_to_the_right_are_left_out_while_they_are_empty(read):
    """A spreadsheet saves them where a cell once stood."""
    assert read("a,b,,\n1,2,,\n3,4\n").rows() == [(2, "1", "2", None), (3, "3", "4", None)]
    assert "is not readable as CSV: line 2 has 4 cells; its first line has 2" in refusal(read, "a,b,,\n1,2,,x\n")


def test_only_a_header_is_no_rows(read):
    assert read("a,b\n").rows() == read("\n\na,b").rows() == []


def test_a_file_that_may_lack_and_lacks_has_no_rows_and_no_sum(tmp_path):
    found, sha = tables.read(tmp_path / "none.csv", ("a",), ("c",), may_lack=True)
    assert (found.schema, found.height, sha) == ({tables.LINE: pl.Int64, "a": pl.String, "c": pl.String}, 0, b"")


def test_columns_of_others_are_let_through_where_they_are_expected(read):
    assert read("a,b,theirs\n1,2,3\n", others=True).row(0) == (2, "1", "2", None)


# ------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("", "is empty: its first line must be a,b"),
        ("\ufeff", "is empty: its first line must be a,b"),
        ("\n  \n,,\n", "is empty: its first line must be a,b"),
        ("a\n1\n", "lacks the column b"),
        ("x,y\n1,2,3\n", "is not readable as CSV: line 2 has 3 cells; its first line has 2"),
        ("x,y\n", "lacks the column a, b; has a column 'x' that nothing reads"),
        ("a,b,b\n1,2,3\n", "has the column b twice"),
        ("a,,b\n1,2,3\n", "has no name over column 2"),
        ("a;b\n1;2\n", "has ';' between its cells: save it with commas"),
        ("a\tb\n1\t2\n", "has '\\t' between its cells: save it with commas"),
        ("a,b,B\n1,2,3\n", "has a column 'B' that nothing reads: it may have a, b, c, note"),
        ("a,b, c\n1,2,3\n", "has a column ' c' that nothing reads: did you mean c?"),
        (
            "a,b\n1\n2,3\n4,5,6\n",
            "is not readable as CSV: line 2 has 1 cells, line 4 has 3 cells; its first line has 2",
        ),
        ("a,b\n1,2\n3,4,\n", "is not readable as CSV: line 3 has 3 cells; its first line has 2"),
        (
            "a,b\n" + "1\n" * 21,
            "is not readable as CSV: "
            + "".join(f"line {n} has 1 cells, " for n in range(2, 21))
            + "line 21 has 1 cells and 1 more; its first line has 2",
        ),
        ('a,b\n1,2\n"3,4\n5,6\n', "is not readable as CSV: line 3: unexpected end of data"),
        ('a,b\n"1"x,2\n', "is not readable as CSV: line 2: "),
        (b"a,b\n1,2\n\xe9,3\n", "line 3 is not UTF-8: save the file as CSV UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), "line 1 is not UTF-8: save the file as CSV UTF-8"),
    ],
)
def test_a_file_that_is_no_table_says_why(read, data, said):
    assert f"file.csv {said}" in refusal(read, data)


def test_a_misspelt_optional_column_is_noticed(read):
    said = refusal(
        read, "account_id,recharges_below\n", columns=("account_id",), optional=("recharge_below", "recharges")
    )
    assert "has a column 'recharges_below' that nothing reads: did you mean recharge_below?" in said


def test_a_file_that_is_not_there_or_a_folder_says_so(tmp_path):
    with pytest.raises(ConfigurationError, match=r"none\.csv does not exist: its columns are a, b"):
        tables.read(tmp_path / "none.csv", ("a", "b"))
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ConfigurationError, match=r"folder\.csv cannot be read: Is a directory"):
        tables.read(tmp_path / "folder.csv", ("a",), may_lack=True)


# ------------------------------------------------------------------------------------------------ what cells mean


def meaning(expression, *cells):
    return pl.DataFrame({"a": cells}, schema={"a": pl.String}).select(expression("a"))["a"].to_list()


def test_a_day_is_written_in_one_way():
    good = {"2026-10-31": date(2026, 10, 31), "2028-02-29": date(2028, 2, 29), "9999-12-31": date(9999, 12, 31)}
    assert meaning(tables.day, *good) == list(good.values())
    bad = ["2026-2-3", "2026-02-30", "0000-01-01", "20261031", "31.10.2026", "2026-10-31\n", " 2026-10-31", "", None]
    assert meaning(tables.day, *bad) == [None] * len(bad)


def test_a_whole_number_is_digits_only():
    assert meaning(tables.whole, "0", "007", "999999999") == [0, 7, 999_999_999]
    bad = ["-1", "+1", "1.0", "1e3", "1,000", "1000000000", "٣", "1\n", "", None]
    assert meaning(tables.whole, *bad) == [None] * len(bad)


def test_true_and_false_are_words():
    assert meaning(tables.true_or_false, "true", "TRUE", "False", "yes", "1", "", None) == [
        True,
        True,
        False,
        *[None] * 4,
    ]


# ------------------------------------------------------------------------------------------------ two ways of reading

PIECE = st.sampled_from(("a", "b", "c", "x", "7", " ", ",", ",", "\n", "\n", "\r\n", "\r", '"', "\u2028", "\x1c", "\x85", "\0", "é", ";"))


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(("a,b", "a,b,c", "b,a", "a,b,", "a;b", "a", "a,b,d", "\ufeffa,b,c", "")), st.lists(PIECE, max_size=24))
def test_a_file_cut_at_its_commas_reads_as_by_the_reader_of_csv(header, pieces):
    data = (header + "\n" + "".join(pieces)).encode()

    def outcome() -> tuple:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "f.csv"
            file.write_bytes(data)
            try:
                frame, sha = tables.read(file, ("a", "b"), ("c",))
            except ConfigurationError as error:
                return (str(error).replace(folder, ""),)
            return frame.schema, frame.rows(), sha

    with pytest.MonkeyPatch.context() as patch:
        quick = outcome()
        patch.setattr(tables, "_plain", lambda *_: None)
        assert quick == outcome()


def test_a_plain_file_is_cut_at_its_commas():
    assert tables._plain(b"a,b\n1,\n\n , \n2,3", ("a", "b"), ("c",), False).rows() == [(2, "1", None, None), (5, "2", "3", None)]
