"""One row of a data file: its fields, media and sample, and the list of invalid rows."""
