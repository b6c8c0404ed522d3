"""The published layouts, one family a file."""
