"""The samples of each optimizer step: order, mixture, lengths, and counts of loss terms."""
