"""Systems of the literature, one per file, and the loading of their frozen models."""
