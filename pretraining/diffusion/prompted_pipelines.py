"""Common code of the generators: CLIP's text encoder, guided sampling, conversion of pictures, saving of pipelines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from pretraining.diffusion.denoiser_training import make_scheduler
from pretraining.diffusion.prompt_tokenizers import PROMPT_TOKENS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor, nn
    from transformers import CLIPTextModel, CLIPTokenizer

TEXT_WIDTH = 64
GUIDANCE = 3.0
STEPS = 12  # of sampling


def make_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """A CLIP text encoder, 64 wide and 2 layers deep, of 16 positions; random weights."""
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=4 * TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=PROMPT_TOKENS,
        projection_dim=TEXT_WIDTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def embed_prompts(encoder: Any, tokenizer: CLIPTokenizer, prompts: Sequence[str]) -> Tensor:
    """Prompts (n) -> rows of the text encoder (n, 16, 64); each distinct prompt is encoded once."""
    distinct = list(dict.fromkeys(prompts))
    padded = tokenizer(distinct, padding="max_length", max_length=PROMPT_TOKENS, truncation=True, return_tensors="pt")
    rows: Tensor = encoder(padded["input_ids"]).last_hidden_state
    return rows[[distinct.index(prompt) for prompt in prompts]]


def denoise(
    tokenizer: CLIPTokenizer, text: nn.Module, unet: nn.Module, noisy: Tensor, times: Tensor, prompts: list[str]
) -> Tensor:
    """The velocity that the U-Net predicts.

    Args:
        tokenizer: The tokenizer of the prompts.
        text: The text encoder.
        unet: A `UNet2DConditionModel` or `UNet3DConditionModel`.
        noisy: Latents (n, 4, 8, 8), of clips (n, 4, frames, 8, 8).
        times: Time steps (n).
        prompts: n prompts.

    Returns:
        The velocity, in the shape of the latents.
    """
    velocity: Tensor = unet(noisy, times, embed_prompts(text, tokenizer, prompts)).sample
    return velocity


@torch.no_grad()
def sample(predict: Callable[[Tensor, Tensor], Tensor], shape: tuple[int, ...], seed: int) -> Tensor:
    """Guided sampling.

    Args:
        predict: Noisy latents twice, (2n, ...), and a time step -> velocity (2n, ...); the first half without prompts.
        shape: The shape of the latents, (n, ...).
        seed: The seed of the noise.

    Returns:
        Latents (n, ...), scaled.
    """
    scheduler = make_scheduler()
    scheduler.set_timesteps(STEPS)
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    for time in scheduler.timesteps:
        without, asked = predict(torch.cat([latents, latents]), time).chunk(2)
        latents = scheduler.step(without + GUIDANCE * (asked - without), time, latents).prev_sample
    return latents


def pixels_of(pictures: Sequence[Image.Image]) -> Tensor:
    """Square RGB pictures of one size to (n, 3, side, side), -1 to 1."""
    stacked = np.stack([np.asarray(picture) for picture in pictures])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).float() / 127.5 - 1


def pictures_of(pixels: Tensor) -> list[Image.Image]:
    """The inverse of `pixels_of`."""
    bytes_ = ((pixels.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(one) for one in bytes_]


def save_pipeline(pipeline: Any, folder: Path) -> None:
    """Write a diffusers folder with weights in float16 that loads in float32.

    diffusers loads its own models in float32 by default; for those of transformers, the config has float32.
    """
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.half()
    pipeline.save_pretrained(folder)
    for file in sorted(folder.glob("*/config.json")):
        config = json.loads(file.read_text(encoding="utf-8"))
        config.pop("_name_or_path", None)  # a path on this machine
        if "dtype" in config:
            config["dtype"] = "float32"
        file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
