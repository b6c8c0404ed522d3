"""Writes the data sets of the miniature."""
