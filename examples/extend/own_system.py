"""A system: LLaVA's two stages with the projector and the objective of this folder.

    inlay train pooled_llava --import own_system.py
    inlay config pooled_llava --import own_system.py > run.yaml

A recipe is plain typed data: every number of the system is in this file and can be overridden on the command line. The
names of the parts are keys of their registries.
"""

from __future__ import annotations

import own_projector  # noqa: F401  # registers "pooled"
from own_objective import Focal

from inlay.adapters import LoraConfig
from inlay.recipes import OptimizerSettings, Recipe, Stage, register_system

RECIPE = Recipe(
    system="pooled_llava",
    projector="pooled",
    projector_options={"pooled": {"every": 2}},
    lora=LoraConfig(r=8, alpha=16.0, targets=("q_proj", "v_proj")),
    stages={
        "align": Stage(
            data="align",
            template="plain",
            geometry="pad",
            lr={"inputs.image": 1e-2},
            batch_size=16,
            epochs=4.0,
        ),
        "instruct": Stage(
            data="train",
            template="vicuna_v1",
            geometry="pad",
            lr={"inputs.image": 3e-3, "lora": 4e-3},
            batch_size=32,
            epochs=3.0,
            objective=Focal(gamma=1.0),
            optimizer=OptimizerSettings(weight_decay=0.01),
        ),
    },
)

register_system("pooled_llava", RECIPE)
