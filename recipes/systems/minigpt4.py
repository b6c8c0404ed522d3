"""MiniGPT-4 (Zhu et al., 2023, https://arxiv.org/abs/2304.10592).

One linear layer on top of BLIP-2's frozen Q-Former, which counts as part of the encoder here. Stage *pretrain* shows
pictures with captions, without any prompt; *finetune* a few thousand long descriptions, asked for in four ways, laid
out with ``###Human`` and ``###Assistant``.

With LLaMA-2 there is no Q-Former: four neighbouring patches are joined, and the linear layer is wider.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from inlay.recipes.settings.default_models import MINIATURE, SAME, Sources
from inlay.recipes.settings.recipe import Recipe, Size, Stage, System
from inlay.recipes.systems.miniature_sizes import MINIATURE_PROJECTORS

if TYPE_CHECKING:
    from inlay.adapters.adapter import Adapter
    from inlay.adapters.backbone import Backbone

__all__ = ["SYSTEM", "Version", "adapter", "recipe"]

Version: TypeAlias = Literal["vicuna", "llama2"]

TEMPLATE = {"vicuna": "minigpt4", "llama2": "minigpt4_llama2"}
PROJECTOR = {"vicuna": "linear", "llama2": "patch_merge"}


def _stages(version: Version, pretrain: dict[str, Any], finetune: dict[str, Any]) -> dict[str, Stage]:
    return {
        "pretrain": Stage(data="align", template="plain", geometry="squash", **pretrain),
        "finetune": Stage(
            data="train", template=TEMPLATE[version], geometry="squash", templates="describe", **finetune
        ),
    }


def full_stages(version: Version) -> dict[str, Stage]:
    """20,000 steps of 256 (four GPUs with 64 each), then 1000 steps of 12; the paper says 400."""
    shared: dict[str, Any] = {"weight_decay": 0.05, "clip": 0.0}
    return _stages(
        version,
        {
            **shared,
            "phrasing": "blip",
            "lr": {"inputs.image": 1e-4},
            "batch_size": 256,
            "accumulate": 4,
            "max_steps": 20_000,
            "warmup_steps": 5000,
            "start": 0.01,
            "floor": 0.8,
        },
        {
            **shared,
            "lr": {"inputs.image": 3e-5},
            "batch_size": 12,
            "epochs": 5.0,
            "max_steps": 1000,
            "warmup_steps": 200,
            "start": 1 / 30,
            "floor": 1 / 3,
        },
    )


def recipe(version: Version = "vicuna", size: Size = "miniature") -> Recipe:
    """MiniGPT-4's stages and parts.

    Args:
        version: the LLM, and with it whether there is a Q-Former.
        size: the published numbers, or those for the embedded miniature.
    """
    small = size == "miniature"
    miniature: dict[str, Any] = {"lr": {"inputs.image": 1e-2}, "batch_size": 32, "epochs": 8.0, "grouping": "length"}
    return Recipe(
        system="minigpt4",
        projector=PROJECTOR[version],
        projector_options=MINIATURE_PROJECTORS if small else {},
        stages=_stages(version, miniature, miniature) if small else full_stages(version),
        sources=Sources(
            llm=f"{MINIATURE}llama",
            image=f"{MINIATURE}eva",
            qformer=None if version == "llama2" else f"{MINIATURE}qformer" if small else SAME,
        ),
    )


def adapter(backbone: Backbone, version: Version = "vicuna", size: Size = "full", name: str = "minigpt4") -> Adapter:
    """An untrained MiniGPT-4 adapter whose widths are read from the backbone."""
    return recipe(version, size).adapter(backbone, name)


SYSTEM = System(recipe=recipe, versions=("vicuna", "llama2"))
"""For the command line."""
