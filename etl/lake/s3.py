"""A lake in an S3 bucket: single PUTs, conditional creation, whole-object reads."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import random
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from etl.lake.store import Conflict, NotFound, StoreError, Unknown, check_key

_READS = 6
_LONGEST_LINK = 7 * 86_400
_LARGEST = 5 * 1024**3
_MISSING = {"NoSuchKey", "NotFound", "404"}
_REMEDIES = {
    ("NoSuchBucket",): "create the bucket, or correct url",
    ("RequestTimeTooSkewed",): "set this machine's clock",
    ("PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed", "301", "307", "400"): (
        "set region and endpoint_url to the bucket's own"
    ),
    ("AccessDenied", "ExpiredToken", "InvalidToken", "InvalidAccessKeyId", "SignatureDoesNotMatch", "403"): (
        "check the connection's keys, and what they may do in this bucket"
    ),
    ("SlowDown", "ServiceUnavailable", "InternalError", "500", "503"): (
        "the server is overloaded or broken: run it again later"
    ),
}
# boto3 raises the first for what it saw, lets the next two escape from a body it streams, and the last from a server
# that redirects the question of where the bucket is, too
_TRANSPORT = (BotoCoreError, HTTPError, OSError, RecursionError)
_CONFIG = Config(
    signature_version="s3v4",
    s3={"addressing_style": "path"},
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
    connect_timeout=10,
    read_timeout=30,
    retries={"mode": "standard", "total_max_attempts": 8},
    max_pool_connections=16,
    proxies={},
)
# a session loads S3's description from disk, which takes longer than many a commit, and makes one client at a time
_session = functools.cache(boto3.Session)
_making = threading.Lock()


class S3Store:
    """Objects below `s3://bucket/prefix`.

    One PUT an object and never a multipart upload: some servers ignore the condition of a multipart upload.
    Each PUT carries Content-MD5, so a bit flipped on the way is refused, and its sha256 as metadata, so `digest` is
    one HEAD. Proxies named in the environment are not used. TLS certificates are always verified; a private
    authority is named by `AWS_CA_BUNDLE`.
    """

    parallel = 8

    def __init__(
        self,
        url: str,
        *,
        endpoint_url: str | None = None,
        region: str | None = None,
        access_key: str | None = None,
        secret_key: str | None = None,
        single_writer: bool = False,
    ) -> None:
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        prefix = prefix.strip("/")
        if not bucket:
            raise ValueError(f"no bucket in {url!r}")
        if prefix:
            check_key(prefix)
        if (access_key is None) != (secret_key is None):
            raise ValueError("give both access_key and secret_key, or neither")
        self.bucket = bucket
        self.prefix = prefix + "/" if prefix else ""
        self.url = f"s3://{bucket}/{prefix}".rstrip("/")
        self.single_writer = single_writer
        with _making:
            self._client = _session().client(
                "s3",
                endpoint_url=endpoint_url,
                region_name=region,
                aws_access_key_id=access_key,
                aws_secret_access_key=secret_key,
                config=_CONFIG,
            )
        self.endpoint = self._client.meta.endpoint_url

    def local_path(self, key: str) -> None:
        check_key(key)

    def get(self, key: str) -> bytes:
        # boto3 retries the request but not the reading of its body, so for that the whole exchange is repeated here
        for attempt in range(_READS):
            if attempt:
                time.sleep(min(2.0, 0.05 * 2**attempt) * random.uniform(0.5, 1.0))  # noqa: S311
            try:
                answer = self._client.get_object(Bucket=self.bucket, Key=self._key(key))
            except ClientError as error:
                self._refuse(error, f"cannot read {key}")
            except _TRANSPORT as error:  # asked often enough by boto3: a dead server must not hold a night for hours
                raise StoreError(f"cannot read {key} from {self.url}: {error}") from error
            try:
                with contextlib.closing(answer["Body"]) as body:
                    return body.read()  # raises if fewer bytes come than were announced
            except _TRANSPORT as error:
                failure = error
        raise StoreError(f"cannot read {key} from {self.url}: {failure}") from failure

    def put(
        self,
        key: str,
        data: bytes,
        *,
        content_type: str | None = None,
        cache_control: str | None = None,
        disposition: str | None = None,
    ) -> None:
        headers = {"ContentType": content_type, "CacheControl": cache_control, "ContentDisposition": disposition}
        self._put(key, data, **{name: value for name, value in headers.items() if value})

    def create(self, key: str, data: bytes) -> None:
        self._put(key, data, IfNoneMatch="*")

    def presign(self, key: str, seconds: int) -> str:
        """A link to read one object with, good for so many seconds: ValueError beyond the 7 days that S3 allows."""
        if not 1 <= seconds <= _LONGEST_LINK:
            raise ValueError(f"a link lives from 1 to {_LONGEST_LINK} seconds, not {seconds}")
        target = {"Bucket": self.bucket, "Key": self._key(key)}
        return self._client.generate_presigned_url("get_object", Params=target, ExpiresIn=seconds)

    def digest(self, key: str) -> str:
        try:
            answer = self._client.head_object(Bucket=self.bucket, Key=self._key(key))
        except ClientError as error:
            self._refuse(error, f"cannot look up {key}")
        except _TRANSPORT as error:
            raise StoreError(f"cannot look up {key} in {self.url}: {error}") from error
        known = answer.get("Metadata", {}).get("sha256")
        return known or hashlib.sha256(self.get(key)).hexdigest()

    def exists(self, key: str) -> bool:
        try:
            self._client.head_object(Bucket=self.bucket, Key=self._key(key))
        except ClientError as error:
            try:
                self._refuse(error, f"cannot look up {key}")
            except NotFound:
                return False
        except _TRANSPORT as error:
            raise StoreError(f"cannot look up {key} in {self.url}: {error}") from error
        return True

    def list(self, prefix: str, *, limit: int | None = None) -> Iterator[str]:
        folder = prefix.rpartition("/")[0]
        if folder:
            check_key(folder)
        found: list[str] = []
        request: dict[str, Any] = {"Bucket": self.bucket, "Prefix": self.prefix + prefix}
        if limit is not None:
            request["MaxKeys"] = min(limit, 1000)
        try:
            for page in self._client.get_paginator("list_objects_v2").paginate(**request):
                found += [item["Key"][len(self.prefix) :] for item in page.get("Contents", ())]
                if limit is not None and len(found) >= limit:
                    break
        except ClientError as error:
            self._refuse(error, f"cannot list {prefix}")
        except _TRANSPORT as error:
            raise StoreError(f"cannot list {prefix} in {self.url}: {error}") from error
        # not every server sorts as S3 does, and a folder placeholder is no object of ours
        yield from sorted(key for key in found if not key.endswith("/"))[:limit]

    def delete(self, key: str) -> None:
        try:
            self._client.delete_object(Bucket=self.bucket, Key=self._key(key))
        except ClientError as error:
            with contextlib.suppress(NotFound):
                self._refuse(error, f"cannot delete {key}")
        except _TRANSPORT as error:
            raise StoreError(f"cannot delete {key} in {self.url}: {error}") from error

    def sweep(self, older_than: float) -> Sequence[str]:
        return []  # a PUT that did not finish leaves nothing

    def _key(self, key: str) -> str:
        return self.prefix + check_key(key)

    def _put(self, key: str, data: bytes, **headers: str) -> None:
        if len(data) > _LARGEST:
            raise StoreError(f"{key} has {len(data)} bytes, S3 takes 5 GiB in one PUT: commit several frames instead")
        try:
            self._client.put_object(
                Bucket=self.bucket,
                Key=self._key(key),
                Body=data,
                ContentMD5=base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode(),
                Metadata={"sha256": hashlib.sha256(data).hexdigest()},
                **headers,
            )
        except ClientError as error:
            self._refuse(error, f"cannot write {key}")
        except _TRANSPORT as error:
            raise Unknown(f"no answer to writing {key} to {self.url}: {error}") from error

    def _refuse(self, error: ClientError, what: str) -> None:
        """Raise what the server's answer means. Never returns."""
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        # 409 is AWS's word for losing a race of conditional writes while both are under way
        if status in (409, 412) and error.operation_name == "PutObject":
            raise Conflict(f"{what}: {code}") from error
        if code in _MISSING:
            raise NotFound(f"{what}: no such object in {self.url}") from error
        remedy = next((f"; {text}" for codes, text in _REMEDIES.items() if code in codes), "")
        kind = Unknown if status >= 500 and error.operation_name == "PutObject" else StoreError
        raise kind(f"{what} in {self.url}: {error}{remedy}") from error
