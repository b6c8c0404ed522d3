"""File formats of training data; one format a file, told from the contents."""
