"""The same statement in, the same bytes out: whatever the process, its hash seed, time zone, language or folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
MAKE = """
import hashlib, json, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
import statements_made as made
from pagesmade import publish_all
from reports.model import build
from test_report_mail import message
root = Path(sys.argv[1])
statements = {name: made.ALL[name]() for name in ("rich", "hostile", "open", "german")}
publish_all(root, statements)
for name, statement in statements.items():
    (root / "mail" / f"{name}.eml").write_bytes(message(build(statement)).as_bytes())
files = sorted(p for p in root.rglob("*") if p.is_file())
print(json.dumps({p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}))
"""


def made_by(folder: Path, **environment: str) -> dict[str, str]:
    """File → SHA-256 of everything a fresh interpreter published and mailed."""
    folder.mkdir()
    paths = [str(HERE), str(HERE.parents[1])]
    done = subprocess.run(
        [sys.executable, "-c", MAKE, str(folder), *paths],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_two_processes_make_the_same_bytes(tmp_path):
    one = made_by(tmp_path / "one", PYTHONHASHSEED="1", TZ="Asia/Tokyo", LC_ALL="C", POLARS_MAX_THREADS="3")
    two = made_by(
        tmp_path / "two", PYTHONHASHSEED="2", TZ="America/Los_Angeles", LC_ALL="C.UTF-8", POLARS_MAX_THREADS="1"
    )
    assert {Path(name).suffix for name in one} == {".html", ".csv", ".gz", ".json", ".parquet", ".eml"}
    assert len(one) > 60
    assert {name for name in one.keys() | two.keys() if one.get(name) != two.get(name)} == set()
