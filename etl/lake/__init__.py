"""The lake: the only code that touches storage, and the protocol by which a partition changes.

`etl.lake.store` hides local disk and S3 behind seven calls; `etl.lake.lake` commits, reads, heals and audits
partitions on top of them. The names below load on first use, so that importing a small thing stays cheap.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "Conflict": "store",
    "Corrupt": "store",
    "Erased": "store",
    "NotFound": "store",
    "Store": "store",
    "StoreError": "store",
    "Unknown": "store",
    "each": "store",
    "open_store": "opening",
    "open_configured": "opening",
    "ProbeReport": "probing",
    "probe": "probing",
    "DataFile": "model",
    "EXPIRED": "model",
    "Partition": "model",
    "Version": "model",
    "SchemaMismatch": "frames",
    "Finding": "checks",
    "Lake": "lake",
    "Stale": "lake",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
