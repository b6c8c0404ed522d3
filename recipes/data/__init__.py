"""Canonical samples; one file per format."""
