"""NExT-GPT's adapter at its published sizes, counted on the meta device: no weight is ever made."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel, UNet3DConditionModel
from transformers import LlamaConfig, LlamaForCausalLM, SpeechT5HifiGan, SpeechT5HifiGanConfig

from inlay.adapters.adapter import Adapter
from inlay.adapters.backbone import Backbone
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.generators import AudioLdm, StableDiffusion, TextToVideo
from inlay.adapters.inputs import build_projector
from inlay.adapters.language.model import LanguageModel
from inlay.adapters.llm_parts.lora import LoraConfig
from inlay.adapters.llm_parts.token_rows import TokensConfig
from inlay.adapters.outputs import TransformerOutputConfig

COUNTS = {
    "outputs.image": 31_958_784,
    "outputs.video": 32_090_112,
    "outputs.audio": 31_788_544,
    "tokens": 2 * 36 * 4096,
    "lora": 33_554_432,
}
INPUT = 4_198_400


@pytest.fixture(scope="module")
def adapter(tokenizer_of: Any) -> Adapter:
    with torch.device("meta"):
        vicuna = LlamaForCausalLM(LlamaConfig(num_hidden_layers=32))
        vae = AutoencoderKL(
            block_out_channels=(8, 8, 8, 8), down_block_types=("DownEncoderBlock2D",) * 4, norm_num_groups=8
        )
        still, moving = UNet2DConditionModel(cross_attention_dim=768), UNet3DConditionModel(cross_attention_dim=1024)
        sounding = UNet2DConditionModel(
            class_embed_type="simple_projection",
            projection_class_embeddings_input_dim=512,
            class_embeddings_concat=True,
        )
        vocoder = SpeechT5HifiGan(SpeechT5HifiGanConfig(model_in_dim=64))
    noise = DDIMScheduler()
    backbone = Backbone(
        LanguageModel(vicuna, tokenizer_of(), source="vicuna"),
        generators={
            "image": StableDiffusion(still, vae, noise, tokens=77, source="stable-diffusion-v1-5"),
            "video": TextToVideo(moving, vae, noise, tokens=77, source="zeroscope_v2_576w"),
            "audio": AudioLdm(sounding, vae, vocoder, noise, source="audioldm-l-full"),
        },
    )
    return Adapter.for_backbone(
        backbone,
        system="nextgpt",
        name="nextgpt-7b",
        layout=Layout(template="plain"),
        inputs={},
        outputs=dict.fromkeys(("image", "video", "audio"), TransformerOutputConfig()),
        tokens=TokensConfig.numbered(4096, image=4, video=24, audio=8),
        lora=LoraConfig(r=32, alpha=32.0, dropout=0.1, targets=("q_proj", "k_proj", "v_proj", "o_proj")),
    )


def test_every_part_has_the_published_count(adapter: Adapter) -> None:
    assert {part.name: part.parameters for part in adapter.parts()} == COUNTS
    assert all(parameter.is_meta for parameter in adapter.parameters())


def test_the_input_linear_of_imagebind() -> None:
    with torch.device("meta"):
        linear = build_projector("linear", {"width_in": 1024, "width_out": 4096})
    assert sum(parameter.numel() for parameter in linear.parameters()) == INPUT


def test_the_whole_bundle_is_268_megabytes_in_bfloat16(adapter: Adapter) -> None:
    numbers = INPUT + sum(part.parameters for part in adapter.parts())
    assert numbers == 133_885_184
    assert 2 * numbers == 267_770_368
    # Beside that the two whole matrices that upstream trains and stores, 32,038 rows each, would be another 525 MB.
    assert 2 * 2 * 32_038 * 4096 == 524_910_592


def test_ports_say_what_each_generator_reads(adapter: Adapter) -> None:
    read = {name: (port.tokens, port.width) for name, port in adapter.interface.items() if port.kind == "generator"}
    assert read == {"generate.image": (77, 768), "generate.video": (77, 1024), "generate.audio": (1, 512)}
