"""Usage logs → bills people trust. What libraries read when they are loaded is said here, before anything loads them."""

import os

# Polars' allocator gives freed memory back almost at once and asks for it again: a fifth of a night went into page faults.
os.environ.setdefault("_RJEM_MALLOC_CONF", f"narenas:{os.cpu_count() or 1},dirty_decay_ms:5000")
# NumPy counts texts here and multiplies no matrix: threads for that would only be started, in every task.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
