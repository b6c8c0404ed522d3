"""Captioned pictures from webdataset shards."""
