"""Metrics of captions: BLEU, CIDEr-D, ROUGE-L."""
