"""One loader a modality."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from inlay.adapters.media.audio import Sound
from inlay.adapters.media.load import load_medium
from inlay.adapters.media.modality import Modality
from inlay.adapters.media.untrusted import MediaError
from inlay.adapters.media.video import Video


def test_each_modality_has_its_loader() -> None:
    picture = Image.new("RGB", (2, 2))
    assert isinstance(load_medium("image", picture), Image.Image)
    assert isinstance(load_medium("audio", (np.zeros(4), 8_000)), Sound)
    assert isinstance(load_medium("video", ([picture], 1.0)), Video)


@pytest.mark.parametrize("modality", ["image", "audio", "video"])
@pytest.mark.parametrize("source", [[], (), None, {}, 7])
def test_anything_else_is_the_one_error(modality: Modality, source: object) -> None:
    with pytest.raises(MediaError, match="expected a path"):
        load_medium(modality, source)
