"""Pretraining of the miniature backbones; run from the root of a checkout, no part of the package."""
