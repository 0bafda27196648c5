"""The same on a real S3 server: what a browser is told about each object, and what publishing again costs."""

from __future__ import annotations

import boto3
import pytest

from etl.lake import open_store
from reports.publish import Publisher
from stack.seaweed import make_bucket, seaweedfs


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with seaweedfs(tmp_path_factory.mktemp("seaweed"), keep=False) as endpoint:
        make_bucket(*endpoint, "statements")
        yield endpoint


def test_objects_have_their_headers(server, statements):
    url, access, secret = server
    store = open_store(
        "s3://statements/site", endpoint_url=url, region="us-east-1", access_key=access, secret_key=secret
    )
    assert Publisher(store).publish(statements["usual"]).written == 19
    client = boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id=access, aws_secret_access_key=secret
    )
    page = client.head_object(Bucket="statements", Key="site/acct_7Q2M/2026-10/index.html")
    assert (page["ContentType"], page["CacheControl"]) == ("text/html; charset=utf-8", "private, no-cache")
    csv = client.head_object(Bucket="statements", Key="site/acct_7Q2M/2026-10/rev-1/charges.csv")
    assert csv["ContentDisposition"] == 'attachment; filename="acct_7Q2M_2026-10_charges.csv"'
    assert csv["CacheControl"].endswith("immutable")
    again = Publisher(store).publish(statements["usual"])
    assert (again.written, again.kept) == (0, 19)
