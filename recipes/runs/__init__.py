"""The files of a training run: settings, run folder, and the run that it replaces."""
