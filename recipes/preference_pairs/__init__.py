"""Preference pairs from answers that an adapter samples and rewards rank."""
