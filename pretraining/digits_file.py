"""Writes `digits.npz` from scikit-learn: `python -m pretraining.digits_file --output digits.npz`."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np


def main() -> None:
    """Write the 1797 images (8 x 8, 17 grey levels) and their digits, in scikit-learn's order."""
    from sklearn.datasets import load_digits

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    data = load_digits()
    np.savez_compressed(options.output, images=data.images.astype(np.uint8), digits=data.target.astype(np.uint8))


if __name__ == "__main__":
    main()
