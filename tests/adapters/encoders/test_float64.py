"""Apple's GPUs have no float64, so no encoder computes features with it; preprocessing runs on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from inlay.adapters.encoders import (
    BeatsEncoder,
    ClapEncoder,
    EvaEncoder,
    FrameEncoder,
    HubertEncoder,
    ImageBindEncoder,
    QFormerEncoder,
    WhisperAudioEncoder,
)
from inlay.adapters.inputs.qformer import QFormer


class NoFloat64(TorchDispatchMode):
    """Every operation that gives a float64 tensor fails, as on MPS."""

    def __torch_dispatch__(self, call: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = call(*args, **(kwargs or {}))
        for value in found if isinstance(found, tuple | list) else (found,):
            if isinstance(value, torch.Tensor) and value.dtype == torch.float64:
                raise TypeError(f"Cannot convert a MPS Tensor to float64 dtype: {call}")
        return found


def clap(made: Any, features: Any) -> ClapEncoder:
    from transformers import ClapAudioModelWithProjection

    model, extractor = made
    tower = ClapAudioModelWithProjection(model.config.audio_config)
    return ClapEncoder(tower.eval(), extractor, features=features)


MAKERS: dict[str, Callable[[Any], Any]] = {
    "clip": lambda of: of("clip")(),
    "vit": lambda of: of("vit")(),
    "frames": lambda of: FrameEncoder(of("clip")(), frames=2),
    "eva": lambda of: EvaEncoder(of("blip2")().vision_model, of("clip_processor")),
    "qformer": lambda of: QFormerEncoder(
        EvaEncoder(of("blip2")(), of("clip_processor")), QFormer.from_blip2(of("blip2")())
    ),
    "whisper": lambda of: WhisperAudioEncoder(*of("whisper")()),
    "hubert": lambda of: HubertEncoder(*of("hubert")(), seconds=1.0),
    "clap pooled": lambda of: clap(of("clap")(), "pooled"),
    "clap grid": lambda of: clap(of("clap")(), "grid"),
    "beats": lambda of: BeatsEncoder(of("beats")(), seconds=1.0),
    "imagebind image": lambda of: ImageBindEncoder(of("imagebind")(), "image"),
    "imagebind audio": lambda of: ImageBindEncoder(of("imagebind")(), "audio"),
    "imagebind video": lambda of: ImageBindEncoder(of("imagebind")(), "video"),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_features_are_computed_without_float64(
    kind: str, request: pytest.FixtureRequest, sound_of: Any, video_of: Any, image_of: Any
) -> None:
    from transformers import CLIPImageProcessorPil

    def of(name: str) -> Any:
        return CLIPImageProcessorPil() if name == "clip_processor" else request.getfixturevalue(f"{name}_of")

    encoder = MAKERS[kind](of)
    media = {"image": image_of, "audio": sound_of, "video": video_of}[encoder.modality]()
    inputs = encoder.preprocess([media], "crop")
    tensors = [inputs] if isinstance(inputs, torch.Tensor) else list(inputs.values())
    with NoFloat64():
        features = encoder.encode(inputs)
    assert features.dtype == torch.float32
    assert all(tensor.dtype in (torch.float32, torch.int64) for tensor in tensors)


def test_the_mode_sees_float64() -> None:
    with pytest.raises(TypeError, match="float64"), NoFloat64():
        torch.zeros(2).double()
