"""A second real S3 server on loopback: Ceph's object gateway over a monitor and an OSD in memory, as a context manager.

    with ceph(folder) as (endpoint, access_key, secret_key):
        make_bucket(endpoint, access_key, secret_key, "lake")

Never part of `make test`: it takes Debian's packages radosgw, ceph-mon, ceph-osd and ceph-common, half a gigabyte.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

from stack.seaweed import Endpoint

_HOST = "127.0.0.1"
_PROGRAMS = ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "monmaptool", "ceph-authtool", "ceph")
_PATIENCE = 90.0


def absent() -> list[str]:
    """The programs this machine has not; empty when the server can be started."""
    return [name for name in _PROGRAMS if not shutil.which(name)]


@contextlib.contextmanager
def ceph(folder: Path) -> Iterator[Endpoint]:
    """Run a server until the block ends; what it stored is gone then. RuntimeError, with the end of its log, if it does
    not start."""
    folder = Path(folder).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    mon, mon_old, s3 = _free_ports(3)
    address = f"[v2:{_HOST}:{mon},v1:{_HOST}:{mon_old}]"
    fsid, disk = str(uuid.uuid4()), str(uuid.uuid4())
    conf = folder / "ceph.conf"
    conf.write_text(_CONF.format(fsid=fsid, address=address, folder=folder, s3=s3, host=_HOST))
    for name in ("mon", "osd"):
        (folder / name).mkdir()

    def run(*command: str) -> str:
        done = subprocess.run(
            [command[0], "-c", str(conf), *command[1:]], capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout[-500:]}{done.stderr[-1500:]}")
        return done.stdout

    with contextlib.ExitStack() as running, (folder / "server.log").open("wb") as log:

        def start(*command: str) -> None:
            process = subprocess.Popen(
                [command[0], "-c", str(conf), "-f", *command[1:]], stdout=log, stderr=log, start_new_session=True
            )
            running.callback(process.wait)
            running.callback(process.kill)

        run("monmaptool", "--create", "--clobber", "--fsid", fsid, "--addv", "a", address, str(folder / "monmap"))
        keys = str(folder / "keyring")
        run("ceph-authtool", keys, "--create-keyring")
        for who in ("mon.", "client.admin", "client.rgw", "osd.0"):
            allowed = [part for name in ("mon", "osd", "mgr") for part in ("--cap", name, "allow *")]
            run("ceph-authtool", keys, "--gen-key", "-n", who, *allowed)
        run("ceph-mon", "--mkfs", "-i", "a", "--monmap", str(folder / "monmap"), "--keyring", keys)
        start("ceph-mon", "-i", "a")
        run("ceph", "--connect-timeout", "60", "osd", "new", disk)
        run("ceph", "auth", "import", "-i", keys)
        run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", disk)
        start("ceph-osd", "-i", "0")
        start("radosgw", "-n", "client.rgw")
        _wait(f"http://{_HOST}:{s3}", folder / "server.log")
        user = json.loads(run("radosgw-admin", "user", "create", "--uid=tollbook", "--display-name=Tollbook"))
        yield Endpoint(f"http://{_HOST}:{s3}", user["keys"][0]["access_key"], user["keys"][0]["secret_key"])


_CONF = """\
[global]
fsid = {fsid}
mon_host = {address}
public_addr = {host}
cluster_addr = {host}
ms_bind_ipv6 = false
keyring = {folder}/keyring
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pgp_num = 4
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
run_dir = {folder}
admin_socket = {folder}/$name.$pid.asok
log_file = {folder}/$name.log
pid_file =
[mon]
mon_data = {folder}/mon
[osd]
osd_data = {folder}/osd
osd_objectstore = memstore
memstore_device_bytes = 4294967296
osd_class_load_list = *
osd_class_default_list = *
[client.rgw]
rgw_frontends = beast endpoint={host}:{s3}
rgw_enable_usage_log = false
rgw_data = {folder}
"""


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as reserved:
        taken = [reserved.enter_context(socket.socket()) for _ in range(count)]
        for one in taken:
            one.bind((_HOST, 0))
        return [one.getsockname()[1] for one in taken]


def _wait(endpoint: str, log: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        try:
            with opener.open(endpoint, timeout=2):
                return
        except (OSError, urllib.error.URLError):
            time.sleep(0.2)
    raise RuntimeError(f"Ceph's gateway did not start:\n{log.read_text(errors='replace')[-3000:]}")
