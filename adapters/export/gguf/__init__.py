"""GGUF files for llama.cpp: a LoRA, the language model that it belongs to, and an image encoder with its projector."""
