"""The training of a run: its stages, the trainer, checkpoints."""
