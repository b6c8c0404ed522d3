"""Pretrain the miniature ImageBind: drawings, sounds, clips and texts in one embedding space.

`python -m pretraining.multimodal.imagebind --output DIR --seed 0` trains such weights. The loss is ImageBind's
contrastive loss between two modalities (https://arxiv.org/abs/2305.05665). All modalities are paired with texts,
which the miniature has in any number, not with pictures. Drawings and clips share one branch.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize, one_hot

from inlay.adapters.encoders.imagebind import ImageBind, ImageBindConfig, ImageBindEncoder
from inlay.adapters.encoders.imagebind.config import AudioConfig, Branch, TextConfig, VisionConfig
from inlay.adapters.loading.released.imagebind import load_imagebind
from inlay.adapters.loading.released.weights_file import write_folder
from inlay.recipes.miniature.media.captions import prompt_of
from inlay.recipes.miniature.media.clips import FPS, FRAMES, SIDE
from inlay.recipes.miniature.media.questions import attributes_of
from inlay.recipes.miniature.media.rendering import MODALITIES, render_medium
from inlay.recipes.miniature.media.specs import MediumSpec, Tone, sample_kind
from pretraining import training_loop
from pretraining.command_line import parse, print_size
from pretraining.diffusion.prompt_tokenizers import PROMPT_TOKENS, make_clip_tokenizer
from pretraining.multimodal.vector_probe import probe_media
from pretraining.optimizers import muon_and_adamw
from pretraining.percentages import percentages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import CLIPTokenizer

WIDTH, BLOCKS, HEADS = 96, 3, 4
WIDTH_OUT = 128
POOL = 1600  # media of each kind; they are rendered once
BATCH = 40  # media of each kind in a step
LEARNING_RATE = 2e-3  # of embeddings, norms and heads
MATRIX_RATE = 3e-3  # of the matrices inside the blocks, by Muon
WARM_UP = 80  # steps
DECAY = 0.4  # share of the steps at the end in which the learning rate falls to zero
SCALE = 14.0  # factor of the cosines
CAPTIONS = 0.2  # weight of the loss on complete captions; that on single words has weight 1
PERTURBED = 0.5  # weight of the loss on single words for perturbed media
NOISE = 0.1  # deviation of the noise on pixels and spectrograms, which have deviation 1
SPELLED = {"1": "one", "2": "two", "3": "three"}  # as in captions


def make_model(vocabulary: int) -> ImageBind:
    """An ImageBind of three branches, 96 wide and 3 blocks deep; random weights."""
    trunk = {"width": WIDTH, "blocks": BLOCKS, "heads": HEADS}
    vision = VisionConfig(**trunk, image_size=SIDE, patch=8, clips=1, crops=1, clip_seconds=FRAMES / FPS)
    audio = AudioConfig(**trunk, bands=64, frames=152, clips=1, clip_seconds=1.6, mean=-9.0, deviation=4.0)
    text = TextConfig(width=64, blocks=2, heads=4, context=PROMPT_TOKENS, vocabulary=vocabulary)
    return ImageBind(ImageBindConfig(width_out=WIDTH_OUT, vision=vision, audio=audio, text=text))


def tensors_of(model: ImageBind, media: Sequence[MediumSpec], rng: Random) -> Tensor:
    """Rendered media of one kind, preprocessed for their branch."""
    modality = MODALITIES[type(media[0])]
    encoder = ImageBindEncoder(model, modality)  # type: ignore[arg-type]
    return encoder.preprocess([render_medium(value, rng) for value in media], "squash")


def text_ids(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Ids (texts, 16), padded with zeros; the end token has the highest id."""
    rows = tokenizer(texts, truncation=True, max_length=PROMPT_TOKENS)["input_ids"]
    return torch.tensor([row + [0] * (PROMPT_TOKENS - len(row)) for row in rows])


def contrast(media: Tensor, texts: Tensor, owners: Tensor) -> Tensor:
    """The symmetric contrastive loss.

    Args:
        media: Unit vectors (n, width).
        texts: Unit vectors of the prompts of the distinct specifications (m, width).
        owners: The index of the text of each medium (n,); several media may share a text.
    """
    logits = SCALE * media @ texts.T
    shared = one_hot(owners, len(texts)).float()
    return (cross_entropy(logits, owners) + cross_entropy(logits.T, (shared / shared.sum(0)).T)) / 2


