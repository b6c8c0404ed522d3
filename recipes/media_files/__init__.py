"""Generated media as files and as pictures."""
