"""Drawings, sounds and clips: specifications, texts, and rendered media."""
