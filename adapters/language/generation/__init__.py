"""Generation of new tokens, and the ends of answers."""
