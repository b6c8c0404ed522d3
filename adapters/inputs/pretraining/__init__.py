"""Modules that train an input projector and never reach a bundle."""
