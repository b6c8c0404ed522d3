"""Loading frozen models from Hub ids and folders: no code from a repository is run."""
