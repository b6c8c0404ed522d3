"""Metrics as torchmetrics classes over pure functions."""
