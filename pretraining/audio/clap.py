"""Pretrain the miniature CLAP: sounds in the embedding space of AudioLDM's text encoder.

`python -m pretraining.audio.clap --output DIR --seed 0` trains such weights. The text tower is that of the shipped
`audioldm` and stays frozen (a locked tower, https://arxiv.org/abs/2111.07991); the audio tower, HTSAT, is trained to
match it (CLAP, https://arxiv.org/abs/2211.06687). So the vector of a sound can be the condition of AudioLDM too, as
in AudioLDM's own training.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import normalize

from inlay.adapters.loading.encoders.audio import load_audio_encoder
from inlay.recipes.miniature import backbone_path
from inlay.recipes.miniature.media.sounds import RATE, render_sound
from inlay.recipes.miniature.media.specs import Tone, sample_spec
from pretraining import training_loop
from pretraining.audio.audioldm import embed_prompts
from pretraining.audio.sound_text_matching import ATTRIBUTES, match_loss
from pretraining.command_line import parse, print_size
from pretraining.diffusion.prompt_tokenizers import CLAP_WIDTH
from pretraining.multimodal.vector_probe import probe_encoders
from pretraining.optimizers import muon_and_adamw
from pretraining.percentages import percentages
from pretraining.rounded_weights import save_rounded

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import ClapFeatureExtractor, ClapModel, RobertaTokenizer

    from inlay.adapters.media.audio import Sound

WIDTH, DEPTHS, HEADS = 24, (2, 2, 2), (2, 4, 8)  # of the audio tower; each stage doubles the width
BANDS, SPEC = 32, 64  # HTSAT stacks SPEC / BANDS parts of the time axis into a square of SPEC
SECONDS = 2
HOP = RATE * SECONDS // (SPEC * SPEC // BANDS - 3)  # samples: 126 frames, resized to 128
POOL = 3000  # sounds; they are synthesised once
BATCH, ROLLED = 48, 24  # sounds of a step, and sounds with rolled bands
SEVERAL = 0.2  # weight of the loss on texts with several attributes; that on single attributes has weight 1
NOISE = 1.0  # deviation of the noise on spectrograms, in decibels
SHIFT = 6  # the largest random shift of a spectrogram, in frames
LEARNING_RATE = 2e-3  # of embeddings, norms and projections
MATRIX_RATE = 3e-3  # of the matrices inside the blocks, by Muon
WARM_UP, DECAY = 60, 0.4  # steps; share of the steps at the end in which the learning rate falls to zero


def make_extractor() -> ClapFeatureExtractor:
    """CLAP's feature extractor: 32 bands up to 8 kHz, 126 frames of 2 seconds."""
    from transformers import ClapFeatureExtractor

    return ClapFeatureExtractor(
        feature_size=BANDS,
        sampling_rate=RATE,
        hop_length=HOP,
        max_length_s=SECONDS,
        frequency_max=RATE // 2,
        truncation="rand_trunc",
    )


def make_clap(text: Any) -> ClapModel:
    """A `ClapModel` around a text tower with its projection; the audio tower has random weights."""
    from transformers import ClapConfig, ClapModel

    audio: dict[str, Any] = {
        "spec_size": SPEC,
        "num_mel_bins": BANDS,
        "window_size": 4,
        "patch_embeds_hidden_size": WIDTH,
        "hidden_size": WIDTH * 2 ** (len(DEPTHS) - 1),
        "depths": list(DEPTHS),
        "num_attention_heads": list(HEADS),
        "num_hidden_layers": len(DEPTHS),
        "hidden_dropout_prob": 0.0,
        "mlp_ratio": 2.0,
        "dtype": "float32",  # in memory, if the audio tower is loaded alone
    }
    # The path of the text tower must not be saved.
    sizes = {
        name: value for name, value in text.config.to_dict().items() if name not in ("_name_or_path", "architectures")
    }
    model = ClapModel(ClapConfig(text_config=sizes, audio_config=audio, projection_dim=CLAP_WIDTH))
    model.text_model.load_state_dict(text.text_model.state_dict())
    model.text_projection.load_state_dict(text.text_projection.state_dict())
    return model


