"""Samples that are read during training: from webdataset shards, or from rows that need not fit on the disk."""
