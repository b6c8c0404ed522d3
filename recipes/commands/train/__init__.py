"""`inlay train`: the arguments, what they may not be, and the command."""
