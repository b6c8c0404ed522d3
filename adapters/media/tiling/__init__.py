"""Tiling: how a large picture becomes several squares of an encoder's size, and how their features are laid out."""
