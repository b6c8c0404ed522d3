"""Measurements against the plain path and against the tools that people have; run from the root of a clone."""
