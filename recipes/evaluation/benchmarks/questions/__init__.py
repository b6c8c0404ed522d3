"""Benchmarks of short answers: yes or no, words, numbers."""
