"""Answers by another program: encoder and projector in torch, the language model in llama.cpp or behind vLLM."""
