"""Systems of the literature, one a file, and their frozen models."""
