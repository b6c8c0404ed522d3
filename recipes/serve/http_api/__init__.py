"""The HTTP side: addresses, keys, responses, streams, metrics, and the server process."""
