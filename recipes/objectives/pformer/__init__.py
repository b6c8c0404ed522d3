"""P-Former: a text-only teacher, and a projector that learns from it."""
