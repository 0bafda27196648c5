"""What the tests of faults share: one small night nobody disturbed, and places to disturb others in."""

from __future__ import annotations

import itertools
import shutil
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
# their helpers are ours too
sys.path[:0] = [str(HERE.parent / "lake"), str(HERE.parent / "runs")]

from smallnight import Place, make, night, stored  # noqa: E402

from stack.seaweed import Endpoint, make_bucket, seaweedfs  # noqa: E402

_number = itertools.count()


@pytest.fixture(scope="session")
def template(tmp_path_factory) -> Path:
    """Settings, directory, rate card and one day's file, to be copied."""
    return make(tmp_path_factory.mktemp("template"))


@pytest.fixture(scope="session")
def undisturbed(template, tmp_path_factory) -> dict[str, bytes]:
    """Everything a night stores that nothing goes wrong in."""
    place = Place.copy(template, tmp_path_factory.mktemp("undisturbed"))
    night(place)
    return stored(place)


@pytest.fixture
def place(template, tmp_path) -> Place:
    """A workplace on disk where no night was yet."""
    return Place.copy(template, tmp_path / "place")


@pytest.fixture(scope="session")
def s3(tmp_path_factory) -> Endpoint:
    with seaweedfs(tmp_path_factory.mktemp("seaweed"), keep=False) as endpoint:
        make_bucket(*endpoint, "lake")
        yield endpoint


@pytest.fixture
def remote(template, tmp_path, s3):
    """Makes workplaces whose lake and pages are in the bucket: ``remote()``, or ``remote(proxy.url)``."""
    name = f"night-{next(_number)}"

    def at(url: str = s3.endpoint, **changes: str) -> Place:
        folder = tmp_path / "remote"
        shutil.rmtree(folder, ignore_errors=True)
        return Place.copy(template, folder, s3=s3._replace(endpoint=url, **changes), prefix=f"lake/{name}")

    return at
