"""Machines out of network namespaces: each has its own address, name and loopback, and can be killed as a whole.

Everything here expects to run inside `enter`: network, mounts, host names and process ids of its own. When that process
ends, however it ends, the kernel takes all of it away; nothing of the machine it runs on is changed.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
TOOLS = ("ip", "unshare", "setpriv", "mount", "hostname")


class Unfit(Exception):
    """This machine cannot hold others; the text says what to do."""


def fit() -> None:
    """Unfit unless namespaces can be made here."""
    if os.geteuid() != 0:
        raise Unfit("network namespaces need root: run it as root, or with sudo")
    if missing := [tool for tool in TOOLS if not shutil.which(tool)]:
        raise Unfit(f"not installed: {', '.join(missing)} (Debian: iproute2, util-linux, hostname)")
    if subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "true"], capture_output=True).returncode:
        raise Unfit("this kernel or container allows no namespaces: it needs CAP_SYS_ADMIN and CAP_NET_ADMIN")


def enter(arguments: list[str]) -> int:
    """Run this Python with ``arguments`` as process 1 of a world of its own; its exit code."""
    world = ["unshare", "--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc"]
    child = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *world, sys.executable, *arguments])
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: child.kill())
    while True:
        with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C reaches the child, too: it stops in order, and then we do
            return child.wait()


def _do(*words: object) -> None:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if done.returncode:
        raise Unfit(f"{' '.join(map(str, words))}: {done.stderr.strip()}")


class Networks:
    """Bridges that machines are plugged into, and the names everybody knows everybody by."""

    def __init__(self, folder: Path, names: tuple[str, ...], meters: str) -> None:
        self.folder, self.names, self.meters = folder, names, meters
        self.machines: dict[str, Machine] = {}
        self.workdir = Path("/srv")
        """Where commands start, as the image says."""
        self.hosts = folder / "hosts"
        self.hosts.write_text("127.0.0.1 localhost\n")
        _do("ip", "link", "set", "lo", "up")
        _do("mount", "-t", "tmpfs", "tmpfs", "/run")  # where `ip netns` keeps its marks
        _do("mount", "--bind", self.hosts, "/etc/hosts")
        for number, name in enumerate(names):
            _do("ip", "link", "add", name, "type", "bridge")
            _do("ip", "addr", "add", f"10.89.{number}.254/24", "dev", name)
            _do("ip", "link", "set", name, "up")

    def machine(self, name: str, plugged: tuple[str, ...], mounts: Mapping[str, Path] | None = None) -> Machine:
        """A new machine on these networks, where each of ``mounts`` is seen at a place of its own."""
        made = self.machines[name] = Machine(self, name, plugged, len(self.machines) + 1, mounts or {})
        every = {other.name: other.addresses for other in self.machines.values()}
        _name(self.hosts, set(self.names), every)
        for one in self.machines.values():  # it knows by name who is on a network of its own, and nobody else
            _name(one.hosts, set(one.addresses), every)
        return made


def _name(file: Path, networks: set[str], every: Mapping[str, Mapping[str, str]]) -> None:
    lines = ["127.0.0.1 localhost"]
    for name, addresses in every.items():
        lines += [f"{address} {name}" for network, address in addresses.items() if network in networks][-1:]
    file.write_text("\n".join(lines) + "\n")


class Machine:
    """One machine: a network namespace, a host name, processes, and where the kernel allows it a CPU meter."""

    def __init__(
        self, networks: Networks, name: str, plugged: tuple[str, ...], number: int, mounts: Mapping[str, Path]
    ) -> None:
        self.name, self.processes, self.folder = name, [], networks.workdir
        self.home = networks.folder / name
        self.home.mkdir()
        self.hosts = self.home / "hosts"
        self.hosts.touch()
        self.mounts = {"/etc/hosts": self.hosts, **mounts}
        _do("ip", "netns", "add", name)
        _do("ip", "-n", name, "link", "set", "lo", "up")
        self.cables: list[str] = []
        self.addresses: dict[str, str] = {}
        for index, network in enumerate(networks.names):
            if network not in plugged:
                continue
            cable, plug = f"m{number}n{index}", f"p{number}n{index}"
            _do("ip", "link", "add", cable, "type", "veth", "peer", "name", plug, "netns", name)
            _do("ip", "link", "set", cable, "master", network, "up")
            _do("ip", "-n", name, "addr", "add", f"10.89.{index}.{number}/24", "dev", plug)
            _do("ip", "-n", name, "link", "set", plug, "up")
            self.cables.append(cable)
            self.addresses[network] = f"10.89.{index}.{number}"
        self.meter = Meter(f"{networks.meters}-{name}")

    def start(
        self, command: list[str], environment: Mapping[str, str], *, log: str = "", user: str = ""
    ) -> subprocess.Popen:
        """Start a command on this machine; its output goes to a file in the machine's home."""
        with (self.home / f"{log or Path(command[0]).name}.log").open("ab") as file:
            child = subprocess.Popen(
                self._inside(command, user), env=dict(environment), stdout=file, stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL, cwd=self.folder, start_new_session=True,
            )  # fmt: skip
        self.processes.append(child)
        return child

    def run(
        self, command: list[str], environment: Mapping[str, str], *, user: str = "", timeout: float = 300
    ) -> subprocess.CompletedProcess:
        """Run a command on this machine to its end; what it printed is in ``stdout``."""
        return subprocess.run(
            self._inside(command, user), env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, cwd=self.folder, text=True, errors="replace", timeout=timeout,
        )  # fmt: skip

    def _inside(self, command: list[str], user: str) -> list[str]:
        as_user = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups"] if user else []
        mounts = "".join(f"mount --bind {shlex.quote(str(there))} {here}; " for here, there in self.mounts.items())
        script = f'set -e; hostname {self.name}; {mounts}exec "$@"'
        metered = ["sh", "-c", f'{self.meter.join}exec "$@"', "sh"]  # first: a namespace of its own sees no control groups
        return [*metered, "ip", "netns", "exec", self.name, "unshare", "--uts", "sh", "-c", script, "sh", *as_user, *command]

    def pids(self) -> list[int]:
        """Every process of this machine."""
        done = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True, check=True)
        return [int(text) for text in done.stdout.split()]

    def power_off(self) -> int:
        """SIGKILL to all of it at once, and the cables out; how many processes that was."""
        for cable in self.cables:
            _do("ip", "link", "set", cable, "down")
        killed: set[int] = set()
        while alive := [pid for pid in self.pids() if not _ended(pid)]:  # what was just being started is seen the next time
            for pid in alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            killed.update(alive)
            time.sleep(0.05)
        self._reap()
        return len(killed)

    def power_on(self) -> None:
        for cable in self.cables:
            _do("ip", "link", "set", cable, "up")

    def stop(self, patience: float = 60) -> None:
        """Ask what was started here to end, wait, then make it."""
        for child in self.processes:
            child.terminate()
        until = time.monotonic() + patience
        for child in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(max(0.1, until - time.monotonic()))
        self.power_off()
        self.power_on()

    def _reap(self) -> None:
        for child in self.processes:
            child.wait()
        self.processes.clear()


