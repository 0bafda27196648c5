"""Stores for the lake's tests: local disk, and a real S3 server started once a session on loopback."""

from __future__ import annotations

import itertools

import pytest
from lakehelp import ticking

from etl.lake import Lake, Partition, Store, open_store
from stack.seaweed import Endpoint, make_bucket, seaweedfs

_number = itertools.count()


@pytest.fixture(scope="session")
def server(tmp_path_factory) -> Endpoint:
    with seaweedfs(tmp_path_factory.mktemp("seaweed"), keep=False) as endpoint:
        make_bucket(*endpoint, "lake")
        yield endpoint


@pytest.fixture(params=["local", "s3"])
def store(request, tmp_path) -> Store:
    """A fresh, empty store of each kind."""
    if request.param == "local":
        return open_store(tmp_path / "lake")
    return request.getfixturevalue("s3_store")


@pytest.fixture
def s3_store(server) -> Store:
    return open_store(
        f"s3://lake/test-{next(_number)}",
        endpoint_url=server.endpoint,
        region="us-east-1",
        access_key=server.access_key,
        secret_key=server.secret_key,
    )


@pytest.fixture
def local_store(tmp_path) -> Store:
    return open_store(tmp_path / "lake")


@pytest.fixture
def lake(store) -> Lake:
    return Lake(store, run_id="run-1", config="c1", code="v1", clock=ticking())


@pytest.fixture
def local_lake(local_store) -> Lake:
    return Lake(local_store, run_id="run-1", clock=ticking())


@pytest.fixture
def p() -> Partition:
    return Partition.of("events", date="2026-10-01", source="twilio")
