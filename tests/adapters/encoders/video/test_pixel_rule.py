"""Colours to numbers: the rule of each processor equals what the processor computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import VideoMAEImageProcessorPil

from inlay.adapters.encoders.video.pixel_rule import PixelRule


@pytest.mark.parametrize(
    "processor",
    [
        VideoMAEImageProcessorPil(do_resize=False, do_center_crop=False),
        VideoMAEImageProcessorPil(do_resize=False, do_center_crop=False, do_normalize=False),
        VideoMAEImageProcessorPil(do_resize=False, do_center_crop=False, do_rescale=False),
    ],
)
@pytest.mark.parametrize("as_fields", [False, True])
def test_the_rule_of_a_processor_is_what_it_computes(processor: object, as_fields: bool) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    wanted = processor([[frame]], return_tensors="pt").pixel_values[0]  # type: ignore[operator]
    rule = PixelRule.of(processor.to_dict() if as_fields else processor)  # type: ignore[attr-defined]
    found = rule(torch.tensor(frame).permute(2, 0, 1)[None].float() / 255)
    torch.testing.assert_close(found, wanted.float(), rtol=1e-5, atol=1e-5)


def test_padding_has_the_mean_colour() -> None:
    assert PixelRule(mean=(0.5, 0.0, 1.0), deviation=(1.0, 1.0, 1.0)).fill == (127, 0, 255)
    assert PixelRule(mean=(0.0, 0.0, 0.0), scale=2.0, offset=-1.0).fill == (127, 127, 127)


def test_vivit_scales_to_minus_one_and_one_before_it_normalises() -> None:
    fields = {"rescale_factor": 1 / 127.5, "offset": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    colours = torch.tensor([0.0, 127.5, 255.0]).view(3, 1, 1, 1).expand(3, 3, 1, 1)
    found = PixelRule.of(fields)(colours / 255)
    torch.testing.assert_close(found, ((colours / 127.5 - 1) - 0.5) / 0.5)
