"""The check every figure passes before it is shown."""

from __future__ import annotations


class DoesNotAddUp(ValueError):
    """Figures that must be equal are not. The text names both."""


def same(statement_id: str, what: str, shown: object, other_name: str, other: object) -> None:
    """Raises `DoesNotAddUp` unless the two are equal."""
    if shown != other:
        raise DoesNotAddUp(f"{statement_id}: {what} {shown}, {other_name} {other}: nothing was published")
