"""What can be read off single patches of the miniature CLIP: a linear probe, as in https://arxiv.org/abs/1610.01644.

`python -m inlay.recipes.miniature.probe` fits, on training scenes, one linear map from a patch's features to the
shape, colour and size of the object in its cell (or none), and reports its accuracy on held-out scenes. The features
are those that LLaVA projects: the last hidden states but one, without the class token.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import torch

from inlay.recipes.miniature import backbone_path
from inlay.recipes.miniature.draw import draw
from inlay.recipes.miniature.pretrain_clip import cell_of_patch, pixels
from inlay.recipes.miniature.world import COLOURS, PLACES, SHAPES, SIZES, Split, sample_scene

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import CLIPVisionModel

LAYER = -2
_VALUES: dict[str, tuple[str, ...]] = {"shape": SHAPES, "colour": COLOURS, "size": SIZES}
_RIDGE = 1e-2


@torch.no_grad()
def patches_of(model: CLIPVisionModel, split: Split, *, seed: int, scenes: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Features (scenes * 36, width + 1), the last being one, and per attribute the value's index, 0 for none."""
    rng = Random(seed)
    drawn = [sample_scene(rng, split) for _ in range(scenes)]
    seen = pixels([draw(scene, rng) for scene in drawn])
    states = [model(part, output_hidden_states=True).hidden_states[LAYER][:, 1:] for part in torch.split(seen, 100)]
    features = torch.cat(states).flatten(0, 1)
    cells = {name: torch.zeros(scenes, 9, dtype=torch.long) for name in (*_VALUES, "place")}
    for number, scene in enumerate(drawn):
        for thing in scene.things:
            for name, values in _VALUES.items():
                cells[name][number, thing.place] = 1 + values.index(getattr(thing, name))
    cells["place"] = torch.arange(1, 10).expand(scenes, 9)
    labels = {name: of_cell[:, cell_of_patch()].flatten() for name, of_cell in cells.items()}
    return torch.cat([features, torch.ones(len(features), 1)], dim=1), labels


def probe(model: CLIPVisionModel, *, seed: int = 0, scenes: int = 1000) -> dict[str, float]:
    """Accuracy of linear probes on the patches of held-out scenes whose cell holds an object.

    Args:
        model: The vision tower.
        seed: Of the scenes.
        scenes: Training scenes; half as many held-out ones.

    Returns:
        For each attribute, and for the place among nine, the share of right patches; `"object"` is the share of all
        patches for which it is right whether their cell holds an object.
    """
    features, labels = patches_of(model, "train", seed=seed, scenes=scenes)
    held_out, truth = patches_of(model, "held_out", seed=seed + 1, scenes=scenes // 2)
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


def main() -> None:
    """Probe the shipped backbone, or another."""
    from transformers import CLIPVisionModel

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", type=Path, default=backbone_path("clip"))
    options = parser.parse_args()
    figures = probe(CLIPVisionModel.from_pretrained(options.backbone))  # comes in evaluation mode
    print(" ".join(f"{name} {100 * share:.1f}%" for name, share in figures.items()))


if __name__ == "__main__":
    main()
