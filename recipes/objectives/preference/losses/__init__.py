"""Preference losses as functions of log-probabilities, one family a file."""
