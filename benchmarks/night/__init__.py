"""The reference night: a day of a million messages, from the provider's gzip JSON lines to `daily`, beside its peers.

    python -m benchmarks.night --n 1000000

`workload` makes the day and its price tables, `mapping` writes them as Tollbook's own files, `night` runs the real jobs,
`answers` holds what they stored to the known totals. `duckdb_peer`, `pandas_peer` and `plain_peer` do the same work without
the guarantees, `floor` only moves the bytes. Each contender is a process of its own, measured whole by `measure`.
"""
