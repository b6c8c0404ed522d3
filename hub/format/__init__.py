"""The bundle as files: manifest, tensors, LoRA folder, model card, signature."""
