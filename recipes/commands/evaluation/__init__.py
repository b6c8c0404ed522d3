"""Commands that ask an adapter questions and score its answers."""
