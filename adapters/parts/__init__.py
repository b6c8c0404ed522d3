"""What all trainable parts share: bounds of their settings, and how they are built from plain values."""