def perturb(media: Tensor) -> tuple[Tensor, tuple[str, ...]]:
    """Perturbed media that do not occur in the world, and the attributes that they keep.

    Pictures become grey with one random tint; the bands of spectrograms are rolled. So shape is learnt independently of
    colour, and rhythm independently of pitch, and no held-out combination is shown.

    Args:
        media: Media of one kind, normalised: pictures (n, 3, ...), clips (n, clips, 3, ...), spectrograms
            (n, clips, 1, bands, frames).

    Returns:
        Media of the same shape, and the attributes that they keep.
    """
    if media.ndim == 5:
        return media.roll(int(torch.randint(4, 40, ())), dims=3), ("count", "tempo")
    colours = 1 if media.ndim == 4 else 2
    shape = [len(media), *(3 if axis == colours else 1 for axis in range(1, media.ndim))]
    grey = media.mean(colours, keepdim=True)
    return grey * (0.6 + 0.6 * torch.rand(shape)) + 0.8 * torch.randn(shape), ("shape", "size", "direction")


def word_losses(
    model: ImageBind,
    tokenizer: CLIPTokenizer,
    drawn: list[MediumSpec],
    media: Tensor,
    said: tuple[str, ...] | None = None,
) -> Tensor:
    """The cross-entropy between media and the single words that describe them, attribute by attribute.

    With complete captions alone, every combination would be a separate cluster, and a new one could be anywhere.

    Args:
        model: Its text branch embeds the words.
        tokenizer: The tokenizer of the text branch.
        drawn: The specifications of n media of one kind.
        media: Their unit vectors (n, width).
        said: The attributes; all if not given.

    Returns:
        The mean over the attributes.
    """
    known = [attributes_of(value) for value in drawn]
    names = sorted({name for one in known for name in one if said is None or name in said})
    found = {name: sorted({one[name] for one in known if name in one}) for name in names}
    flat = [SPELLED.get(word, word) for name in names for word in found[name]]
    texts = model.embed("text", text_ids(tokenizer, flat), scaled=False)
    losses = []
    for name, of_words in zip(names, torch.split(texts, [len(found[name]) for name in names]), strict=True):
        having = [number for number, one in enumerate(known) if name in one]
        owners = torch.tensor([found[name].index(known[number][name]) for number in having])
        losses.append(cross_entropy(SCALE * media[having] @ of_words.T, owners))
    return torch.stack(losses).mean()


def train(model: ImageBind, tokenizer: CLIPTokenizer, rng: Random, *, steps: int) -> None:
    """Train in place: Muon and AdamW, warm-up, constant rate, linear decay to zero."""
    pools: dict[type[MediumSpec], tuple[list[MediumSpec], Tensor]] = {}
    for kind in MODALITIES:
        values = [sample_kind(kind, rng) for _ in range(POOL)]
        pools[kind] = values, tensors_of(model, values, rng)
    model.requires_grad_(True).train()
    both = muon_and_adamw(
        model,
        lr=LEARNING_RATE,
        matrix_lr=MATRIX_RATE,
        warm_up=WARM_UP,
        decay=DECAY,
        steps=steps,
        inside="blocks",
    )

    def losses(step: int) -> dict[str, Tensor]:
        del step  # all steps are the same
        parts = {}
        for kind, (values, tensors) in pools.items():
            chosen = torch.randint(len(values), (BATCH,))
            drawn = [values[int(number)] for number in chosen]
            distinct = list(dict.fromkeys(drawn))
            texts = model.embed(
                "text", text_ids(tokenizer, [prompt_of(value, rng) for value in distinct]), scaled=False
            )
            branch: Branch = "audio" if kind is Tone else "vision"
            seen = tensors[chosen]
            media = normalize(model.embed(branch, seen + NOISE * torch.randn_like(seen), scaled=False), dim=-1)
            owners = torch.tensor([distinct.index(value) for value in drawn])
            parts[f"{MODALITIES[kind]} captions"] = CAPTIONS * contrast(media, texts, owners)
            parts[f"{MODALITIES[kind]} words"] = word_losses(model, tokenizer, drawn, media)
            altered, said = perturb(seen)
            media = normalize(model.embed(branch, altered, scaled=False), dim=-1)
            parts[f"{MODALITIES[kind]} perturbed"] = PERTURBED * word_losses(model, tokenizer, drawn, media, said)
        return parts

    def report() -> None:
        print(percentages(probe_media(model, number=300)), flush=True)
        model.requires_grad_(True)  # the encoder of the probe has frozen it

    training_loop.train(model, losses, both, steps=steps, report=report)


def main() -> None:
    """Train, save in bfloat16, measure the saved model."""
    options = parse(__doc__, steps=600)
    tokenizer = make_clip_tokenizer()
    model = make_model(len(tokenizer))
    print_size(model)
    train(model, tokenizer, Random(options.seed), steps=options.steps)
    sizes = model.config.to_json() | {"dtype": "float32"}  # in memory; bfloat16 on disk
    write_folder(options.output, sizes, model.to(torch.bfloat16))
    tokenizer.save_pretrained(options.output)
    saved, _ = load_imagebind(options.output, dtype=torch.float32)
    print(f"saved: {percentages(probe_media(saved))}", flush=True)


if __name__ == "__main__":
    main()
