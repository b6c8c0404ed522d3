"""Captioned pictures out of webdataset shards."""
