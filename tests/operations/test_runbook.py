"""docs/runbook.md: every command line in it is one, every measure and setting it names exists; run on a real lake with --long."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from commandlines import parse

from etl.metrics import METRICS

ROOT = Path(__file__).resolve().parents[2]
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
OURS = ("python -m ", "airflow ")


def commands(text: str) -> list[str]:
    """Every command line of a page, each once: of its blocks, and those within sentences."""
    found = []
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        found += [line.split("  #")[0].strip() for line in block.splitlines()]
    inline = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    found += [code for code in re.findall(r"`([^`]+)`", inline) if code.startswith(OURS)]
    return list(dict.fromkeys(line for line in found if line and not line.startswith("export ")))


@pytest.mark.parametrize("line", commands(RUNBOOK))
def test_a_command_of_the_runbook_is_one(line):
    parse(shlex.split(line))


@pytest.mark.parametrize("line", [
    "python -m etl run --dat 2026-10-22", "python -m etl ruin", "python -m reports mail", "airflow dags lost",
    "python -m etl rates chek", "rm -rf lake",
])  # fmt: skip
def test_a_line_that_is_none_is_found(line):
    with pytest.raises(AssertionError):
        parse(shlex.split(line))


def test_nothing_of_the_page_is_overlooked():
    assert len(commands(RUNBOOK)) > 30
    assert not [line for line in commands(RUNBOOK) if not line.startswith(OURS)]


def test_every_measure_it_names_exists():
    named = set(re.findall(r"`tollbook\.([a-z.]+?)(?:\.(?:pull\.)?<source>.*?)?`", RUNBOOK)) - {""}
    assert named and named <= {name.removesuffix(".") for name in METRICS}, named - set(METRICS)


def test_every_kind_of_trouble_has_its_section_and_what_to_do():
    sections = re.split(r"^## ", RUNBOOK, flags=re.MULTILINE)[1:]
    assert len(sections) >= 18
    for section in sections:
        title = section.splitlines()[0]
        assert "**Shows**" in section and "**Do**" in section and "`" in section, title


def test_what_a_mail_points_to_is_there():
    from etl import alerts

    texts = [alerts.late("2026-10-22", 8).html, alerts.held([]).html]
    titles = [re.search("“(.+?)”", text)[1] for text in texts]
    assert all(f"## {title}\n" in RUNBOOK for title in titles)


# Where something other than 0 or 3 is right: nothing of that name is held on a lake that is well, and no night was drawn.
FAILS = {"python -m etl accept": 1, "python -m etl night": 1}


def test_every_command_of_ours_runs(long, tmp_path):
    """On a small lake of October, which is well: each exits with 0, with 3, or as `FAILS` says."""
    if not long:
        pytest.skip("long form only: two minutes of commands")
    sys.path.insert(0, str(ROOT / "tests" / "runs"))
    from workplace import environment, workplace

    from sandbox.launch import launch
    from stack.mailbox import mailbox

    with launch("--messages-per-day", "60", "--calls-per-day", "20") as provider, mailbox(tmp_path / "mail") as (_, port):
        settings = workplace(tmp_path / "place", provider, start="2026-10-01")
        (settings.parent / "config").mkdir()
        (settings.parent / "config" / "rates").symlink_to(settings.parent / "rates")
        known = environment(settings, provider, port) | {
            "AIRFLOW_HOME": os.environ["AIRFLOW_HOME"], "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }  # fmt: skip

        def run(line: str) -> tuple[int, str]:
            done = subprocess.run(shlex.split(line), env=known, cwd=settings.parent, capture_output=True, text=True)
            return done.returncode, done.stderr[-500:]

        assert run("python -m etl run --from 2026-10-01 --to 2026-10-31")[0] == 0
        wrong = {}
        for line in commands(RUNBOOK):
            if line.startswith("python"):
                code, said = run(line)
                expected = next((c for start, c in FAILS.items() if line.startswith(start)), None)
                if not (code == expected if expected else code in (0, 3)):
                    wrong[line] = (code, said)
        assert wrong == {}
