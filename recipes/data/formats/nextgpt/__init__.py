"""NExT-GPT's file formats."""
