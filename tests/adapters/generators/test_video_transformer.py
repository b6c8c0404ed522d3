"""CogVideoX under the same port, against diffusers' pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    CogVideoXDDIMScheduler,
    CogVideoXDPMScheduler,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
)
from PIL import Image
from transformers import T5Config, T5EncoderModel

from inlay.adapters.generators import CogVideoX, GeneratorError, T5Text
from inlay.adapters.loading.generators import load_generator
from inlay.adapters.media.video import Video

TOKENS = 8


def parts(tokenizer: Any, *, rotary: bool = False) -> dict[str, Any]:
    torch.manual_seed(6)
    transformer = CogVideoXTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=4,
        out_channels=4,
        time_embed_dim=4,
        text_embed_dim=16,
        num_layers=1,
        sample_width=4,
        sample_height=4,
        sample_frames=9,
        patch_size=2,
        temporal_compression_ratio=4,
        max_text_seq_length=TOKENS,
        use_rotary_positional_embeddings=rotary,
    ).eval()
    with torch.no_grad():  # the last layers begin near zero, and then every clip is noise
        for parameter in transformer.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    vae = AutoencoderKLCogVideoX(
        block_out_channels=(8, 8, 8, 8),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
        sample_height=16,
        sample_width=16,
    ).eval()
    text = T5EncoderModel(T5Config(vocab_size=len(tokenizer), d_model=16, d_kv=4, d_ff=16, num_layers=1, num_heads=2))
    scheduler = CogVideoXDDIMScheduler(num_train_timesteps=50, prediction_type="v_prediction")
    return {
        "transformer": transformer,
        "vae": vae,
        "text_encoder": text.eval(),
        "tokenizer": tokenizer,
        "scheduler": scheduler,
    }


def ours(made: dict[str, Any]) -> CogVideoX:
    text = T5Text(made["text_encoder"], made["tokenizer"], TOKENS)
    return CogVideoX(made["transformer"], made["vae"], made["scheduler"], text)


@pytest.mark.parametrize("rotary", [False, True], ids=["embeddings", "rotary"])
def test_equal_to_the_pipeline(tokenizer_of: Any, rotary: bool) -> None:
    made = parts(tokenizer_of(), rotary=rotary)
    pipeline = CogVideoXPipeline(**made)
    pipeline.set_progress_bar_config(disable=True)
    sources = [torch.Generator().manual_seed(seed) for seed in (2, 3)]
    given = {"height": 16 if not rotary else 32, "width": 16, "num_frames": 9}
    expected = pipeline(
        ["red", "two squares"],
        **(given | {"height": 32, "width": 32} if not rotary else given),
        num_inference_steps=3,
        guidance_scale=3.0,
        generator=sources,
        max_sequence_length=TOKENS,
        output_type="np",
    ).frames
    generator = ours(made)
    size = (9, 32, 32) if not rotary else (9, 32, 16)
    clips = generator.generate(
        generator.encode_text(["red", "two squares"]), steps=3, guidance_scale=3.0, seed=2, size=size
    )
    got = np.stack([[np.asarray(frame) for frame in clip.frames] for clip in clips])
    assert got.shape == expected.shape
    assert expected[0].std() > 1e-2
    np.testing.assert_allclose(got, (expected * 255).round(), atol=1)
    latents = generator.sample(
        generator.encode_text(["red", "two squares"]), steps=3, guidance_scale=3.0, seed=2, size=size
    )
    pixels = generator.vae.decode(latents.transpose(1, 2) / generator.vae.config.scaling_factor).sample
    numbers = (pixels * 0.5 + 0.5).clamp(0, 1).permute(0, 2, 3, 4, 1).numpy()
    np.testing.assert_allclose(numbers, expected, atol=1e-5, rtol=0)


def test_port_sizes_and_media(tokenizer_of: Any) -> None:
    generator = ours(parts(tokenizer_of()))
    port = generator.port
    assert (port.family, port.tokens, port.width, port.settings["prediction_type"]) == (
        "cogvideox",
        8,
        16,
        "v_prediction",
    )
    assert generator.latent_shape() == (3, 4, 4, 4)
    clip = Video((Image.new("RGB", (32, 32), "red"),) * 9, 8.0)
    latents = generator.encode_media([clip])
    assert latents.shape == (1, *generator.latent_shape((9, 32, 32)))
    conditioning = generator.encode_text(["red"]).requires_grad_()
    generator.diffusion_loss(conditioning, latents).backward()
    assert conditioning.grad is not None
    with pytest.raises(GeneratorError, match="1 frame more than a multiple of 4, got 8"):
        generator.latent_shape((8, 32, 32))


def test_a_scheduler_of_two_steps_is_refused(tokenizer_of: Any) -> None:
    made = parts(tokenizer_of())
    with pytest.raises(GeneratorError, match="CogVideoXDDIMScheduler"):
        ours(made | {"scheduler": CogVideoXDPMScheduler(num_train_timesteps=50)})


def test_a_folder_gives_the_same_generator(tokenizer_of: Any, tmp_path: Path) -> None:
    made = parts(tokenizer_of())
    CogVideoXPipeline(**made).save_pretrained(tmp_path / "cog")
    loaded = load_generator(tmp_path / "cog", text_encoder=False)
    assert isinstance(loaded, CogVideoX)
    assert loaded.port.weights == ours(made).port.weights
    assert loaded.tokens == TOKENS
