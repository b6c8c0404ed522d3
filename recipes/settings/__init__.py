"""Typed settings of a run, its stages and its frozen models."""
