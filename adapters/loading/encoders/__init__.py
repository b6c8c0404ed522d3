"""Loading frozen encoders from Hub ids and folders: registered families, and any model of transformers."""
