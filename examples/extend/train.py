"""All parts of this folder in one run, with one process or several.

    python examples/extend/train.py --train train.csv --images images/ --output runs/own --devices 2

The imports register the parts. With ``--devices 2`` this script runs in each process, including the imports, so that
they are registered everywhere. The encoder is read from a folder with a ``config.json``, the LLM is the embedded
miniature.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import own_encoder
import own_format
import own_metric
import own_system  # imports projector and objective

from inlay.recipes import BackboneSettings, RunSettings, finetune

PARTS = (own_encoder, own_format, own_metric, own_system)


def main() -> None:
    """Train, and print where the bundle is."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("train", "test", "images", "output"):
        parser.add_argument(f"--{name}", required=name != "test")
    parser.add_argument("--llm", default="inlay-miniature/llama")
    parser.add_argument("--encoder", default="patches", help='folder whose config.json says "raw_patches"')
    parser.add_argument("--devices", type=int, default=1)
    given = parser.parse_args()
    run = finetune(
        "pooled_llava",
        train=given.train,
        test=given.test,
        images=given.images,
        output=given.output,
        backbone=BackboneSettings(llm=given.llm, image=given.encoder),
        settings=RunSettings(output=Path(given.output), devices=given.devices, accelerator="cpu", metric="word_recall"),
    )
    print(run.bundle)


if __name__ == "__main__":
    main()
