from __future__ import annotations

import warnings
from random import Random

import pytest
import torch
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

from inlay.recipes.miniature import backbone_path
from inlay.recipes.miniature.world.scenes import sample_scene
from pretraining.vision.captioned_pictures import sample_pairs, twin
from pretraining.vision.clip import retrieval
from pretraining.vision.patch_probe import patch_reader, probe
from pretraining.vision.pixels import pixels


def test_clip_loads_in_single_precision_without_warnings(caplog: pytest.LogCaptureFixture) -> None:
    with warnings.catch_warnings(), caplog.at_level("WARNING"):
        warnings.simplefilter("error")
        model = CLIPModel.from_pretrained(backbone_path("clip"))
    assert not caplog.records
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_clip_tells_held_out_scenes_and_their_twins_apart() -> None:
    model = CLIPModel.from_pretrained(backbone_path("clip")).eval()
    figures = retrieval(model, AutoTokenizer.from_pretrained(backbone_path("clip")), seed=99, groups=50)
    assert figures["of 50"] >= 0.9
    assert figures["of 4 twins"] >= 0.6  # chance is 0.25


def test_attributes_are_read_off_single_patches_of_held_out_scenes() -> None:
    figures = probe(patch_reader(backbone_path("clip")), scenes=300)
    assert min(figures[name] for name in ("object", "shape", "colour", "size")) >= 0.85


def test_image_processor_equals_that_of_pretraining() -> None:
    images = [pair.image for pair in sample_pairs(Random(0), groups=2, digits=1)]
    processor = AutoImageProcessor.from_pretrained(backbone_path("clip"), use_fast=False)
    expected = processor(images=images, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(pixels(images), expected, rtol=0, atol=1e-6)


def test_twins_differ_and_stay_in_their_split() -> None:
    rng = Random(0)
    for _ in range(200):
        scene = sample_scene(rng)
        other = twin(scene, rng, "train")
        assert other != scene
        assert other.split == "train"
        assert len(other.things) == len(scene.things)
