"""Models that transformers does not have: folders in our layout, and files in their released form."""
