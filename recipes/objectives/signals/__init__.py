"""NExT-GPT's output side: states of signal tokens and their targets."""
