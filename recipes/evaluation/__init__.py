"""Evaluation of an adapter on held-out data: answers, captions, generated media."""
