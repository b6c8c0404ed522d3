"""Which objects a backbone accepts as encoders."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from inlay.adapters.encoders import EncoderError, check_encoder


class Own(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.family, self.tokens, self.width = "own", 4, 24
        self.device, self.dtype = torch.device("cpu"), torch.float32
        self.preprocess = self.encode = lambda *_: torch.zeros(1, 4, 24)

    @property
    def port(self) -> Any:
        raise AssertionError("a port may read all weights, and is not needed to see that there is one")


def test_an_encoder_with_all_of_the_protocol_is_returned_as_it_is() -> None:
    own = Own()
    assert check_encoder("image", own) is own


def test_an_object_that_is_not_a_module_is_named() -> None:
    class Foo:
        pass

    expected = r"encoders\['image'\]: expected an nn\.Module that implements inlay\.adapters\.encoders\.Encoder; "
    with pytest.raises(EncoderError, match=expected + "Foo is not an nn.Module$"):
        check_encoder("image", Foo())


def test_missing_attributes_are_named() -> None:
    own = Own()
    del own.preprocess, own.tokens
    with pytest.raises(EncoderError, match=r"; Own has no tokens, preprocess$"):
        check_encoder("audio", own)


def test_every_encoder_of_ours_passes(clip_of: Any, vit_of: Any) -> None:
    for encoder in (clip_of(), vit_of()):
        assert check_encoder("image", encoder) is encoder


def test_an_encoder_of_another_modality_is_refused(clip_of: Any) -> None:
    with pytest.raises(EncoderError, match=r"this modality, ClipEncoder is one of 'image'; FrameEncoder\(encoder\)"):
        check_encoder("video", clip_of())
    with pytest.raises(EncoderError, match=r"encoders\['audio'\]: .*one of 'image'$"):
        check_encoder("audio", clip_of())
