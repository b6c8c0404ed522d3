"""NExT-GPT (Wu et al., 2023, https://arxiv.org/abs/2309.05519), as its weights were released, and its later code.

One linear layer maps ImageBind's vectors of pictures, sounds and clips to inputs of a frozen LLM; output projectors map
the states of its signal tokens to the conditioning of frozen generators. Stage *encode* trains captioning; *decode*
aligns the states of signal tokens with the output of each generator's text encoder for the caption; *instruct* tunes
LoRA, rows of the new tokens and all projectors on modality-switching dialogues. The authors ran *decode* last
(``--order encode,instruct,decode``): it then trains output projectors only and computes each state once. The miniature
uses the same order.

The released code trains and stores both whole embedding matrices; here only the 36 new rows are trained. ``<Img>``
around a medium is text. The group projector of the later code has a non-commercial licence and is not implemented, its
linear option is.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from inlay.adapters.conversation.templates.llava import VICUNA_SYSTEM
from inlay.adapters.llm_parts.lora_config import LoraConfig
from inlay.adapters.media.modality import Modality
from inlay.recipes.miniature.media.clips import FRAMES, SIDE
from inlay.recipes.objectives.signals.settings import Signals
from inlay.recipes.settings.default_models import MINIATURE, Sources
from inlay.recipes.settings.optimizer import OptimizerSettings
from inlay.recipes.settings.recipe import QKVO, Recipe, Size
from inlay.recipes.settings.samples import SampleSettings
from inlay.recipes.settings.stage import Stage
from inlay.recipes.systems.registry import System

__all__ = ["MINIATURE_GENERATION", "SIGNALS", "SOURCES", "SYSTEM", "Version", "recipe"]

Version: TypeAlias = Literal["legacy", "1.5"]

SIGNALS: dict[Modality, int] = {"image": 4, "video": 24, "audio": 8}
"""Signal tokens of each modality."""

SOURCES = Sources(
    llm=f"{MINIATURE}llama",
    image=f"{MINIATURE}imagebind",
    audio=f"{MINIATURE}imagebind",
    video=f"{MINIATURE}imagebind",
    audio_scale=False,
    clips_reach_end=False,
    generate_image=f"{MINIATURE}sd",
    generate_audio=f"{MINIATURE}audioldm",
    generate_video=f"{MINIATURE}video",
)
"""ImageBind without its factor on audio features and with the clip sampling of NExT-GPT's fork."""

GENERATION: dict[Modality, dict[str, Any]] = {
    "image": {"steps": 50, "guidance_scale": 7.5},
    "video": {"steps": 50, "guidance_scale": 7.5, "size": (24, 320, 576)},
    "audio": {"steps": 40, "guidance_scale": 7.5, "size": 5.0},
}
"""Generation options of the released demo."""

MINIATURE_GENERATION: dict[Modality, dict[str, Any]] = {
    "image": {"steps": 12, "guidance_scale": 3.0},
    "video": {"steps": 12, "guidance_scale": 3.0, "size": (FRAMES, SIDE, SIDE)},
    "audio": {"steps": 12, "guidance_scale": 3.0},
}
"""Clips have the length in the training data of the miniature's generator; in longer ones the motion reverses."""

# The released configurations give the optimizer learning rates of 4e-4 and 5e-4, but DeepSpeed's WarmupDecayLR
# overrides them in every stage: a maximum of 5e-4 and linear decay to 0. One epoch per stage; two GPUs with one
# conversation each.
RELEASED_OPTIMIZER = OptimizerSettings(weight_decay=1e-3, betas=(0.9, 0.95), warmup=0.1, schedule="linear")
LEGACY = {
    "encode": Stage(
        data="align",
        template="nextgpt",
        geometry="crop",
        prompt="generate a caption",
        lr={"inputs": 5e-4},
        batch_size=2,
        optimizer=RELEASED_OPTIMIZER,
    ),
    "decode": Stage(
        data="align",
        template="nextgpt",
        geometry="crop",
        lr={"outputs": 5e-4, "tokens": 5e-4},
        batch_size=2,
        objective=Signals(),
        optimizer=RELEASED_OPTIMIZER,
        samples=SampleSettings(direction="echo"),
    ),
    "instruct": Stage(
        data="train",
        template="nextgpt",
        geometry="crop",
        lr={"lora": 5e-4, "inputs": 5e-4, "outputs": 5e-4, "tokens": 5e-4},
        batch_size=2,
        objective=Signals(video=2.0),
        optimizer=RELEASED_OPTIMIZER,
    ),
}

