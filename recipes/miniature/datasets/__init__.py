"""Writing the data sets of the miniature."""
