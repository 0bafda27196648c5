"""Usage logs → bills people trust. What polars reads when it is loaded is said here, before anything loads it."""

import os

# Its allocator gives freed memory back almost at once and asks for it again: a fifth of a night went into page faults.
os.environ.setdefault("_RJEM_MALLOC_CONF", f"narenas:{os.cpu_count() or 1},dirty_decay_ms:5000")
