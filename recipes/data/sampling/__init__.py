"""Which samples an optimizer step has: order, mixture, lengths, and counts of its loss terms."""
