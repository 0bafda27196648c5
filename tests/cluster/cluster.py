"""The services of docker-compose.yml on machines of their own, and what a test asks of them."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from composed import Service, placed, raw, services, variables
from machines import Machine, Networks

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))
PACKAGES = REPOSITORY / ".venv" / "cluster" / "bin"
"""Exactly the packages of the image, from requirements.cluster.lock."""

LEFT_OUT = {"mail", "init", "worker"}
"""The night mails nothing; init runs to its end; workers come and go."""
ORDER = ("postgres", "redis", "store", "api-server", "scheduler", "dag-processor", "triggerer")
PATIENCE = 300

SETTINGS = """\
start = 2026-03-01
directory = "directory"
rates = "rates"
settle_hours = 0
share_days = {share}

[lake]
url = "lake"
[reports.store]
url = "published"

[sources.twilio]
kind = "twilio"
connection = "twilio"
base_url = "http://127.0.0.1:8010"  # this machine's own loopback; forward.py leads on to the provider
"""


@dataclass
class Run:
    """What became of one DAG run."""

    state: str
    seconds: float
    tasks: list[dict[str, Any]]

    @property
    def shares(self) -> dict[str, int]:
        """Machine → tasks it brought to their end."""
        names = sorted({t["hostname"] for t in self.tasks if t["hostname"]})
        return {name: sum(t["hostname"] == name for t in self.tasks) for name in names}

    @property
    def kinds(self) -> dict[str, dict[str, int]]:
        """Task without its group → machine → how many of them it brought to their end."""
        found: dict[str, dict[str, int]] = {}
        for task in sorted(self.tasks, key=lambda t: (t["start_date"] or "", t["hostname"] or "")):
            if task["hostname"]:
                of = found.setdefault(kind(task), {})
                of[task["hostname"]] = of.get(task["hostname"], 0) + 1
        return found


def kind(task: dict[str, Any]) -> str:
    """`read_share` of `twilio_shares.read_share`."""
    return task["task_id"].rpartition(".")[2]


class Cluster:
    """A context: all of it is gone at its end."""

    def __init__(self, folder: Path, options: Any) -> None:
        self.folder, self.options = folder, options
        self.given = {name: secrets.token_hex(16) for name, default in variables(raw()).items() if default is None}
        self.given |= {
            "FERNET_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode(),
            "ADMIN_EMAIL": "ops@example.com",
            "MAIL_SENDER": "billing@example.com",
            "WORKER_CONCURRENCY": str(options.concurrency),
        }
        from sandbox.company import MAIN

        self.given |= {"TWILIO_LOGIN": MAIN.sid, "TWILIO_PASSWORD": MAIN.token}
        self.machines: dict[str, Machine] = {}
        self.peaks: dict[str, int] = {}

    def __enter__(self) -> Cluster:
        table = raw()
        self.networks = Networks(self.folder, tuple(table["networks"]), self.folder.name)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/srv"], check=True)
        for place, source in {"/srv/tollbook": self._image(), "/srv/config": self._workplace()}.items():
            Path(place).mkdir()
            subprocess.run(["mount", "--bind", str(source), place], check=True)
        Path("/srv/airflow").mkdir()
        self.networks.workdir = Path("/srv/tollbook")
        programs = self.folder / "bin"
        programs.mkdir()
        (programs / "redis-server").symlink_to("/usr/bin/redis-check-rdb")  # as in Debian's package, less its service
        (programs / "weed").symlink_to(REPOSITORY / ".venv" / "bin" / "weed")
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        self.path = ":".join(map(str, (PACKAGES, programs, *found[-1:], "/usr/sbin:/usr/bin:/sbin:/bin")))
        return self

    def __exit__(self, *_: object) -> None:
        for machine in reversed(self.machines.values()):
            machine.power_off()

    def _image(self) -> Path:
        """What the Dockerfile copies, and nothing else of the checkout."""
        place = self.folder / "image"
        for source in re.findall(r"^COPY (\w+) ", (REPOSITORY / "Dockerfile").read_text(encoding="utf-8"), re.M):
            if (self.options.code / source).is_dir():  # an older checkout may lack one
                shutil.copytree(self.options.code / source, place / source)
        if self.options.bucket:
            file = place / "etl" / "buckets.py"
            text, found = re.subn(r"^BUCKET_BYTES = .*$", f"BUCKET_BYTES = {self.options.bucket}", file.read_text(), flags=re.M)
            if found != 1:
                raise RuntimeError("etl/buckets.py says BUCKET_BYTES in another way")
            file.write_text(text)
        return place

    def _workplace(self) -> Path:
        """Settings, directory and rate card for the sandbox, as config/ of a checkout."""
        place = self.folder / "config"
        place.mkdir()
        command = [sys.executable, "-m", "sandbox", "directory", "--messages-per-day", str(self.options.messages)]
        command += ["--out", str(place / "directory")]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=REPOSITORY)
        shutil.copytree(REPOSITORY / "config" / "rates", place / "rates")
        (place / "tollbook.toml").write_text(SETTINGS.format(share=str(bool(self.options.bucket)).lower()))
        return place

    # ----------------------------------------------------------------------------------------------- starting

    def service(self, name: str, **given: str) -> Service:
        """A service of the file, with its volumes in this run's folder."""

        def folder(volume: str) -> Path:
            made = self.folder / "volumes" / volume
            made.mkdir(parents=True, exist_ok=True)
            return made

        return placed(services(self.given | given)[name], folder)

    def environment(self, service: Service) -> dict[str, str]:
        """What a container would see, and the differences that a checkout makes."""
        seen = {"PATH": self.path, "HOME": "/root", "LANG": "C.UTF-8", **service.environment}
        if "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN" in service.environment:
            # The sandbox's days are long ago: the schedule shall not catch up with today on its own.
            seen["TOLLBOOK_START"] = (datetime.now(UTC).date() + timedelta(days=1)).isoformat()
        return seen

    def machine(self, name: str, service: Service) -> Machine:
        home = self.folder / "airflow" / name
        home.mkdir(parents=True)
        self.machines[name] = self.networks.machine(name, service.networks, {"/srv/airflow": home})
        return self.machines[name]

    def start(self) -> tuple[bool, str]:
        """All services but the workers, in the order they wait for each other; whether all became well, and how long each
        took."""
        told = []
        self._provider()
        for name in ORDER:
            began, service = time.monotonic(), self.service(name)
            machine = self.machine(name, service)
            if name == "postgres":
                self._database(machine, service)
            elif name == "store":
                service = Service(**{**vars(service), "command": ["weed", "-logtostderr=true", *service.command]})
            elif name == "api-server":
                self._initialise()
            machine.start(service.command, self.environment(service), log=name, user="postgres" if name == "postgres" else "")
            self.wait_until_well(machine, service)
            told.append(f"{name} {time.monotonic() - began:.0f} s")
            print(f"  {told[-1]}", flush=True)
        self._api()
        return True, ", ".join(told)

    def _provider(self) -> None:
        service = Service("provider", [], {}, ("work",), [])
        machine = self.machine("provider", service)
        command = [sys.executable, "-m", "sandbox", "serve", "--host", machine.addresses["work"], "--port", "8010"]
        command += ["--messages-per-day", str(self.options.messages)]
        machine.start(command, self.environment(service) | {"PYTHONPATH": str(REPOSITORY)}, log="sandbox")

    def _database(self, machine: Machine, service: Service) -> None:
        """What the image's entrypoint does before it runs the command."""
        given = service.environment
        data, password = Path(given["PGDATA"]), self.folder / "password"
        data.parent.mkdir(parents=True, exist_ok=True)
        password.write_text(given["POSTGRES_PASSWORD"])
        for one in (data.parent, password):
            shutil.chown(one, "postgres", "postgres")
        Path("/run/postgresql").mkdir(exist_ok=True)  # where its socket lies
        shutil.chown("/run/postgresql", "postgres", "postgres")
        made = machine.run(
            ["initdb", "-D", str(data), "-U", given["POSTGRES_USER"], f"--pwfile={password}", "-A", "scram-sha-256"],
            self.environment(service), user="postgres",
        )  # fmt: skip
        if made.returncode:
            raise RuntimeError(made.stdout)
        with (data / "pg_hba.conf").open("a") as file:
            file.write("host all all all scram-sha-256\n")
        single = ["postgres", "--single", "-D", str(data), "-j", "postgres"]
        script = f"echo 'CREATE DATABASE {given['POSTGRES_DB']};' | {' '.join(single)}"
        machine.run(["sh", "-c", script], self.environment(service), user="postgres")

    def _initialise(self) -> None:
        service = self.service("init")
        machine = self.machine("init", service)
        began = time.monotonic()
        done = machine.run(service.command, self.environment(service), timeout=PATIENCE)
        (machine.home / "init.log").write_text(done.stdout)
        if done.returncode:
            raise RuntimeError(f"init failed:\n{done.stdout[-3000:]}")
        print(f"  init {time.monotonic() - began:.0f} s", flush=True)

    def wait_until_well(self, machine: Machine, service: Service) -> None:
        """By the health check of the file. RuntimeError if it does not become well."""
        until, said = time.monotonic() + PATIENCE, ""
        while time.monotonic() < until:
            if any(child.poll() is not None for child in machine.processes):
                break
            done = machine.run(service.health, self.environment(service), timeout=60)
            if done.returncode == 0:
                return
            said = done.stdout
            time.sleep(1)
        raise RuntimeError(f"{machine.name} is not well: {said[-1000:]}")

    def worker(self, name: str, lake: str) -> Machine:
        """A worker on a machine of its own, switched on anew, that writes into this lake; it is well."""
        service = self.service("worker", LAKE_BUCKET=lake)
        machine = self.machines.get(name) or self.machine(name, service)
        if self.options.cores:
            machine.meter.limit(self.options.cores)
        environment = self.environment(service)
        self.forward(machine, environment)
        machine.start(service.command, environment, log="worker")
        self.wait_until_well(machine, service)
        return machine

    def forward(self, machine: Machine, environment: dict[str, str]) -> None:
        script = str(REPOSITORY / "tests" / "cluster" / "forward.py")
        machine.start([sys.executable, script, "8010", "provider", "8010"], environment, log="forward")

    def bucket(self, name: str) -> None:
        from stack.seaweed import make_bucket

        make_bucket("http://store:8333", self.given["S3_ACCESS_KEY"], self.given["S3_SECRET_KEY"], name)

    def store(self, bucket: str) -> Any:
        """The bucket, as our own code sees it."""
        from etl.lake import open_store

        keys = {"access_key": self.given["S3_ACCESS_KEY"], "secret_key": self.given["S3_SECRET_KEY"]}
        return open_store(f"s3://{bucket}", endpoint_url="http://store:8333", **keys)

    # ---------------------------------------------------------------------------------------------- Airflow's API

    def _api(self) -> None:
        self.api = httpx.Client(base_url="http://api-server:8080", timeout=30, trust_env=False)
        login = {"username": "admin", "password": self.given["ADMIN_PASSWORD"]}
        answer = self.api.post("/auth/token", json=login)
        answer.raise_for_status()
        self.api.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        until = time.monotonic() + PATIENCE
        while self.api.get("/api/v2/dags/usage_daily").status_code != 200:
            if time.monotonic() > until:
                raise RuntimeError(f"no DAG: {self.api.get('/api/v2/importErrors').text}")
            time.sleep(1)
        self._ask("PATCH", "/api/v2/dags/usage_daily", json={"is_paused": False})

    def _ask(self, method: str, path: str, **more: Any) -> Any:
        for patience in (1, 2, 4, 8, None):
            try:
                answer = self.api.request(method, path, **more)
                break
            except httpx.TransportError:
                if patience is None:
                    raise
                time.sleep(patience)
        if answer.is_error:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json()

    def trigger(self, run_id: str) -> None:
        day = self.options.day.isoformat()
        body = {"dag_run_id": run_id, "logical_date": None, "partition_key": day, "conf": {"lookback_days": self.options.days}}
        self._ask("POST", "/api/v2/dags/usage_daily/dagRuns", json=body)

    def tasks(self, run_id: str) -> list[dict[str, Any]]:
        path = f"/api/v2/dags/usage_daily/dagRuns/{run_id}/taskInstances"
        found, total = [], 1
        while len(found) < total:
            page = self._ask("GET", path, params={"limit": 100, "offset": len(found)})
            found, total = found + page["task_instances"], page["total_entries"]
        return found

    def tries(self, task: dict[str, Any]) -> list[dict[str, Any]]:
        """Every attempt at a task, the last one too."""
        path = f"/api/v2/dags/usage_daily/dagRuns/{task['dag_run_id']}/taskInstances/{task['task_id']}"
        path += f"/{task['map_index']}/tries" if task["map_index"] >= 0 else "/tries"
        return self._ask("GET", path)["task_instances"]

    def state(self, run_id: str) -> str:
        return self._ask("GET", f"/api/v2/dags/usage_daily/dagRuns/{run_id}")["state"]

    def wait(self, run_id: str, patience: float = 3600) -> Run:
        """The run when it has ended, with the seconds from its start to its end as Airflow counts them."""
        until = time.monotonic() + patience
        while self.state(run_id) not in ("success", "failed"):
            if time.monotonic() > until:
                raise RuntimeError(f"{run_id} does not end: {self.tasks(run_id)}")
            self.look()
            time.sleep(1)
        run = self._ask("GET", f"/api/v2/dags/usage_daily/dagRuns/{run_id}")
        began, ended = (datetime.fromisoformat(run[k]) for k in ("start_date", "end_date"))
        return Run(run["state"], (ended - began).total_seconds(), self.tasks(run_id))

    def look(self) -> None:
        """Remember the most memory each machine was seen to use."""
        for name, machine in self.machines.items():
            self.peaks[name] = max(self.peaks.get(name, 0), machine.meter.megabytes() or 0)

    def tell(self) -> None:
        """The ends of all logs, for whoever has to find out why."""
        for file in sorted(self.folder.glob("*/*.log")):
            lines = file.read_text(errors="replace").splitlines()[-12:]
            print(f"--- {file.parent.name}/{file.name}", *lines, sep="\n", flush=True)
        if hasattr(self, "api"):
            for path in ("importErrors", "dags/usage_daily/dagRuns"):
                print(json.dumps(self.api.get(f"/api/v2/{path}").json())[:3000], flush=True)
