"""docker-compose.yml as data: what each service runs, with its variables filled in, without an engine.

Only what our file uses is understood. The file is the one place that says how a part is started; `make cluster` and
tests/deploy read it from here.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
FILE = REPOSITORY / "docker-compose.yml"
EXAMPLE = REPOSITORY / ".env.example"

_VARIABLE = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<name>[A-Z][A-Z0-9_]*)(?::(?P<how>[?-])(?P<rest>[^}]*))?\})")


class Missing(KeyError):
    """A variable without which compose refuses to start."""


@dataclass(frozen=True)
class Service:
    """One service, ready to start: argument list, environment, networks, and what tells that it is well."""

    name: str
    command: list[str]
    environment: dict[str, str]
    networks: tuple[str, ...]
    health: list[str]
    volumes: dict[str, str] = field(default_factory=dict)
    """Folder inside → named volume."""


def raw(file: Path = FILE) -> dict[str, Any]:
    """The file with anchors and merges resolved, and its variables as they are written."""
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def texts(node: Any) -> Iterator[str]:
    """Every text in a part of the file."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, Mapping):
        for value in node.values():
            yield from texts(value)
    elif isinstance(node, list):
        for value in node:
            yield from texts(value)


def variables(node: Any) -> dict[str, str | None]:
    """Name of each variable → its default, None where there is none and an empty one is refused."""
    found: dict[str, str | None] = {}
    for text in texts(node):
        for match in _VARIABLE.finditer(text):
            if match["name"]:
                found[match["name"]] = match["rest"] if match["how"] == "-" else None
    return found


def filled(node: Any, given: Mapping[str, str]) -> Any:
    """The same with its variables filled in. Missing where one that must be given is not, or is empty."""
    if isinstance(node, str):
        return _VARIABLE.sub(lambda match: _value(match, given), node)
    if isinstance(node, Mapping):
        return {key: filled(value, given) for key, value in node.items()}
    if isinstance(node, list):
        return [filled(value, given) for value in node]
    return node


def _value(match: re.Match, given: Mapping[str, str]) -> str:
    if match["dollar"]:
        return "$"
    value = given.get(match["name"], "")
    if not value and match["how"] == "?":
        raise Missing(match["name"])
    return value or (match["rest"] or "" if match["how"] == "-" else "")


def services(given: Mapping[str, str], file: Path = FILE) -> dict[str, Service]:
    """Every service with these variables."""
    found = filled(raw(file)["services"], given)
    return {name: _service(name, table) for name, table in found.items()}


def _service(name: str, table: Mapping[str, Any]) -> Service:
    command, test = table.get("command", []), table.get("healthcheck", {}).get("test", [])
    mounted = [text.split(":") for text in table.get("volumes", ())]
    return Service(
        name=name,
        command=shlex.split(command) if isinstance(command, str) else [str(word) for word in command],
        environment={key: str(value) for key, value in table.get("environment", {}).items()},
        networks=tuple(table.get("networks", ())),
        health=["sh", "-c", test[1]] if test[:1] == ["CMD-SHELL"] else test[1:],
        volumes={parts[1]: parts[0] for parts in mounted if not parts[0].startswith((".", "/"))},
    )


def placed(service: Service, folder: Callable[[str], Path]) -> Service:
    """The same service with each named volume at a folder of this machine, which ``folder`` makes from its name."""
    places = {inside: str(folder(volume)) for inside, volume in service.volumes.items()}

    def moved(text: str) -> str:
        for inside, outside in places.items():
            text = re.sub(rf"(?<![\w/.-]){re.escape(inside)}(?![\w.-])", outside, text)
        return text

    return Service(
        service.name,
        [moved(word) for word in service.command],
        {key: moved(value) for key, value in service.environment.items()},
        service.networks,
        [moved(word) for word in service.health],
        {outside: service.volumes[inside] for inside, outside in places.items()},
    )
