"""Frozen generators: from conditioning to media. One file each."""
