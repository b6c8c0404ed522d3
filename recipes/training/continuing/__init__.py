"""A run that trains the adapter of a bundle further: its parts, a second LoRA, and figures before and after."""
