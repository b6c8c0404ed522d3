"""Common code of all trainable parts: bounds of their settings, construction from plain values, registration."""
