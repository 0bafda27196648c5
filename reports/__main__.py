"""``python -m reports``: render, publish, mail by hand."""

from reports.cli import app

app(prog_name="python -m reports")
