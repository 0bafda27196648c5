"""The invariants, checked on what was written: each has a name, a verdict and a remedy (docs/audit.md)."""

from etl.audit.invariants import ACCEPTED, BOUNDS, BROKEN, INVARIANTS, NOT_CHECKED, OK, AuditFailed, Result
from etl.audit.run import audit, examine, out_of_bounds

__all__ = [
    "ACCEPTED",
    "BOUNDS",
    "BROKEN",
    "INVARIANTS",
    "NOT_CHECKED",
    "OK",
    "AuditFailed",
    "Result",
    "audit",
    "examine",
    "out_of_bounds",
]
