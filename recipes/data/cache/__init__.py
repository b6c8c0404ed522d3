"""Results of frozen models, computed once: in memory, or in a folder for all runs that name it."""
