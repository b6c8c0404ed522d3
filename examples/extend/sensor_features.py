"""Precomputed features instead of an encoder: a model is trained to read a sensor.

    python examples/extend/sensor_features.py sensor/

Each recording has 4 channels of a noisy sine, each reduced to 16 numbers by another program. Its safetensors file has
one tensor ``[4, 16]``: 4 tokens of width 16. A message names the file, and ``features="16x4"`` gives the sizes.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from inlay.recipes import BackboneSettings, Run, finetune, llava

WORDS = ("one", "two", "three", "four")  # the answers


def write(folder: Path, name: str, count: int, seed: int) -> Path:
    """Recordings, and a JSON file of questions about them in LLaVA's format."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for index in range(count):
        waves = index % len(WORDS) + 1
        phase = 2 * torch.pi * (torch.arange(16) / 16 * waves + torch.rand(4, 1, generator=generator))
        values = torch.sin(phase) + 0.1 * torch.randn(4, 16, generator=generator)
        spectrum = torch.fft.rfft(values).abs()
        save_file({"features": torch.cat([values[:, :7], spectrum], dim=1)}, folder / f"{name}_{index}.safetensors")
        asked = [{"from": "human", "value": "<features>\nHow many waves?"}, {"from": "gpt", "value": WORDS[waves - 1]}]
        rows.append({"id": f"{name}_{index}", "features": f"{name}_{index}.safetensors", "conversations": asked})
    path = folder / f"{name}.json"
    path.write_text(json.dumps(rows))
    return path


def train(folder: Path) -> Run:
    """Train on 128 recordings, and measure the answers about 32 others, with the features and blind."""
    folder.mkdir(parents=True, exist_ok=True)
    recipe = llava.recipe()
    return finetune(
        replace(recipe, stages={"instruct": replace(recipe.stages["instruct"], epochs=10, batch_size=16)}),
        train=write(folder, "train", 128, seed=0),
        test=write(folder, "test", 32, seed=1),
        images=folder,
        output=folder / "run",
        backbone=BackboneSettings(features="16x4:waves"),
        accelerator="cpu",
    )


if __name__ == "__main__":
    trained = train(Path(sys.argv[1]))
    print({name: trained.metrics[name] for name in ("accuracy", "blind")})
