"""``inlay config``: print all settings of a run as YAML, for editing and ``inlay train``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from inlay.recipes.commands.train.parser import parse
from inlay.recipes.runs.config import config_of

__all__ = ["main"]


def main(argv: Sequence[str]) -> int:
    """Print the settings.

    Args:
        argv: as in ``inlay train``: a system or a YAML file, and settings.
    """
    sys.stdout.write(config_of(parse(argv, command="config").job()))
    return 0
