"""The miniature language models and BERT: corpus, tokenizers, training."""
