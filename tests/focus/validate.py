"""Hold focus.csv.gz to the FinOps Foundation's own validator, ``focus-validator``, without a network. Run by `make focus`.

It needs Python 3.12 (its NumPy has no wheel for a later one), so it gets an environment of its own, half a gigabyte, from
``requirements.lock`` beside this file, made by::

    printf 'focus-validator==2.2.1\\npyarrow<22\\n' | uv pip compile --python-version 3.12 --universal \\
        --generate-hashes --no-annotate --no-header - -o tests/focus/requirements.lock

It answers 0 even where rules fail, so its JUnit report is read. Exit code 0: no rule fails but those of `EXPECTED`; 1: one
does, or too few rules ran; 2: it could not be run.
"""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from datetime import date
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
ENVIRONMENT = ROOT / ".run" / "focus-validator"
PYTHON = "3.12"

SUPPORTED = (
    "ACCOUNT_NAMING_SUPPORTED", "USAGE_MEASUREMENT_SUPPORTED", "UNIT_PRICING_SUPPORTED", "PUBLIC_PRICE_LIST_SUPPORTED",
    "NEGOTIATED_PRICING_SUPPORTED", "SUB_ACCOUNT_SUPPORTED", "MULTIPLE_SUB_ACCOUNT_TYPES_SUPPORTED",
    "PRICING_BILLING_CURRENCY_DIFFERENCES_SUPPORTED", "VIRTUAL_CURRENCY_SUPPORTED", "TAGGING_SUPPORTED",
    "MULTIPLE_PRICING_CATEGORIES_SUPPORTED",
)  # fmt: skip
"""What the rules may take for granted of us; by default the validator leaves out every rule that depends on it."""

EXPECTED = {
    "InvoiceId-C-004-C": "asks that InvoiceId is empty, C-005 that it is not: one of the two fails in every file",
}
"""Rules that fail and why that is not ours to mend."""
LEAST_RUN = 250
"""Rules that must have run: fewer, and a pass says nothing."""


@dataclass(frozen=True)
class Outcome:
    """Rules by how they ended."""

    passed: frozenset[str]
    failed: frozenset[str]
    skipped: frozenset[str]

    @property
    def unexpected(self) -> list[str]:
        return sorted(self.failed - EXPECTED.keys())


def read(report: bytes) -> Outcome:
    """The validator's JUnit XML."""
    ended: dict[str, set[str]] = {"passed": set(), "failed": set(), "skipped": set()}
    for case in ElementTree.fromstring(report).iter("testcase"):
        tags = {child.tag for child in case}
        how = "failed" if tags & {"failure", "error"} else "skipped" if "skipped" in tags else "passed"
        ended[how].add(case.attrib["name"].split(" :: ")[0])
    return Outcome(**{how: frozenset(rules) for how, rules in ended.items()})


def verdict(outcome: Outcome) -> tuple[int, list[str]]:
    """(exit code, what to say)."""
    ran = len(outcome.passed) + len(outcome.failed)
    said = [
        f"{ran} rules run, {len(outcome.passed)} passed, {len(outcome.failed)} failed, {len(outcome.skipped)} do not apply"
    ]
    said += [f"  expected: {rule} {EXPECTED[rule]}" for rule in sorted(outcome.failed & EXPECTED.keys())]
    said += [f"  FAILED: {rule}" for rule in outcome.unexpected]
    if ran < LEAST_RUN:
        said.append(f"  only {ran} rules ran, at least {LEAST_RUN} should")
    return int(bool(outcome.unexpected) or ran < LEAST_RUN), said


# ------------------------------------------------------------------------------------------------ running it


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "focus.csv"
        data.write_bytes(made())
        try:
            report = validate(data, environment())
        except (subprocess.CalledProcessError, OSError) as error:
            output = getattr(error, "stderr", None) or getattr(error, "stdout", None) or ""
            print(f"focus-validator could not be run: {error}\n{output}", file=sys.stderr)
            return 2
    code, said = verdict(read(report))
    print("\n".join(said))
    return code


def made() -> bytes:
    """The rows of focus.csv.gz of a made statement that has everything, its names in ASCII: the specification asks for Unicode, the
    validator for less."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "reports")]
    import statements_made as statements

    from reports import files, model

    def plain(text: str | None) -> str | None:
        return text and text.encode("ascii", "ignore").decode().replace("+1 312 555 0142", "the phone")

    def held(who, month):
        rows = [row | {"item": plain(row["item"])} for row in statements.richly_held(who, month)]
        return [row | {"date": date(2026, 10, 28)} if "simulated" in (row["item"] or "") else row for row in rows]

    owners = [(kind, id_, plain(name)) for kind, id_, name in statements.rich().owners.rows()]
    page = model.build(statements.rich(owners=owners, held_monthly=held))
    return next(gzip.decompress(file.data) for file in files.make(page) if file.name == "focus.csv.gz")


def environment() -> Path:
    """The validator's own environment, made where it is not there or the lock has changed."""
    lock, stamp = HERE / "requirements.lock", ENVIRONMENT / "made-from.lock"
    if not stamp.exists() or stamp.read_bytes() != lock.read_bytes():
        print(f"Setting up focus-validator in {ENVIRONMENT.relative_to(ROOT)} (once; half a gigabyte)")
        run(
            UV,
            "venv",
            "-q",
            "--clear",
            "--python",
            PYTHON,
            "--no-python-downloads",
            str(ENVIRONMENT),
            env=with_python(),
        )
        run(UV, "pip", "install", "-q", "--python", str(ENVIRONMENT), "--require-hashes", "--no-deps", "-r", str(lock))
        stamp.write_bytes(lock.read_bytes())
    return ENVIRONMENT


def with_python() -> dict[str, str]:
    """The environment in which uv finds the interpreter. pyenv hides those that are installed but not chosen."""
    if "PYENV_VERSION" in os.environ or not shutil.which("pyenv"):
        return {}
    known = subprocess.run(["pyenv", "whence", f"python{PYTHON}"], capture_output=True, text=True, check=False)
    return {"PYENV_VERSION": known.stdout.split()[-1]} if known.stdout.split() else {}


def validate(data: Path, environment: Path) -> bytes:
    """The JUnit report of one file. The validator opens one of its own files by a path relative to where it is run."""
    (codes,) = environment.glob("lib/*/site-packages/focus_validator/rules/currency_codes.csv")
    beside = data.parent / "focus_validator" / "rules"
    beside.mkdir(parents=True)
    shutil.copy(codes, beside)
    report = data.parent / "report.xml"
    run(
        str(environment / "bin" / "focus-validator"), "--data-file", str(data), "--validate-version", "1.2",
        "--block-download", "--applicability-criteria", ",".join(SUPPORTED), "--output-type", "unittest",
        "--output-destination", str(report), cwd=data.parent,
    )  # fmt: skip
    return report.read_bytes()


UV = shutil.which("uv", path=os.pathsep.join([str(Path(sys.prefix) / "bin"), os.environ.get("PATH", "")])) or "uv"


def run(*command: str, env: dict[str, str] | None = None, **more) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | (env or {}), **more)


if __name__ == "__main__":
    sys.exit(main())
