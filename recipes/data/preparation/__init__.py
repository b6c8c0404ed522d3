"""Converts the samples of a file to those of a stage."""
