"""How every command names a bundle."""

from __future__ import annotations

__all__ = ["BUNDLE"]

BUNDLE = "folder of a bundle or of a run, or a repository on the Hub: owner/name, or hf://owner/name@revision"
"""Help of the argument."""
