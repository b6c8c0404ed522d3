"""Training: stages, trainer, callbacks, checkpoints."""
