"""Drawings, sounds and clips: as values, in words, and as media."""
