"""A linear probe (https://arxiv.org/abs/1610.01644) on single patches of a vision encoder.

`python -m pretraining.vision.patch_probe --backbone clip` fits, on training scenes, a linear map (ridge regression)
from the features of a patch to the shape, colour and size of the object in its cell (or none), and prints its
accuracy on held-out scenes. The features are those of adapters, without the class token: the second-to-last hidden
states of CLIP, the last hidden states of EVA before the norm.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, TypeAlias

import torch

from inlay.adapters.loading.encoders.image import load_image_encoder
from inlay.recipes.miniature import backbone_path
from inlay.recipes.miniature.world.drawing import draw_scene
from inlay.recipes.miniature.world.scenes import COLOURS, PLACES, SHAPES, SIZES, Split, sample_scene
from pretraining.percentages import percentages
from pretraining.vision.pixels import cell_of_patch, pixels

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

Read: TypeAlias = "Callable[[Tensor], Tensor]"
"""Pixels (n, 3, 48, 48) -> features of the patches (n, 36, width)."""

_VALUES: dict[str, tuple[str, ...]] = {"shape": SHAPES, "colour": COLOURS, "size": SIZES}
_RIDGE = 1e-2


@torch.no_grad()
def patches_of(read: Read, split: Split, *, seed: int, scenes: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Features (scenes * 36, width + 1), the last being one, and for each attribute the value's index, 0 for none."""
    rng = Random(seed)
    drawn = [sample_scene(rng, split) for _ in range(scenes)]
    seen = pixels([draw_scene(scene, rng) for scene in drawn])
    features = torch.cat([read(part) for part in torch.split(seen, 100)]).flatten(0, 1)
    cells = {name: torch.zeros(scenes, 9, dtype=torch.long) for name in (*_VALUES, "place")}
    for number, scene in enumerate(drawn):
        for thing in scene.things:
            for name, values in _VALUES.items():
                cells[name][number, thing.place] = 1 + values.index(getattr(thing, name))
    cells["place"] = torch.arange(1, 10).expand(scenes, 9)
    labels = {name: of_cell[:, cell_of_patch()].flatten() for name, of_cell in cells.items()}
    return torch.cat([features, torch.ones(len(features), 1)], dim=1), labels


def probe(read: Read, *, seed: int = 0, scenes: int = 1000) -> dict[str, float]:
    """Accuracy of linear probes on the patches of held-out scenes whose cell holds an object.

    Args:
        read: The vision encoder.
        seed: Of the scenes.
        scenes: Number of training scenes; half as many are held out.

    Returns:
        For each attribute, and for the place among nine, the share of right patches; `"object"` is the accuracy, over
        all patches, of whether the cell has an object.
    """
    features, labels = patches_of(read, "train", seed=seed, scenes=scenes)
    held_out, truth = patches_of(read, "held_out", seed=seed + 1, scenes=scenes // 2)
    gram = features.T @ features + _RIDGE * len(features) * torch.eye(features.shape[1])
    occupied = truth["shape"] > 0
    figures = {}
    for name, classes in (*((name, len(values)) for name, values in _VALUES.items()), ("place", len(PLACES))):
        one_hot = torch.nn.functional.one_hot(labels[name], classes + 1).float()
        scores = held_out @ torch.linalg.solve(gram, features.T @ one_hot)
        if name == "shape":
            figures["object"] = ((scores.argmax(1) > 0) == occupied).float().mean().item()
        figures[name] = (scores[:, 1:].argmax(1) + 1 == truth[name])[occupied].float().mean().item()
    return figures


def patch_reader(folder: Path) -> Read:
    """The features of patches that adapters read from a saved vision encoder.

    Raises:
        BackboneError: the folder has no vision encoder of transformers.
    """
    encoder = load_image_encoder(folder, dtype=torch.float32, feature_options={"class_token": "drop"})
    return encoder.encode


def main() -> None:
    """Probe a shipped backbone or a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="clip", help="clip, eva, or a folder")
    backbone = parser.parse_args().backbone
    print(percentages(probe(patch_reader(Path(backbone) if Path(backbone).is_dir() else backbone_path(backbone)))))


if __name__ == "__main__":
    main()
