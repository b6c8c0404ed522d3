"""Benchmarks against the plain path and against other libraries; run from the root of a clone."""

import os

# Set before transformers is imported, which warns about missing image processors once for each of dozens of pipelines.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
