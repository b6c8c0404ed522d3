"""Formats of conversations: messages, and rows of prompts and answers."""
