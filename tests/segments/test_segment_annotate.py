"""A JSON-lines file annotated: everything else byte for byte, and all or nothing."""

import json
import os
from pathlib import Path

import pytest
from segments_reference import count
from segments_texts import vectors

from etl import segments
from etl.segments import MULTI_16BIT, annotate_jsonl


def annotate(tmp_path, data, **options):
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_bytes(data)
    lines = annotate_jsonl(source, target, **options)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]
    return lines, target.read_bytes()


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("batch", [4 << 20, 1, 3000])
def test_vectors(tmp_path, monkeypatch, ascii_only, batch):
    monkeypatch.setattr(segments, "_BATCH_BYTES", batch)
    stored = vectors()[:: 1 if batch > 3000 else 8]
    records = [{"id": i, "body": v["body"]} for i, v in enumerate(stored)]
    data = "".join(json.dumps(r, ensure_ascii=ascii_only) + "\n" for r in records).encode()
    lines, out = annotate(tmp_path, data)
    assert lines == len(stored)
    assert [json.loads(line) for line in out.decode().split("\n")[:-1]] == [
        {**r, "encoding": v["encoding"], "units": v["units"], "segments": v["segments"]}
        for r, v in zip(records, stored, strict=True)
    ]


def test_the_rest_stays_as_it_was(tmp_path):
    data = (
        b'{"price":1.10,"big":123456789012345678901234567890,"body":"a","e":1E5,"n":{"body":[1.0]}}\n'
        b' { "body" : null , "x" : "\xc3\xa9\\u00e9" } \r\n'
        b'{"body": "\\u0000\\ud83d\\ude00", "z": "}"}'
    )
    _, out = annotate(tmp_path, data)
    assert out == (
        b'{"price":1.10,"big":123456789012345678901234567890,"body":"a","e":1E5,"n":{"body":[1.0]}'
        b', "encoding": "GSM-7", "units": 1, "segments": 1}\n'
        b' { "body" : null , "x" : "\xc3\xa9\\u00e9" , "encoding": null, "units": null, "segments": null} \r\n'
        b'{"body": "\\u0000\\ud83d\\ude00", "z": "}", "encoding": "UCS-2", "units": 3, "segments": 1}'
    )


def test_earlier_counts_are_replaced(tmp_path):
    data = b'{ "units" : {"a": [1, "}"]}, "body":"a","segments":9 ,"n":1.10,"enc\\u006fding":null }\n'
    added = b', "encoding": "GSM-7", "units": 1, "segments": 1}\n'
    _, once = annotate(tmp_path, data)
    assert once == b'{ "body":"a","n":1.10' + added
    _, twice = annotate(tmp_path, once)
    assert twice == once


def test_numbers_longer_than_python_reads(tmp_path):
    number = b"9" * 10_000
    _, out = annotate(tmp_path, b'{"body": "", "n": ' + number + b"}\n")
    assert out.startswith(b'{"body": "", "n": ' + number + b", ")


def test_lone_surrogates_count_one_unit(tmp_path):
    lines = [r'{"body": "a\ud800"}', r'{"body": "\udc00\ud83d"}', r'{"body": "b"}', r'{"body": null}']
    _, out = annotate(tmp_path, "\n".join(lines).encode())
    got = [json.loads(line) for line in out.decode().split("\n")]
    assert [(r["encoding"], r["units"]) for r in got] == [("UCS-2", 2), ("UCS-2", 2), ("GSM-7", 1), (None, None)]
    assert got[0]["body"] == "a\ud800"


def test_empty_file(tmp_path):
    assert annotate(tmp_path, b"") == (0, b"")


def test_big_body(tmp_path):
    text = "a" * 10_000_000 + "é"
    _, out = annotate(tmp_path, json.dumps({"body": text}).encode() + b'\n{"body":"a"}\n')
    first, second = (json.loads(line) for line in out.splitlines())
    assert (first["units"], first["segments"]) == (10_000_001, 65_360)
    assert second["segments"] == 1


def test_capacity(tmp_path):
    text = "a" * 306
    _, out = annotate(tmp_path, json.dumps({"body": text}).encode(), multi=MULTI_16BIT)
    assert json.loads(out)["segments"] == count(text, multi=MULTI_16BIT)[2] == 3


