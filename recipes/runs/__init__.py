"""The run folder: its files, what a run is made of, and what a run that goes on is compared with."""
