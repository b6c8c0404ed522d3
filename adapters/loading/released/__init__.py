"""Models that transformers does not have: folders in our layout, and files as their authors released them."""