def _ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


class Meter:
    """What a machine's processes use of CPU and memory, and how much CPU they may: control groups, either version."""

    def __init__(self, name: str) -> None:
        self.folders = [CGROUPS / kind / name for kind in ("cpu", "cpuacct", "memory") if (CGROUPS / kind).is_dir()]
        if (CGROUPS / "cgroup.controllers").exists():
            self.folders = [CGROUPS / name]
        try:
            for folder in self.folders:
                folder.mkdir(exist_ok=True)
        except OSError:
            self.folders = []

    @property
    def join(self) -> str:
        """Shell that puts the process it runs in here."""
        return "".join(f"echo $$ > {folder}/cgroup.procs; " for folder in self.folders)

    def seconds(self) -> float | None:
        """CPU seconds used so far; None where it is not counted."""
        for folder in self.folders:
            if (usage := folder / "cpuacct.usage").exists():
                return int(usage.read_text()) / 1e9
            if (stat := folder / "cpu.stat").exists() and "usage_usec" in (text := stat.read_text()):
                return int(text.split()[text.split().index("usage_usec") + 1]) / 1e6
        return None

    def megabytes(self) -> int | None:
        """Memory that is the processes' own at this moment, no file that is cached; None where it is not counted."""
        for folder in self.folders:
            if (stat := folder / "memory.stat").exists():
                found = dict(line.split() for line in stat.read_text().splitlines())
                return int(found.get("total_rss", found.get("anon", 0))) // 1_000_000
        return None

    def limit(self, cores: float) -> bool:
        """Allow no more than so many cores; whether that can be had here."""
        period = 100_000
        for folder in self.folders:
            for file, text in (("cpu.cfs_quota_us", f"{cores * period:.0f}"), ("cpu.max", f"{cores * period:.0f} {period}")):
                if (folder / file).exists():
                    (folder / file).write_text(text)
                    return True
        return False


def forget_meters(prefix: str, patience: float = 10) -> None:
    """Remove the control groups of machines that are gone, as soon as the last of their processes has ended."""
    until = time.monotonic() + patience
    while left := [*CGROUPS.glob(f"{prefix}-*"), *CGROUPS.glob(f"*/{prefix}-*")]:
        for folder in left:
            with contextlib.suppress(OSError):
                folder.rmdir()
        if time.monotonic() > until:
            return
        time.sleep(0.1)
