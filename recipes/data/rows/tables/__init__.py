"""Rows of files as tables that stay on disk, and sequences of samples that are converted from them on access."""
