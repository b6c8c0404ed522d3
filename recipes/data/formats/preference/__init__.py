"""Preference data: pairs of a better and a worse answer, and single answers with a label. One format a file."""
