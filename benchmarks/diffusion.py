"""The overhead of our denoising loop, compared with diffusers' own pipeline with the same modules, seed and latents.

Nearly all of the time is spent in the unet, which is the same object for both sides, with the same number of calls and
equal tensors. Its time varies only with the machine, by more than 2 % on a busy one. So the time inside the unet is
measured too: each side has its own time outside of it, plus the median of both sides' times inside.
"""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Callable
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from benchmarks.outcome import Comparison, Outcome
from benchmarks.setting import Setting
from benchmarks.timing import Clock, Spent, Times, in_turn
from inlay.adapters.generators import ClipText, StableDiffusion
from inlay.recipes.systems.load_backbone import miniature_backbone

__all__ = ["overhead"]

WIDTH, TOKENS = 256, 77


def overhead(setting: Setting) -> Outcome:
    """Compare the seconds for a picture's latents with guidance.

    Raises:
        ValueError: the latents of the two sides differ.
    """
    parts = _parts((8, 16) if setting.tiny else (64, 128), 8 if setting.tiny else 32, setting.device)
    steps, scale = (2, 5.0) if setting.tiny else (6, 5.0)
    none = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a warning about the missing safety checker
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
        raise ValueError(f"expected equal latents on both sides, got a difference of {gap:.1e}")
    first, second = in_turn((theirs, ours), setting.quick_repeats, setting.device)
    door = _Door(parts["unet"], setting.device)
    outside = in_turn((door.around(theirs), door.around(ours)), setting.quick_repeats, setting.device)
    if len(set(door.calls)) != 1:
        raise ValueError(f"expected as many unet calls on both sides, got {sorted(set(door.calls))} per picture")
    inside = Spent(*(statistics.median(kind) for kind in zip(*door.inside, strict=True)))
    settled = [_with(times, inside) for times in outside]
    what = "diffusers, latents out"
    return Outcome(
        title="denoising loop over the bare pipeline",
        comparisons=[
            Comparison.of_times(
                "StableDiffusionPipeline", f"{what}, the unet at its median", *settled, target=1.02, better="lower"
            ),
            Comparison.of_times("StableDiffusionPipeline", what, first, second, better="lower"),
        ],
        facts={
            "steps": steps,
            "guidance_scale": scale,
            "largest_difference_of_latents": gap,
            "unet_calls": door.calls[0],
            "unet_seconds": [spent.wall for spent in door.inside],
            "milliseconds_outside": {
                name: 1000 * times.median for name, times in zip(("theirs", "ours"), outside, strict=True)
            },
        },
    )


class _Door:
    """Measures the time inside the unet."""

    def __init__(self, unet: nn.Module, device: torch.device) -> None:
        self.unet, self.device = unet, device
        self.inside: list[Spent] = []
        """Seconds inside the unet, for every picture."""
        self.calls: list[int] = []
        """Calls of the unet, for every picture."""

    def around(self, side: Callable[[], object]) -> Callable[[], Spent]:
        """A side that also records its time outside of the unet."""

        def run() -> Spent:
            entered, visits = Clock(self.device), list[Spent]()
            hooks = [
                self.unet.register_forward_pre_hook(lambda *_: entered.start()),
                self.unet.register_forward_hook(lambda *_: visits.append(entered.read())),
            ]
            clock = Clock(self.device)
            try:
                side()
            finally:
                whole = clock.read()
                for hook in hooks:
                    hook.remove()
            inside = Spent(sum(visit.wall for visit in visits), sum(visit.cpu for visit in visits))
            self.inside.append(inside)
            self.calls.append(len(visits))
            return Spent(whole.wall - inside.wall, whole.cpu - inside.cpu)

        return run


def _with(times: Times, inside: Spent) -> Times:
    return Times([wall + inside.wall for wall in times.wall], [cpu + inside.cpu for cpu in times.cpu])


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
