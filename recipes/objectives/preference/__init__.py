"""Alignment tuning on preferences: pairs of answers, or single answers with a label."""
