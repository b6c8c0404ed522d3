"""Pretrain the miniature AudioLDM: beeps of 1.536 seconds from prompts.

`python -m pretraining.audio.audioldm --output DIR --seed 0` trains such weights: the vocoder, the autoencoder of
spectrograms, CLAP's text encoder, then the U-Net alone. As in AudioLDM (https://arxiv.org/abs/2301.12503), the
condition of the U-Net is one pooled unit vector of the prompt, as a class embedding, without cross-attention. Some
prompts omit attributes, so that the effect of a word does not depend on the others. The folder is an
`AudioLDMPipeline`.
"""

from __future__ import annotations

from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import normalize

from inlay.adapters.media.audio import Sound
from inlay.recipes.miniature.judges.generated_media import accuracies
from inlay.recipes.miniature.media.captions import caption_of
from inlay.recipes.miniature.media.sounds import RATE, SAMPLES, render_sound
from inlay.recipes.miniature.media.specs import TONES, Tone, sample_spec
from pretraining.audio.sound_text_matching import some_names, text_of, train_clap
from pretraining.audio.spectrogram import BANDS, DEVIATION, HOP, MEAN, log_mel, samples_of
from pretraining.audio.vocoder import make_vocoder, train_vocoder
from pretraining.command_line import parse
from pretraining.diffusion import denoiser_training
from pretraining.diffusion.autoencoder import Sizes, latents_of, make_autoencoder, train_autoencoder
from pretraining.diffusion.prompt_tokenizers import CLAP_WIDTH, make_roberta_tokenizer
from pretraining.diffusion.prompted_pipelines import sample, save_pipeline
from pretraining.percentages import percentages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn
    from transformers import ClapTextModelWithProjection, RobertaTokenizer

SPECTROGRAMS = Sizes(channels=1, latent=8, blocks=(8, 16, 32, 64), groups=4, side=64, mean=MEAN, deviation=DEVIATION)
CLAP_STEPS = 800
WHOLE = 0.7  # share of the prompts of the U-Net that name all attributes
POOL = 3000  # sounds; they are synthesised once
HEARD, SEEN = 12, 16  # batch size of the vocoder, of the autoencoder
FACTOR = 2 ** (len(SPECTROGRAMS.blocks) - 1)
FRAMES = SAMPLES // HOP // FACTOR  # of a latent
WIDTHS = (48, 64)  # of the U-Net, at 12 x 8 and 6 x 4


def make_unet() -> Any:
    """A `UNet2DConditionModel` of 12 x 8 latents with a vector as class embedding; random weights."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=FRAMES,
        in_channels=SPECTROGRAMS.latent,
        out_channels=SPECTROGRAMS.latent,
        down_block_types=("AttnDownBlock2D",) * len(WIDTHS),
        mid_block_type="UNetMidBlock2D",
        up_block_types=("AttnUpBlock2D",) * len(WIDTHS),
        block_out_channels=WIDTHS,
        layers_per_block=1,
        attention_head_dim=16,
        norm_num_groups=8,
        class_embed_type="simple_projection",
        projection_class_embeddings_input_dim=CLAP_WIDTH,
        class_embeddings_concat=True,
    )


def make_text_encoder(tokenizer: RobertaTokenizer) -> ClapTextModelWithProjection:
    """CLAP's text encoder, 64 wide and 2 layers deep; random weights."""
    from transformers import ClapTextConfig, ClapTextModelWithProjection

    config = ClapTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=CLAP_WIDTH,
        intermediate_size=4 * CLAP_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        max_position_embeddings=CLAP_WIDTH + 2,  # RoBERTa's positions start after the id of the padding token
        projection_dim=CLAP_WIDTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return ClapTextModelWithProjection(config)


def embed_prompts(encoder: Any, tokenizer: RobertaTokenizer, prompts: Sequence[str]) -> Tensor:
    """Prompts (n) -> unit vectors (n, 64); each distinct prompt is encoded once."""
    distinct = list(dict.fromkeys(prompts))
    vectors: Tensor = encoder(**tokenizer(distinct, padding=True, return_tensors="pt")).text_embeds
    return normalize(vectors, dim=-1)[[distinct.index(prompt) for prompt in prompts]]


