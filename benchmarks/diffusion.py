"""What our denoising loop costs over diffusers' own pipeline: the same modules, the same seed, the same latents."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from benchmarks.outcome import Comparison, Outcome
from benchmarks.setting import Setting
from benchmarks.timing import in_turn
from inlay.adapters.generators import ClipText, StableDiffusion
from inlay.recipes.backbones import miniature_backbone

__all__ = ["overhead"]

WIDTH, TOKENS = 256, 77


def overhead(setting: Setting) -> Outcome:
    """Seconds of a picture's latents with guidance.

    Raises:
        ValueError: the sides draw other latents.
    """
    parts = _parts((8, 16) if setting.tiny else (64, 128), 8 if setting.tiny else 32, setting.device)
    steps, scale = (2, 5.0) if setting.tiny else (6, 5.0)
    none = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It says that it has no safety checker.
        pipeline: Any = StableDiffusionPipeline(**parts, **none)
    pipeline.set_progress_bar_config(disable=True)
    text = ClipText(parts["text_encoder"], parts["tokenizer"])
    generator = StableDiffusion(parts["unet"], parts["vae"], parts["scheduler"], text)
    drawn = torch.Generator().manual_seed(1)
    given, negative = (torch.randn(1, TOKENS, WIDTH, generator=drawn).to(setting.device) for _ in range(2))

    def theirs() -> torch.Tensor:
        latents: torch.Tensor = pipeline(
            prompt_embeds=given,
            negative_prompt_embeds=negative,
            num_inference_steps=steps,
            guidance_scale=scale,
            generator=[torch.Generator().manual_seed(5)],
            output_type="latent",
        ).images
        return latents

    def ours() -> torch.Tensor:
        return generator.sample(given, negative=negative, guidance_scale=scale, steps=steps, seed=5)

    gap = float((theirs() - ours()).abs().max())
    if gap > 1e-4:
        raise ValueError(f"the sides draw other latents: they differ by {gap:.1e}")
    first, second = in_turn((theirs, ours), setting.quick_repeats, setting.device)
    return Outcome(
        title="denoising loop over the bare pipeline",
        comparisons=[
            Comparison.of_times(
                "StableDiffusionPipeline", "diffusers, latents out", first, second, target=1.02, better="lower"
            )
        ],
        facts={"steps": steps, "guidance_scale": scale, "largest_difference_of_latents": gap},
    )


def _parts(blocks: tuple[int, int], sample: int, device: torch.device) -> dict[str, Any]:
    torch.manual_seed(3)
    tokenizer = miniature_backbone().llm.tokenizer
    tokenizer.model_max_length = TOKENS
    unet = UNet2DConditionModel(
        sample_size=sample,
        block_out_channels=blocks,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=4,
    )
    vae = AutoencoderKL(block_out_channels=(8, 16), norm_num_groups=4, sample_size=sample,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2)  # fmt: skip
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        max_position_embeddings=TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    reader: Any = CLIPTextModel(text)
    scheduler = DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    return {
        "unet": unet.to(device).eval(),
        "vae": vae.to(device).eval(),
        "scheduler": scheduler,
        "text_encoder": reader.to(device).eval(),
        "tokenizer": tokenizer,
    }
