"""The published layouts, one family a file, and the registry."""
