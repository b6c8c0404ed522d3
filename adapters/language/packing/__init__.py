"""Batches without padding: labelled and real positions as indices, and attention within packed rows."""