def test_progress(tmp_path, monkeypatch):
    monkeypatch.setattr(segments, "_BATCH_BYTES", 100)
    seen = []
    data = b'{"body": "abc"}\n' * 50
    annotate(tmp_path, data, progress=lambda lines, read: seen.append((lines, read)))
    assert len(seen) > 3
    assert seen == sorted(seen)
    assert seen[-1] == (50, len(data))


def test_a_large_file_is_read_in_pieces(tmp_path):
    seen = []
    line = json.dumps({"body": "a" * 1_000_000}).encode() + b"\n"
    annotate(tmp_path, line * 10, progress=lambda lines, read: seen.append(read))
    assert len(seen) > 1
    assert max(b - a for a, b in zip([0, *seen], seen, strict=False)) < 8 << 20


def test_what_takes_the_place_of_a_file_is_on_disk_first(tmp_path, monkeypatch):
    done = []
    fsync, replace = os.fsync, Path.replace

    def synced(handle):
        done.append(("fsync", os.fstat(handle).st_size))
        fsync(handle)

    def replaced(path, target):
        done.append(("replace", path.stat().st_size))
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    _, out = annotate(tmp_path, b'{"body": "a"}\n')
    assert done == [("fsync", len(out)), ("replace", len(out))]


BAD = {
    "truncated": (b'{"body": "secret"', "not valid JSON"),
    "empty line": (b"", "not valid JSON"),
    "two objects": (b'{"body": "secret"} {}', "not valid JSON"),
    "not JSON's NaN": (b'{"body": "secret", "n": NaN}', "NaN is not JSON"),
    "raw control": (b'{"body": "secret\t"}', "not valid JSON"),
    "byte order mark": (b'\xef\xbb\xbf{"body": "secret"}', "not valid JSON"),
    "not UTF-8": (b'{"body": "secret\xff"}', "not UTF-8"),
    "surrogate in UTF-8": (b'{"body": "secret\xed\xa0\x80"}', "not UTF-8"),
    "array": (b'["body"]', "not a JSON object"),
    "string": (b'"body"', "not a JSON object"),
    "no body": (b'{"text": "secret"}', '"body" is missing'),
    "number": (b'{"body": 5}', "neither a string nor null"),
    "true": (b'{"body": true}', "neither a string nor null"),
    "nested": (b'{"body": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("before", [0, 2, 40])
def test_bad_lines(tmp_path, monkeypatch, bad, before):
    monkeypatch.setattr(segments, "_BATCH_BYTES", 200)
    line, reason = BAD[bad]
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_bytes(b'{"body": "a"}\n' * before + line + b'\n{"body": "a"}\n')
    for earlier in (None, b"as it was"):
        if earlier is not None:
            target.write_bytes(earlier)
        with pytest.raises(ValueError, match=reason) as raised:
            annotate_jsonl(source, target)
        assert f"{source}, line {before + 1}: " in str(raised.value)
        assert "secret" not in str(raised.value)
        assert raised.value.__cause__ is None
        assert [p.name for p in tmp_path.iterdir() if p != source] == ([] if earlier is None else ["out.jsonl"])
        assert earlier is None or target.read_bytes() == earlier


def test_interrupted(tmp_path):
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_bytes(b'{"body": "a"}\n')

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        annotate_jsonl(source, target, stop)
    assert list(tmp_path.iterdir()) == [source]


def test_in_place(tmp_path):
    path = tmp_path / "both.jsonl"
    path.write_bytes(b'{"body": "a"}\n')
    assert annotate_jsonl(str(path), str(path)) == 1
    assert json.loads(path.read_bytes())["segments"] == 1


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError):
        annotate_jsonl(tmp_path / "none.jsonl", tmp_path / "out.jsonl")
    (tmp_path / "in.jsonl").write_bytes(b"")
    with pytest.raises(FileNotFoundError):
        annotate_jsonl(tmp_path / "in.jsonl", tmp_path / "no" / "out.jsonl")
    assert [p.name for p in tmp_path.iterdir()] == ["in.jsonl"]
