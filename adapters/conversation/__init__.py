"""Conversations: messages, and how a layout turns them into segments of text and media."""
