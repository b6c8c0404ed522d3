"""Training objectives, one per file or folder."""
