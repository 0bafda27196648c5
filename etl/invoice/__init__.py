"""A provider's invoice of one month, line by line, against what our records say: etl.invoice."""

from etl.invoice.compare import Comparison, Row, compare, split
from etl.invoice.files import Invoice, Line, Refused, read, select
from etl.invoice.held import EVENTS, Held, dispute, records, tally

__all__ = [
    "EVENTS",
    "Comparison",
    "Held",
    "Invoice",
    "Line",
    "Refused",
    "Row",
    "compare",
    "dispute",
    "read",
    "records",
    "select",
    "split",
    "tally",
]
