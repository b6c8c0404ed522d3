"""A training run as files: its settings, its folder, the run before it."""
