"""The share of prompts that the generators follow with their own text encoders: upper bound and chance level.

`python -m pretraining.diffusion.generator_probe` gives each shipped generator the captions of held-out drawings,
sounds and clips, and prints the share of results that a deterministic judge (`inlay.recipes.miniature.judges`) accepts
for their captions, and the share by chance, for which each result is judged by a random other caption. The pipelines of
diffusers run the models.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch

from inlay.adapters.media.audio import Sound
from inlay.adapters.media.video import Video
from inlay.recipes.miniature import backbone_path
from inlay.recipes.miniature.judges.generated_media import accuracies
from inlay.recipes.miniature.media.captions import caption_of
from inlay.recipes.miniature.media.clips import FPS, FRAMES
from inlay.recipes.miniature.media.sounds import RATE
from inlay.recipes.miniature.media.specs import DRAWINGS, MOVEMENTS, TONES, MediumSpec
from pretraining.diffusion.prompted_pipelines import GUIDANCE, STEPS, pictures_of
from pretraining.percentages import percentages

if TYPE_CHECKING:
    from PIL import Image

GeneratorName: TypeAlias = Literal["sd", "audioldm", "video"]
Medium: TypeAlias = "Image.Image | Sound | Video"

_VALUES: dict[GeneratorName, tuple[MediumSpec, ...]] = {"sd": DRAWINGS, "audioldm": TONES, "video": MOVEMENTS}
_BATCH = 24


def _picture(made: Any) -> list[Medium]:
    return [*pictures_of(2 * made.images - 1)]


def _sounds(made: Any) -> list[Medium]:
    return [Sound(samples, RATE) for samples in made.audios]


def _clips(made: Any) -> list[Medium]:
    return [Video(tuple(pictures_of(2 * frames - 1)), FPS) for frames in made.frames]


_READERS: dict[GeneratorName, Callable[[Any], list[Medium]]] = {"sd": _picture, "audioldm": _sounds, "video": _clips}
_OPTIONS: dict[GeneratorName, dict[str, Any]] = {
    "sd": {"output_type": "pt"},
    "audioldm": {"output_type": "np"},
    "video": {"output_type": "pt", "num_frames": FRAMES},
}


def load_pipeline(folder: Path) -> Any:
    """A pipeline of diffusers in single precision, without a progress bar."""
    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def make(
    name: GeneratorName,
    pipeline: Any,
    prompts: Sequence[str],
    *,
    seed: int = 0,
    guidance: float = GUIDANCE,
    steps: int = STEPS,
) -> list[Medium]:
    """Generate pictures, sounds or clips from prompts.

    Args:
        name: The generator.
        pipeline: See `load_pipeline`.
        prompts: The prompts.
        seed: The seed of the noise.
        guidance: Classifier-free guidance scale; 1 for none.
        steps: Steps of sampling.
    """
    noise = torch.Generator().manual_seed(seed)
    media: list[Medium] = []
    for start in range(0, len(prompts), _BATCH):
        part = list(prompts[start : start + _BATCH])
        options = {"num_inference_steps": steps, "guidance_scale": guidance, "generator": noise, **_OPTIONS[name]}
        media += _READERS[name](pipeline(part, **options))
    return media


def held_out(name: GeneratorName, number: int, seed: int) -> list[MediumSpec]:
    """Held-out specifications for a generator, all equally often (some once more), in random order."""
    values = [value for value in _VALUES[name] if value.split == "held_out"]
    drawn = [*values * (number // len(values)), *Random(seed).sample(values, number % len(values))]
    Random(seed).shuffle(drawn)
    return drawn


def probe(
    name: GeneratorName, folder: Path | None = None, *, number: int = 96, seed: int = 0, guidance: float = GUIDANCE
) -> tuple[dict[str, float], dict[str, float]]:
    """Accuracy judged by the prompt, and by a random other prompt.

    Args:
        name: The generator.
        folder: The generator's pipeline; the shipped one if not given.
        number: Number of held-out prompts.
        seed: The seed of prompts and noise.
        guidance: Classifier-free guidance scale.

    Returns:
        For both, the shares by attribute and for the required attributes together (`"right"`).
    """
    asked = held_out(name, number, seed)
    pipeline = load_pipeline(folder or backbone_path(name))
    made = make(name, pipeline, [caption_of(value) for value in asked], seed=seed, guidance=guidance)
    others = Random(seed + 1).choices(_VALUES[name], k=len(asked))
    return accuracies(asked, made), accuracies(others, made)


def main() -> None:
    """Probe all shipped generators, some of them, or a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generator", choices=list(_VALUES), nargs="+", default=list(_VALUES))
    parser.add_argument("--folder", type=Path, help="folder of one generator, instead of the shipped one")
    parser.add_argument("--number", type=int, default=96)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--guidance", type=float, default=GUIDANCE)
    options = parser.parse_args()
    for name in options.generator:
        right, wrong = probe(name, options.folder, number=options.number, seed=options.seed, guidance=options.guidance)
        print(f"{name}: own prompt: {percentages(right)}; wrong prompt: {percentages(wrong)}", flush=True)


if __name__ == "__main__":
    main()