# scripts/pretrain_enc.sh, pretrain_dec.sh and finetune.sh of the later code, with LLaVA 1.5's template.
LATER = {
    "encode": Stage(
        data="align",
        template="vicuna_v1",
        system=VICUNA_SYSTEM,
        geometry="crop",
        lr={"inputs": 1e-3},
        batch_size=4,
    ),
    "decode": Stage(
        data="align",
        template="vicuna_v1",
        system=VICUNA_SYSTEM,
        geometry="crop",
        lr={"outputs": 2e-4, "tokens": 2e-4},
        batch_size=2,
        objective=Signals(),
        samples=SampleSettings(direction="make"),
    ),
    "instruct": Stage(
        data="train",
        template="vicuna_v1",
        system=VICUNA_SYSTEM,
        geometry="crop",
        lr={"lora": 2e-4, "inputs": 2e-5, "outputs": 2e-5, "tokens": 2e-4},
        batch_size=56,
        objective=Signals(),
    ),
}

PUBLISHED: dict[Version, dict[str, Stage]] = {"legacy": LEGACY, "1.5": LATER}
LORA: dict[Version, LoraConfig] = {
    "legacy": LoraConfig(r=32, alpha=32.0, dropout=0.1, targets=QKVO),
    "1.5": LoraConfig(r=128, alpha=256.0, dropout=0.05),
}
DECODING = {"do_sample": True, "top_p": 0.01, "temperature": 1.0, "max_new_tokens": 246}


def _miniature(template: str) -> dict[str, Stage]:
    """The same three stages for the miniature: higher learning rates, and the authors' order."""
    return {
        "encode": Stage(
            data="align",
            template=template,
            geometry="crop",
            lr={"inputs": 1e-2},
            batch_size=32,
            epochs=6.0,
            grouping="length",
        ),
        "instruct": Stage(
            data="all",
            template=template,
            geometry="crop",
            lr={"lora": 4e-3, "inputs": 3e-3, "outputs": 1e-3, "tokens": 4e-3},
            batch_size=32,
            epochs=5.0,
            grouping="length",
            # Low weights: stage decode trains the conditioning again, at little cost.
            objective=Signals(image=0.3, audio=0.3, video=0.3),
            optimizer=OptimizerSettings(warmup=0.05),
        ),
        "decode": Stage(
            data="all",
            template=template,
            geometry="crop",
            lr={"outputs": 2e-3},
            batch_size=32,
            epochs=16.0,
            grouping="length",
            objective=Signals(),
            optimizer=OptimizerSettings(warmup=0.05),
        ),
    }


def recipe(version: Version = "legacy", size: Size = "miniature") -> Recipe:
    """NExT-GPT's parts and stages.

    Args:
        version: ``legacy`` is the released model; ``1.5`` has LLaVA 1.5's template and a larger LoRA.
        size: the published settings for 7B, or those for the embedded miniature.
    """
    if size == "full":
        return Recipe(
            system="nextgpt",
            version=version,
            size=size,
            projector="linear",
            modalities=("image", "audio", "video"),
            shared=True,
            output="transformer",
            signals=SIGNALS,
            lora=LORA[version],
            stages=PUBLISHED[version],
            sources=SOURCES,
            generation=GENERATION,
            world="senses",
            decoding=DECODING,
        )
    return Recipe(
        system="nextgpt",
        version=version,
        size=size,
        projector="linear",
        modalities=("image", "audio", "video"),
        shared=True,
        output="transformer",
        # Small LLM and generators need only a small output projector.
        output_options={"hidden": 128, "encoder_layers": 2, "decoder_layers": 2, "heads": 4, "ffn": 256},
        signals={"image": 4, "video": 4, "audio": 4},
        lora=LoraConfig(r=16, alpha=16.0, targets=QKVO),
        stages=_miniature("nextgpt" if version == "legacy" else "vicuna_v1"),
        sources=SOURCES,
        generation=MINIATURE_GENERATION,
        world="senses",
    )


SYSTEM = System(recipe=recipe, versions=("legacy", "1.5"))
