"""Benchmarks against the plain path and against other libraries; run from the root of a clone."""

import os

# Before transformers is imported: it tells of image processors that it lacks, once for each of dozens of pipelines.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
