"""The files of a frozen model: weights, GGUF files, and tokenizers that encode exactly by their files."""
