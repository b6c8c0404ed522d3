"""Encoders of clips as a whole, whose tokens span several frames."""
