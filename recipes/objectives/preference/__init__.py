"""The objective ``preference``: training on answers that are compared with each other."""
