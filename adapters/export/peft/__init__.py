"""The LoRA alone, for the bare language model."""
