"""``dtype="auto"`` follows the device that was asked for."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import CLIPImageProcessorPil

from inlay.adapters.backbone import Backbone
from inlay.adapters.loading.dtype import chosen_dtype
from inlay.adapters.loading.pretrained import BackboneError
from inlay.adapters.loading.quantisation import quantised_options


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A machine with a GPU that has bfloat16 or not."""

    def pretend(bfloat16: bool) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device", lambda _: nullcontext())
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bfloat16)

    return pretend


def save(backbone: Backbone, folder: Path, dtype: torch.dtype) -> tuple[Path, Path]:
    backbone.llm.model.to(dtype).save_pretrained(folder / "llm")
    backbone.llm.tokenizer.save_pretrained(folder / "llm")
    backbone.encoder("image").model.to(dtype).save_pretrained(folder / "clip")
    processor = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    processor.save_pretrained(folder / "clip")
    return folder / "llm", folder / "clip"


@pytest.mark.parametrize(
    ("stored", "loaded"),
    [("float32", torch.float32), ("bfloat16", torch.bfloat16), ("float16", torch.float32)],
)
def test_on_the_cpu_it_is_the_dtype_of_the_file_and_float32_for_float16(
    tmp_path: Path, backbone_of: Any, stored: str, loaded: torch.dtype
) -> None:
    backbone = Backbone.from_pretrained(*save(backbone_of(), tmp_path, getattr(torch, stored)))
    assert (backbone.llm.dtype, backbone.encoder("image").dtype) == (loaded, loaded)


def test_an_explicit_float16_is_kept(tmp_path: Path, backbone_of: Any) -> None:
    backbone = Backbone.from_pretrained(*save(backbone_of(), tmp_path, torch.float16), dtype="float16")
    assert (backbone.llm.dtype, backbone.encoder("image").dtype) == (torch.float16, torch.float16)


@pytest.mark.parametrize("kind", ["beats", "imagebind"])
def test_models_of_our_own_layout_follow_too(kind: str, tmp_path: Path) -> None:
    from inlay.adapters.encoders.beats import Beats, BeatsConfig
    from inlay.adapters.encoders.imagebind import ImageBind, ImageBindConfig
    from inlay.adapters.encoders.imagebind.config import AudioConfig
    from inlay.adapters.loading.encoders.audio import load_audio_encoder
    from inlay.adapters.loading.released.beats import save_beats
    from inlay.adapters.loading.released.imagebind import save_imagebind

    if kind == "beats":
        sizes = {"bands": 32, "patch_width": 8, "width": 16, "layers": 1, "heads": 2, "ffn": 16}
        sizes |= {"position_kernel": 4, "position_groups": 2, "buckets": 8, "max_distance": 16}
        save_beats(Beats(BeatsConfig(**sizes)).half(), tmp_path)
    else:
        audio = AudioConfig(width=12, blocks=1, heads=2, bands=32, kernel=16, stride=10)
        save_imagebind(ImageBind(ImageBindConfig(width_out=8, audio=audio)).half(), tmp_path)
    assert load_audio_encoder(tmp_path).dtype == torch.float32
    assert load_audio_encoder(tmp_path, dtype="float16").dtype == torch.float16


def test_on_a_gpu_with_bfloat16_it_is_bfloat16(gpu: Any) -> None:
    gpu(True)
    assert chosen_dtype("auto", "cuda") == torch.bfloat16
    assert chosen_dtype("auto", "cpu") == chosen_dtype("auto") == "auto"
    assert chosen_dtype("float32", "cuda") == torch.float32


def test_on_a_gpu_without_bfloat16_it_is_the_dtype_of_the_file(gpu: Any) -> None:
    gpu(False)
    assert chosen_dtype("auto", "cuda") == "auto"
    assert chosen_dtype("auto", "mps") == "auto"


def test_a_quantised_model_on_the_cpu_of_a_machine_with_a_gpu_computes_in_float32(
    gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from inlay.adapters.loading import quantisation

    gpu(True)
    monkeypatch.setattr(quantisation, "find_spec", lambda _: True)
    monkeypatch.setattr("transformers.BitsAndBytesConfig", lambda **options: options)
    assert quantised_options("nf4", "auto", "cpu")["dtype"] == torch.float32
    assert quantised_options("nf4", "auto", "cuda")["quantization_config"]["bnb_4bit_compute_dtype"] == torch.bfloat16


@pytest.mark.parametrize("wrong", ["int8", "float99", "load", torch.int64, torch.float8_e4m3fn, None])
def test_what_weights_cannot_be_kept_in_is_refused(wrong: Any) -> None:
    with pytest.raises(BackboneError, match="dtype: expected 'auto', 'float32', 'bfloat16', 'float16', got"):
        chosen_dtype(wrong)


@pytest.mark.gpu
def test_a_backbone_on_a_gpu_is_in_bfloat16_and_there(tmp_path: Path, backbone_of: Any) -> None:
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        pytest.skip("this GPU has no bfloat16")
    backbone = Backbone.from_pretrained(*save(backbone_of(), tmp_path, torch.float16), device="cuda")
    assert {parameter.device.type for parameter in backbone.parameters()} == {"cuda"}
    assert (backbone.llm.dtype, backbone.encoder("image").dtype) == (torch.bfloat16, torch.bfloat16)
