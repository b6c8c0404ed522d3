"""Cached results of frozen models, in memory or in a folder that runs share."""