def mels_of(extractor: ClapFeatureExtractor, sounds: list[Sound]) -> Tensor:
    """Spectrograms in decibels, (n, 1, 126, 32)."""
    rows = [sound.samples for sound in sounds]
    mels: Tensor = extractor(rows, sampling_rate=RATE, return_tensors="pt").input_features
    return mels.float()


def roll_bands(mels: Tensor) -> Tensor:
    """Spectrograms (n, 1, frames, bands) with rolled bands, each by a random step.

    Only the rhythm is preserved. So it is learnt for every pitch and timbre, including those of held-out combinations.
    """
    steps = torch.randint(2, BANDS - 2, (len(mels),))
    return torch.stack([mel.roll(int(step), dims=-1) for mel, step in zip(mels, steps, strict=True)])


def train(model: ClapModel, tokenizer: RobertaTokenizer, text: Any, folder: Path, rng: Random, *, steps: int) -> None:
    """Train the audio tower in place: Muon and AdamW, warm-up, constant rate, linear decay to zero.

    Args:
        model: The CLAP model, whose text tower stays frozen.
        tokenizer: The tokenizer of the text tower.
        text: The text tower with its projection.
        folder: Where the model is saved for each report.
        rng: A source of randomness, besides torch's.
        steps: All steps.
    """
    extractor = make_extractor()
    tones = [sample_spec(Tone, rng) for _ in range(POOL)]
    mels = torch.cat(
        [mels_of(extractor, [render_sound(tone, rng) for tone in tones[n : n + 100]]) for n in range(0, POOL, 100)]
    )
    tower = torch.nn.ModuleDict({"audio": model.audio_model, "projection": model.audio_projection}).train()
    embed = torch.no_grad()(partial(embed_prompts, text, tokenizer))

    def losses(step: int) -> dict[str, Tensor]:
        del step  # all steps are the same
        chosen = torch.randint(POOL, (BATCH + ROLLED,))
        drawn = [tones[int(number)] for number in chosen]
        heard = mels[chosen].roll(int(torch.randint(-SHIFT, SHIFT + 1, ())), dims=2)
        heard = torch.cat([heard[:BATCH], roll_bands(heard[BATCH:])])
        pooled = model.audio_model(heard + NOISE * torch.randn_like(heard)).pooler_output
        sounds = normalize(model.audio_projection(pooled), dim=-1)
        parts = {name: match_loss(sounds[:BATCH], drawn[:BATCH], embed, rng, [name]) for name in ATTRIBUTES}
        parts["several"] = SEVERAL * match_loss(sounds[:BATCH], drawn[:BATCH], embed, rng)
        parts["rolled"] = match_loss(sounds[BATCH:], drawn[BATCH:], embed, rng, ["rhythm"])
        return parts

    both = muon_and_adamw(
        tower, lr=LEARNING_RATE, matrix_lr=MATRIX_RATE, warm_up=WARM_UP, decay=DECAY, steps=steps, inside="blocks"
    )

    def report() -> None:
        model.save_pretrained(folder)
        extractor.save_pretrained(folder)
        print(percentages(measured(folder, number=300)), flush=True)

    training_loop.train(tower, losses, both, steps=steps, report=report)
    model.train(mode=False)


def measured(folder: Path, *, number: int = 800) -> dict[str, float]:
    """The accuracy of linear probes on the vectors of held-out sounds."""
    return probe_encoders({"audio": load_audio_encoder(folder, dtype=torch.float32)}, number=number)


def main() -> None:
    """Train, save in bfloat16, measure the saved model."""
    from transformers import ClapTextModelWithProjection, RobertaTokenizer

    options = parse(__doc__, steps=600)
    pipeline = backbone_path("audioldm")
    tokenizer = RobertaTokenizer.from_pretrained(pipeline / "tokenizer")
    text: Any = ClapTextModelWithProjection.from_pretrained(pipeline / "text_encoder", dtype=torch.float32)
    model = make_clap(text)
    print_size(model)
    train(model, tokenizer, text, options.output, Random(options.seed), steps=options.steps)
    save_rounded(model, options.output)
    tokenizer.save_pretrained(options.output)
    print(f"saved: {percentages(measured(options.output))}", flush=True)


if __name__ == "__main__":
    main()
