"""What several commands call by one name."""

from __future__ import annotations

__all__ = ["BUNDLE", "PREFIX_HELP"]

BUNDLE = "folder of a bundle or of a run, or a repository on the Hub: owner/name, or hf://owner/name@revision"
"""Help of the argument."""
PREFIX_HELP = "memory (MiB) for what was read, so that a picture is not read again for the next question; 0: none"
"""Help of ``--prefix_mib``."""
