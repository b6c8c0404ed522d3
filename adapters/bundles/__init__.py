"""Adapters as bundles: reading, writing, storage data types, methods of the Hub."""
