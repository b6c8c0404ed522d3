"""Foreign formats, one a file: how a checkpoint is recognised, its key table, and its settings in our words."""