def denoise(
    tokenizer: RobertaTokenizer, text: nn.Module, unet: nn.Module, noisy: Tensor, times: Tensor, prompts: list[str]
) -> Tensor:
    """The velocity that the U-Net predicts."""
    vectors = embed_prompts(text, tokenizer, prompts)
    velocity: Tensor = unet(noisy, times, encoder_hidden_states=None, class_labels=vectors).sample
    return velocity


@torch.no_grad()
def generate_sounds(
    text: nn.Module, unet: nn.Module, vae: Any, vocoder: Any, tokenizer: RobertaTokenizer, prompts: list[str]
) -> list[Sound]:
    """Generate sounds from prompts."""
    vectors = embed_prompts(text, tokenizer, [""] * len(prompts) + prompts)
    shape = (len(prompts), SPECTROGRAMS.latent, FRAMES, BANDS // FACTOR)
    latents = sample(
        lambda noisy, time: unet(noisy, time, encoder_hidden_states=None, class_labels=vectors).sample, shape, seed=0
    )
    mel = vae.decode(latents / vae.config.scaling_factor).sample[:, 0]
    return [Sound(samples.numpy(), RATE) for samples in vocoder(mel)]


def train(
    tokenizer: RobertaTokenizer,
    parts: dict[str, Any],
    tones: list[Tone],
    latents: Tensor,
    plan: denoiser_training.Plan,
    rng: Random,
) -> tuple[Any, Any]:
    """Train CLAP's text encoder, then the U-Net; returns the averaged ones.

    Args:
        tokenizer: The tokenizer of the prompts.
        parts: `text`, `unet`, `vae` and `vocoder`.
        tones: The specifications of the sounds.
        latents: The latents of their spectrograms.
        plan: Steps, batch size and learning rates.
        rng: A source of randomness, besides torch's.
    """
    encoder = parts["text"]
    train_clap(partial(embed_prompts, encoder, tokenizer), encoder, tones, latents, rng, steps=CLAP_STEPS)

    def report(text: nn.Module, unet: nn.Module) -> None:
        held_out = [tone for tone in TONES if tone.split == "held_out"] * 8
        prompts = [caption_of(tone) for tone in held_out]
        made = generate_sounds(text, unet, parts["vae"], parts["vocoder"], tokenizer, prompts)
        print(f"held out: {percentages(accuracies(held_out, made))}", flush=True)

    return denoiser_training.train(
        parts["text"],
        parts["unet"],
        latents,
        lambda number, rng: text_of(tones[number], some_names(rng, WHOLE), rng),
        partial(denoise, tokenizer),
        plan,
        rng,
        report=report,
    )


def main() -> None:
    """Train vocoder and autoencoder, then text encoder and U-Net; save in float16."""
    from diffusers import AudioLDMPipeline

    options = parse(__doc__, vocoder_steps=1000, autoencoder_steps=700, steps=1900)
    rng = Random(options.seed)
    tones = [sample_spec(Tone, rng) for _ in range(POOL)]
    samples = samples_of([render_sound(tone, rng) for tone in tones])
    spectrograms = torch.cat([log_mel(part) for part in torch.split(samples, 100)])[:, None]

    vocoder, vae, tokenizer = make_vocoder(), make_autoencoder(SPECTROGRAMS), make_roberta_tokenizer()
    train_vocoder(vocoder, lambda: samples[torch.randint(POOL, (HEARD,))], steps=options.vocoder_steps)
    train_autoencoder(
        vae,
        lambda: spectrograms[torch.randint(POOL, (SEEN,))],
        SPECTROGRAMS,
        steps=options.autoencoder_steps,
        decoder_steps=0,
    )
    parts = {"text": make_text_encoder(tokenizer), "unet": make_unet(), "vae": vae, "vocoder": vocoder}
    plan = denoiser_training.Plan(steps=options.steps, batch=40, lr=1.5e-3)
    text, unet = train(tokenizer, parts, tones, latents_of(vae, spectrograms), plan, rng)
    pipeline = AudioLDMPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=denoiser_training.make_scheduler(),
        vocoder=vocoder,
    )
    save_pipeline(pipeline, options.output)


if __name__ == "__main__":
    main()
