"""The arrows of the house: what may import what, what loads when, and what no file of the repository may say.

A module that is not in FLOORS yet fails here on purpose: say where it stands.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# From the ground up. A room imports rooms below it, never one of its own floor or above.
FLOORS = (
    {"settings", "segments", "periods", "money", "ordering", "redaction"},
    {"schemas", "lake", "tables", "prefixes", "buckets"},
    {"directory", "products", "acceptance"},
    {"sources", "rating", "credits", "taxes", "rollup", "reconcile", "invoice", "manifests", "export", "retention"},
    {"corrections"},
    {"audit"},
    {"closing"},
    {"statement"},
    {"operations", "explain"},
    {"jobs", "metrics"},
    {"nights", "doctor", "journal", "runreport", "alerts"},
    {"console"},
    {"cli"},
    {"__main__", "__init__"},
)
PURE = {"segments", "rating", "credits", "taxes", "rollup", "export", "invoice", "retention"}
"""From frames to frames: these neither store nor ask anything."""

REPORTS_MAY_SEE = {"etl.schemas", "etl.lake", "etl.settings", "etl.statement", "etl.money", "etl.periods", "etl.redaction"}
OPERATOR = {"operator", "jobs"}
"""The modules of reports that draw the operator's page: they alone see costs and margins."""
EXPLAIN = {"explained", "jobs"}
"""The modules of reports that are handed explanations of a statement's lines."""
REPORTS_THAT_RUN = {"jobs", "cli", "console"}
"""The modules of reports that are handed the verbs, and may name their type."""

HEAVY = {"polars", "pyarrow", "boto3", "botocore", "httpx", "dataframely", "airflow", "jinja2"}


# ------------------------------------------------------------------------------------------------ reading imports


@cache
def modules(package: str) -> dict[str, Path]:
    """Dotted name → file."""
    found = {}
    for file in sorted((ROOT / package).rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


@cache
def imports(file: Path) -> frozenset[str]:
    """Dotted names a file imports, anywhere in it; ``from etl import money`` is etl.money."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports hide the arrows"
            below = {f"{node.module}.{alias.name}" for alias in node.names}
            inside = modules(node.module.split(".")[0]) if node.module.split(".")[0] in ("etl", "reports") else {}
            found |= {name if name in inside else node.module for name in below}
    return frozenset(found)


def room(module: str) -> str:
    """etl.lake.store → lake; the package itself is __init__."""
    return module.split(".")[1] if "." in module else "__init__"


def tops(module: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(module)}


def floor(name: str) -> int:
    for number, rooms in enumerate(FLOORS):
        if name in rooms:
            return number
    pytest.fail(f"etl/{name} stands on no floor: add it to FLOORS, as low as it can be")


# ------------------------------------------------------------------------------------------------ the arrows


@pytest.mark.parametrize("module", modules("etl"))
def test_etl_looks_down_only(module):
    here = room(module)
    for name in imports(modules("etl")[module]):
        if name.split(".")[0] == "etl" and room(name) != here:
            assert floor(room(name)) < floor(here), f"{module} imports {name}"


@pytest.mark.parametrize("module", modules("etl"))
def test_etl_knows_no_scheduler_no_page_and_no_sandbox(module):
    assert not tops(modules("etl")[module]) & {"airflow", "jinja2", "reports", "dags", "sandbox", "stack", "tests"}


@pytest.mark.parametrize("module", [m for m in modules("etl") if room(m) in PURE])
def test_pure_rooms_touch_no_storage_and_no_network(module):
    names = imports(modules("etl")[module])
    assert not any(n.startswith("etl.lake") for n in names)
    assert not {n.split(".")[0] for n in names} & {"boto3", "httpx", "socket", "urllib", "requests", "subprocess"}


@pytest.mark.parametrize("module", modules("reports"))
def test_reports_sees_what_a_page_is_made_of_and_no_more(module):
    file = modules("reports")[module]
    seen = {".".join(name.split(".")[:2]) for name in imports(file) if name.split(".")[0] == "etl"}
    allowed = REPORTS_MAY_SEE | ({"etl.jobs"} if room(module) in REPORTS_THAT_RUN else set())
    allowed |= {"etl.operations"} if room(module) in OPERATOR else set()
    allowed |= {"etl.explain"} if room(module) in EXPLAIN else set()
    assert not seen - allowed
    assert not tops(file) & {"airflow", "dags", "sandbox", "stack", "tests", "httpx", "boto3"}


@pytest.mark.parametrize("file", sorted((ROOT / "dags").glob("*.py")), ids=lambda f: f.name)
def test_dags_know_airflow_etl_and_reports(file):
    own = {f.stem for f in (ROOT / "dags").glob("*.py")}
    assert not tops(file) - {"airflow", "etl", "reports"} - own - set(sys.stdlib_module_names)


def test_no_circle_within_a_package():
    """Where two modules of one room need each other there is one module too many."""
    for package in ("etl", "reports"):
        names = modules(package)
        graph = {m: {n for n in _top_level(f) if n in names and n != m} for m, f in names.items()}
        while leaves := [m for m, needs in graph.items() if not needs]:
            for leaf in leaves:
                del graph[leaf]
            graph = {m: needs - set(leaves) for m, needs in graph.items()}
        assert not graph, f"a circle of imports: {graph}"


def _top_level(file: Path) -> set[str]:
    """What is imported when the module is, not later inside a function."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = set()
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


# ------------------------------------------------------------------------------------------------ what loads when


@pytest.mark.parametrize("module", ["etl.cli", "etl.jobs", "etl.nights", "etl.settings", "etl.lake", "reports.cli"])
def test_nothing_heavy_loads_before_it_is_used(module):
    """A DAG file and --help import these; every second here is paid at each parse."""
    code = f"import sys, {module}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


# ------------------------------------------------------------------------------------------------ what is not said

SECONDS = ("etl/lake/", "etl/sources/_http.py", "etl/journal.py", "etl/metrics.py")
"""Where a float is a time to wait or a time taken, and no amount is in reach."""


@pytest.mark.parametrize("module", modules("etl"))
def test_no_float_comes_near_an_amount(module):
    """Lines that end in ``# ratio`` may: a share or a speed is shown and never billed."""
    file = modules("etl")[module]
    if file.relative_to(ROOT).as_posix().startswith(SECONDS):
        return
    source = file.read_text(encoding="utf-8")
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        named = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
        if named in ("float", "Float32", "Float64"):
            assert lines[node.lineno - 1].rstrip().endswith("# ratio"), f"{file.name}:{node.lineno}: {named}"


def _tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


# In pieces, so that this file does not say them either.
REGISTRIES = [
    "py" + "pi.org",
    "python" + "hosted" + ".org",
    "registry.npm" + "js",
    "conda." + "anaconda",
    "artifact" + "ory",
]
PATHS = ["work", "home", "root", "Users", "mnt"]
UNSAID = re.compile(
    "|".join(
        [*map(re.escape, REGISTRIES), "--(extra-)?index" + "-url", rf"(?<![\w.:/}}])/({'|'.join(PATHS)})/[A-Za-z]"]
    )
)


def test_no_file_names_a_package_registry_or_a_path_of_one_machine():
    found = []
    for file in _tracked():
        text = file.read_bytes().decode("utf-8", errors="ignore")
        found += [f"{file.relative_to(ROOT)}: {match.group()}" for match in UNSAID.finditer(text)]
    assert found == []
