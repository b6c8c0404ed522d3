"""The engine: jobs of several adapters in a queue, answered batch by batch."""
