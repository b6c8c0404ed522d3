"""Tiling: cutting a large picture into several squares of an encoder's size, and laying out their features."""
