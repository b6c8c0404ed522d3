"""Verifiable rewards of generated answers, without a judge model."""
