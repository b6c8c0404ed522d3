"""The command line of the pretraining scripts."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import nn


def parse(description: str | None, *, start: str = "", **numbers: int) -> argparse.Namespace:
    """Read the options, and set torch's number of threads and its seed.

    Args:
        description: The text of `--help`.
        start: What `--start FOLDER` does; empty if the script has no such option.
        numbers: Further options with a whole number, and their defaults.

    Returns:
        `output` (a path), `seed`, `threads`, `start` (a path or None) and the further numbers.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="the folder to write the model to")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    if start:
        parser.add_argument("--start", type=Path, help=start)
    for name, default in numbers.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    return options


def print_size(model: nn.Module) -> None:
    """Print the number of parameters."""
    print(f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters", flush=True)
