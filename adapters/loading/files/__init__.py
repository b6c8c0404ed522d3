"""The files of a frozen model: weights, GGUF files, and tokenizers that encode exactly as their files say."""
