"""Checks before the first step: a rehearsal of all stages, and a report of the data."""
