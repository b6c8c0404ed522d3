"""NExT-GPT (Wu et al., 2023, https://arxiv.org/abs/2309.05519), as its weights were released, and its later code.

ImageBind's vectors of pictures, sounds and clips enter a frozen LLM through one linear layer; signal tokens that it
writes leave through output projectors into frozen generators. Stage *encode* says captions of media; *decode* draws the
states of signal tokens to what each generator's text encoder makes of the caption; *instruct* tunes LoRA, rows of the
new tokens and all projectors on dialogues whose modality switches. The authors themselves ran encode, instruct, decode
(``--order encode,instruct,decode``): nothing in front of the output projectors changes any more then, so *decode*
computes each state once. That is the miniature's order.

Trained rows: the released code trains, and stores, both whole embedding matrices; here the 36 new rows alone. ``<Img>``
around a medium is text. The group projector of the later code is under a non-commercial licence and not rebuilt; its
option of a linear layer is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from inlay.adapters.conversation.templates.llava import VICUNA_SYSTEM
from inlay.adapters.llm_parts.lora_config import LoraConfig
from inlay.adapters.media.modality import Modality
from inlay.recipes.miniature.film import FRAMES, SIDE
from inlay.recipes.recipe import Recipe, Size, Stage, System
from inlay.recipes.sources import MINIATURE, Sources
from inlay.recipes.stages.settings import SignalSettings

if TYPE_CHECKING:
    from inlay.adapters.adapter import Adapter
    from inlay.adapters.backbone import Backbone

__all__ = ["MINIATURE_MAKING", "QKVO", "SIGNALS", "SOURCES", "SYSTEM", "Version", "adapter", "recipe"]

Version: TypeAlias = Literal["legacy", "1.5"]

SIGNALS: dict[Modality, int] = {"image": 4, "video": 24, "audio": 8}
"""Signal tokens of each modality."""

QKVO = ("q_proj", "k_proj", "v_proj", "o_proj")
LINEARS = (*QKVO, "gate_proj", "up_proj", "down_proj")
LORA = {
    "legacy": LoraConfig(r=32, alpha=32.0, dropout=0.1, targets=QKVO),
    # scripts/finetune.sh of the later code; all linears as in LLaVA.
    "1.5": LoraConfig(r=128, alpha=256.0, dropout=0.05, targets=LINEARS),
}


def _stages(layout: dict[str, Any], encode: Any, decode: Any, instruct: Any) -> dict[str, Stage]:
    """The three stages in the paper's order."""
    shared: dict[str, Any] = {"geometry": "crop", **layout}
    return {
        "encode": Stage(data="align", **shared, **encode),
        "decode": Stage(objective="signals", **shared, **decode),
        "instruct": Stage(objective="signals", **shared, **{"data": "train", **instruct}),
    }


def full_stages(version: Version) -> dict[str, Stage]:
    """7B, one epoch a stage; of the released code two GPUs with one conversation each.

    The released configurations write learning rates of 4e-4 and 5e-4 for the optimizer, and DeepSpeed's
    ``WarmupDecayLR`` with a maximum of 5e-4 and a linear decay to 0, which sets the rate in every stage.
    """
    if version == "legacy":
        base: dict[str, Any] = {
            "weight_decay": 1e-3,
            "betas": (0.9, 0.95),
            "warmup": 0.1,
            "schedule": "linear",
            "batch_size": 2,
        }
        return _stages(
            {"template": "nextgpt"},
            {**base, "lr": {"inputs": 5e-4}, "prompt": "generate a caption"},
            {**base, "data": "align", "direction": "echo", "lr": {"outputs": 5e-4, "tokens": 5e-4}},
            {
                **base,
                "lr": {"lora": 5e-4, "inputs": 5e-4, "outputs": 5e-4, "tokens": 5e-4},
                "signals": SignalSettings(video=2.0),
            },
        )
    shared: dict[str, Any] = {"template": "vicuna_v1", "system": VICUNA_SYSTEM}
    return _stages(
        shared,
        {"lr": {"inputs": 1e-3}, "batch_size": 4},
        {"data": "align", "direction": "make", "lr": {"outputs": 2e-4, "tokens": 2e-4}, "batch_size": 2},
        {"lr": {"lora": 2e-4, "inputs": 2e-5, "outputs": 2e-5, "tokens": 2e-4}, "batch_size": 56},
    )


