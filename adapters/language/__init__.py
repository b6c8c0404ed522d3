"""The frozen language model: embeddings in; loss, hidden states or text out."""
