"""``python -m benchmarks``: the CPU suite, six minutes on two idle cores, and as many again with TRL.

See docs/results/benchmarks.md for its rules; ``python -m benchmarks.report`` makes the table of its results.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from benchmarks.cpu import MEASURES
from benchmarks.suite import main

if __name__ == "__main__":
    sys.exit(main(MEASURES, Path("benchmarks/results/cpu.json"), torch.device("cpu"), about=str(__doc__)))