def miniature_stages(version: Version) -> dict[str, Stage]:
    """The same on the embedded world, in larger steps, and in the authors' own order."""
    layout = {"template": "nextgpt" if version == "legacy" else "vicuna_v1", "grouping": "length"}
    stages = _stages(
        layout,
        {"lr": {"inputs": 1e-2}, "batch_size": 32, "epochs": 6.0},
        {"data": "all", "lr": {"outputs": 2e-3}, "batch_size": 32, "epochs": 16.0, "warmup": 0.05},
        {
            "data": "all",
            "lr": {"lora": 4e-3, "inputs": 3e-3, "outputs": 1e-3, "tokens": 4e-3},
            "batch_size": 32,
            "epochs": 5.0,
            "warmup": 0.05,
            # Words first: what the states must say is learnt again, and cheaply, in decode.
            "signals": SignalSettings(image=0.3, audio=0.3, video=0.3),
        },
    )
    return {name: stages[name] for name in ("encode", "instruct", "decode")}


def recipe(version: Version = "legacy", size: Size = "miniature") -> Recipe:
    """NExT-GPT's stages and parts.

    Args:
        version: ``legacy`` is the released one; ``1.5`` lays out as LLaVA 1.5 does and has larger LoRA.
        size: the published numbers for 7B, or those for the embedded miniature.
    """
    small = size == "miniature"
    return Recipe(
        system="nextgpt",
        projector="linear",
        modalities=("image", "audio", "video"),
        shared=True,
        output="transformer",
        output_options=MINIATURE_OUTPUT if small else {},
        signals=MINIATURE_SIGNALS if small else SIGNALS,
        lora=LoraConfig(r=16, alpha=16.0, targets=QKVO) if small else LORA[version],
        stages=miniature_stages(version) if small else full_stages(version),
        sources=SOURCES,
        making=MINIATURE_MAKING if small else MAKING,
        world="senses",
        decoding={} if small else {"do_sample": True, "top_p": 0.01, "temperature": 1.0, "max_new_tokens": 246},
    )


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
"""ImageBind without its factor on sounds, as in NExT-GPT's fork."""

MAKING: dict[Modality, dict[str, Any]] = {
    "image": {"steps": 50, "guidance_scale": 7.5},
    "video": {"steps": 50, "guidance_scale": 7.5, "size": (24, 320, 576)},
    "audio": {"steps": 40, "guidance_scale": 7.5, "size": 5.0},
}
"""As in the released demo."""

MINIATURE_MAKING: dict[Modality, dict[str, Any]] = {
    "image": {"steps": 12, "guidance_scale": 3.0},
    "video": {"steps": 12, "guidance_scale": 3.0, "size": (FRAMES, SIDE, SIDE)},
    "audio": {"steps": 12, "guidance_scale": 3.0},
}
"""Clips as long as those that the miniature's generator has learnt; four times as long they move to and fro."""

MINIATURE_SIGNALS: dict[Modality, int] = {"image": 4, "video": 4, "audio": 4}
MINIATURE_OUTPUT = {"hidden": 128, "encoder_layers": 2, "decoder_layers": 2, "heads": 4, "ffn": 256}
"""A small LLM has less to say in each state, and small generators less to be told."""


def adapter(backbone: Backbone, version: Version = "legacy", size: Size = "full", name: str = "nextgpt") -> Adapter:
    """An untrained NExT-GPT adapter whose widths are read from the backbone."""
    return recipe(version, size).adapter(backbone, name)


SYSTEM = System(recipe=recipe, versions=("legacy", "1.5"))
"""For the command line."""
