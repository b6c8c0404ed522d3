from __future__ import annotations

from random import Random

import pytest
import torch
from transformers import AutoImageProcessor, Blip2VisionModel

from inlay.adapters.encoders import EvaEncoder
from inlay.adapters.loading.encoders.image import load_image_encoder
from inlay.recipes.miniature import backbone_path
from pretraining.vision.captioned_pictures import sample_pairs
from pretraining.vision.eva import HIDDEN_BLOCKS, Student, hide, make_model
from pretraining.vision.patch_probe import patch_reader, probe
from pretraining.vision.pixels import PATCHES, pixels


def test_eva_loads_in_single_precision_without_warnings(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING"):
        model = Blip2VisionModel.from_pretrained(backbone_path("eva"))
    assert not caplog.records
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_eva_is_read_as_blip2_reads_it() -> None:
    encoder = load_image_encoder(backbone_path("eva"))
    assert isinstance(encoder, EvaEncoder)
    assert (encoder.family, encoder.tokens, encoder.width) == ("eva", 1 + PATCHES**2, 128)
    assert (encoder.layer, encoder.class_token) == (-1, "keep")


def test_attributes_are_read_off_single_patches_of_held_out_scenes() -> None:
    figures = probe(patch_reader(backbone_path("eva")), scenes=300)
    assert min(figures[name] for name in ("object", "shape", "colour", "size")) >= 0.95
    assert figures["place"] >= 0.65


def test_eva_is_two_bytes_a_parameter_on_disk() -> None:
    file = backbone_path("eva") / "model.safetensors"
    parameters = Blip2VisionModel.from_pretrained(backbone_path("eva")).num_parameters()
    assert 0.8e6 <= parameters <= 1.1e6
    assert file.stat().st_size <= 2 * parameters + 2**14


def test_image_processor_equals_that_of_pretraining() -> None:
    images = [pair.image for pair in sample_pairs(Random(0), groups=2, digits=1)]
    processor = AutoImageProcessor.from_pretrained(backbone_path("eva"), backend="pil")
    expected = processor(images=images, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(pixels(images), expected, rtol=0, atol=1e-6)


def test_whole_blocks_of_patches_are_hidden() -> None:
    hidden = hide(50)
    assert hidden.sum(1).tolist() == [4 * HIDDEN_BLOCKS] * 50


def test_without_hidden_patches_the_student_sees_what_the_tower_sees() -> None:
    tower = make_model().eval()
    student = Student(tower, features=4, embedding=4)
    images = torch.randn(2, 3, 48, 48)
    nothing = torch.zeros(2, PATCHES**2, dtype=torch.bool)
    with torch.no_grad():
        expected = tower(images).last_hidden_state
        torch.testing.assert_close(student(images), expected)
        torch.testing.assert_close(student(images, nothing), expected)


def test_a_hidden_patch_is_not_seen() -> None:
    student = Student(make_model().eval(), features=4, embedding=4)
    hidden = torch.zeros(1, PATCHES**2, dtype=torch.bool)
    hidden[0, 0] = True
    images = torch.randn(1, 3, 48, 48)
    changed = images.clone()
    changed[:, :, :8, :8] += 1
    with torch.no_grad():
        assert not torch.allclose(student(images), student(changed))
        torch.testing.assert_close(student(images, hidden), student(changed, hidden))
