"""``python -m etl``: the nightly verbs by hand."""

from etl.cli import app

app(prog_name="python -m etl")
