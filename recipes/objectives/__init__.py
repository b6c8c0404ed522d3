"""Training objectives; one objective a file or folder."""
