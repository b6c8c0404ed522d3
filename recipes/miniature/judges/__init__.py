"""Deterministic judges of captions and of generated media."""
