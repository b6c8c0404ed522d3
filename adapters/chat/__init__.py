"""Answers in words and media, built on the core: streaming, reuse of keys and values, several adapters in a batch."""
