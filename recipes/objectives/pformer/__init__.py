"""P-Former: a text-only teacher, and a projector trained with it."""
