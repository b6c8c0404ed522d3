"""Tiny random diffusion models, as diffusers builds them: two levels, one block each, milliseconds a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers import (
    AudioLDMPipeline,
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    TextToVideoSDPipeline,
    UNet2DConditionModel,
    UNet3DConditionModel,
)
from transformers import (
    ClapTextConfig,
    ClapTextModelWithProjection,
    CLIPTextConfig,
    CLIPTextModel,
    PreTrainedTokenizerFast,
    SpeechT5HifiGan,
    SpeechT5HifiGanConfig,
)

from inlay.adapters.generators import AudioLdm, ClapText, ClipText, StableDiffusion, TextToVideo

TOKENS = 9


def scheduler(kind: type[Any] = DDIMScheduler, prediction: str = "epsilon") -> Any:
    return kind(
        num_train_timesteps=50,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=prediction,
        **({"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1} if kind is DDIMScheduler else {}),
    )


def vae(channels: int = 3) -> Any:
    return AutoencoderKL(
        in_channels=channels,
        out_channels=channels,
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=16,
    ).eval()


def clip_text(tokenizer: PreTrainedTokenizerFast, width: int) -> Any:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model: Any = CLIPTextModel(config)
    return model.eval()


def parts_of_image(tokenizer: PreTrainedTokenizerFast, width: int = 16, prediction: str = "epsilon") -> dict[str, Any]:
    torch.manual_seed(3)
    tokenizer.model_max_length = TOKENS
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=width,
        attention_head_dim=4,
        norm_num_groups=4,
    ).eval()
    return {
        "unet": unet,
        "vae": vae(),
        "scheduler": scheduler(prediction=prediction),
        "text_encoder": clip_text(tokenizer, width),
        "tokenizer": tokenizer,
    }


def parts_of_video(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    torch.manual_seed(4)
    tokenizer.model_max_length = TOKENS
    unet = UNet3DConditionModel(
        sample_size=4,
        block_out_channels=(4, 8),
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        layers_per_block=1,
        cross_attention_dim=16,
        attention_head_dim=4,
        norm_num_groups=2,
    ).eval()
    return {
        "unet": unet,
        "vae": vae(),
        "scheduler": scheduler(),
        "text_encoder": clip_text(tokenizer, 16),
        "tokenizer": tokenizer,
    }


def parts_of_audio(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    torch.manual_seed(5)
    tokenizer.model_max_length = TOKENS
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=(8, 16),
        attention_head_dim=4,
        norm_num_groups=4,
        class_embed_type="simple_projection",
        projection_class_embeddings_input_dim=16,
        class_embeddings_concat=True,
    ).eval()
    text = ClapTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=12,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=32,
        projection_dim=16,
        pad_token_id=1,
    )
    vocoder = SpeechT5HifiGanConfig(
        model_in_dim=8,
        sampling_rate=1600,
        upsample_initial_channel=8,
        upsample_rates=[2, 2],
        upsample_kernel_sizes=[4, 4],
        resblock_kernel_sizes=[3, 3],
        resblock_dilation_sizes=[[1, 3], [1, 3]],
        normalize_before=False,
        initializer_range=0.3,
    )
    reader: Any = ClapTextModelWithProjection(text)
    speaker: Any = SpeechT5HifiGan(vocoder)
    return {
        "unet": unet,
        "vae": vae(channels=1),
        "scheduler": scheduler(),
        "text_encoder": reader.eval(),
        "tokenizer": tokenizer,
        "vocoder": speaker.eval(),
    }


MAKERS: dict[str, Callable[..., dict[str, Any]]] = {
    "image": parts_of_image,
    "video": parts_of_video,
    "audio": parts_of_audio,
}


def make_pipeline(modality: str, parts: dict[str, Any]) -> Any:
    """The pipeline of diffusers, silent."""
    if modality == "image":
        none = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        pipeline: Any = StableDiffusionPipeline(**parts, **none)
    else:
        pipeline = {"audio": AudioLDMPipeline, "video": TextToVideoSDPipeline}[modality](**parts)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def make_generator(modality: str, parts: dict[str, Any], *, text: bool = True, **options: Any) -> Any:
    """Ours around the same parts."""
    given = dict(parts)
    reader, tokenizer = given.pop("text_encoder"), given.pop("tokenizer")
    encoder = (ClapText if modality == "audio" else ClipText)(reader, tokenizer) if text else None
    kind: Any = {"image": StableDiffusion, "video": TextToVideo, "audio": AudioLdm}[modality]
    return kind(**given, text=encoder, **({"source": f"tiny/{modality}"} | options))
