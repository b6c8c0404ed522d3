"""Trainable parts inside the language model: LoRA, rows for new tokens, signal tokens."""
