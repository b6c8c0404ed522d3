"""The shipped generators, as diffusers' pipelines and as ports."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch

pytest.importorskip("diffusers")

from inlay.recipes.miniature import backbone_path
from inlay.recipes.miniature.judges.generated_media import accuracies
from inlay.recipes.miniature.media.captions import caption_of
from pretraining.diffusion.denoiser_training import make_scheduler
from pretraining.diffusion.generator_probe import held_out, load_pipeline, make

NAMES = ("sd", "audioldm", "video")
SHARES = {"sd": 0.85, "audioldm": 0.8, "video": 0.9}  # of a few; the README has the figures of many
NUMBER = {"sd": 24, "audioldm": 24, "video": 12}


@pytest.fixture(scope="module", params=NAMES)
def generator(request: pytest.FixtureRequest) -> Iterator[tuple[str, Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pipelines that diffusers means to give up
        yield request.param, load_pipeline(backbone_path(request.param))


@pytest.mark.slow  # clips take long
def test_what_is_asked_for_is_made(generator: tuple[str, Any]) -> None:
    name, pipeline = generator
    asked = held_out(name, NUMBER[name], seed=3)
    made = make(name, pipeline, [caption_of(value) for value in asked], seed=3)
    assert accuracies(asked, made)["right"] >= SHARES[name]


def test_weights_are_two_bytes_on_disk_and_four_in_memory(generator: tuple[str, Any]) -> None:
    name, pipeline = generator
    parts = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    numbers = [number for part in parts for number in part.parameters()]
    assert {number.dtype for number in numbers} == {torch.float32}
    on_disk = [file.stat().st_size for file in backbone_path(name).glob("*/*.safetensors")]
    assert sum(on_disk) <= 2 * sum(number.numel() for number in numbers) + 2**18


def test_the_schedule_is_that_of_pretraining(generator: tuple[str, Any]) -> None:
    # Stable Diffusion's pipeline sets the offset of steps to its liking; trailing steps have none.
    saved, own = dict(generator[1].scheduler.config), dict(make_scheduler().config)
    for settings in (saved, own):
        settings.pop("steps_offset")
    assert {key: saved[key] for key in own if not key.startswith("_")} == {
        key: value for key, value in own.items() if not key.startswith("_")
    }


@pytest.mark.parametrize("name", NAMES)
def test_no_file_says_where_it_was_made(name: str) -> None:
    for file in backbone_path(name).rglob("*.json"):
        text = file.read_text(encoding="utf-8")
        assert "_name_or_path" not in text
        assert "/tmp/" not in text  # noqa: S108
