"""BEATs: the released names and shapes, attention against torch's, a pass written out by hand, any length of sound."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inlay.adapters.encoders import BeatsEncoder, EncoderError
from inlay.adapters.encoders.audio.filter_bank import log_mel
from inlay.adapters.encoders.beats import Beats, BeatsConfig
from inlay.adapters.encoders.beats.model import distance_bucket
from inlay.adapters.loading.encoders.audio import load_audio_encoder
from inlay.adapters.loading.pretrained import BackboneError
from inlay.adapters.loading.released.beats import load_beats, save_beats
from inlay.adapters.media.audio import Sound

RELEASED_CFG = {
    "input_patch_size": 16,
    "embed_dim": 512,
    "conv_bias": False,
    "encoder_layers": 12,
    "encoder_embed_dim": 768,
    "encoder_ffn_embed_dim": 3072,
    "encoder_attention_heads": 12,
    "activation_fn": "gelu",
    "layer_norm_first": False,
    "deep_norm": True,
    "dropout": 0.0,
    "conv_pos": 128,
    "conv_pos_groups": 16,
    "relative_position_embedding": True,
    "num_buckets": 320,
    "max_distance": 800,
    "gru_rel_pos": True,
    "finetuned_model": True,
    "predictor_class": 527,
}


def released(cfg: dict[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes in a released file's ``model``."""
    width, heads = cfg["encoder_embed_dim"], cfg["encoder_attention_heads"]

    def both(name: str, *shape: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield f"{name}.weight", shape
        yield f"{name}.bias", shape[:1]

    yield from both("post_extract_proj", width, cfg["embed_dim"])
    yield "patch_embedding.weight", (cfg["embed_dim"], 1, 16, 16)
    yield "encoder.pos_conv.0.bias", (width,)
    yield "encoder.pos_conv.0.weight_g", (1, 1, cfg["conv_pos"])
    yield "encoder.pos_conv.0.weight_v", (width, width // cfg["conv_pos_groups"], cfg["conv_pos"])
    for layer in range(cfg["encoder_layers"]):
        inside = f"encoder.layers.{layer}"
        yield f"{inside}.self_attn.grep_a", (1, heads, 1, 1)
        yield f"{inside}.self_attn.relative_attention_bias.weight", (cfg["num_buckets"], heads)
        yield from both(f"{inside}.self_attn.grep_linear", 8, width // heads)
        for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
            yield from both(f"{inside}.self_attn.{name}", width, width)
        yield from both(f"{inside}.self_attn_layer_norm", width)
        yield from both(f"{inside}.fc1", cfg["encoder_ffn_embed_dim"], width)
        yield from both(f"{inside}.fc2", width, cfg["encoder_ffn_embed_dim"])
        yield from both(f"{inside}.final_layer_norm", width)
    yield from both("encoder.layer_norm", width)
    yield from both("layer_norm", cfg["embed_dim"])
    if cfg["finetuned_model"]:
        yield from both("predictor", cfg["predictor_class"], width)


@pytest.mark.parametrize("finetuned", [True, False])
def test_released_names_and_shapes_are_ours(finetuned: bool) -> None:
    cfg = RELEASED_CFG | {"finetuned_model": finetuned}
    with torch.device("meta"):
        model = Beats(BeatsConfig.from_released(cfg))
    assert {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()} == dict(released(cfg))
    trunk = sum(tensor.numel() for name, tensor in model.named_parameters() if not name.startswith("predictor."))
    assert trunk == 90_311_792


def small_file(path: Path, **changes: Any) -> dict[str, Tensor]:
    """A file of the released kind, with the sizes of a toy."""
    cfg = RELEASED_CFG | {
        "embed_dim": 16,
        "encoder_layers": 2,
        "encoder_embed_dim": 24,
        "encoder_ffn_embed_dim": 32,
        "encoder_attention_heads": 4,
        "conv_pos": 8,
        "conv_pos_groups": 4,
        "num_buckets": 32,
        "max_distance": 64,
    }
    generator = torch.Generator().manual_seed(0)
    tensors = {name: torch.randn(shape, generator=generator) for name, shape in released(cfg)}
    for layer in range(2):
        place = f"encoder.layers.{layer}.self_attn.relative_attention_bias.weight"
        tensors[place] = tensors["encoder.layers.0.self_attn.relative_attention_bias.weight"]
    torch.save({"cfg": cfg | changes, "model": tensors}, path)
    return tensors


def test_released_file_loads_by_name_without_a_tensor_missing_or_left_over(tmp_path: Path) -> None:
    tensors = small_file(tmp_path / "BEATs_iter3.pt")
    encoder = load_audio_encoder(tmp_path / "BEATs_iter3.pt", feature_options={"seconds": 1.0})
    assert (encoder.family, encoder.width, encoder.port.source) == ("beats", 24, "BEATs_iter3.pt")
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in encoder.model.state_dict().items())


@pytest.mark.parametrize(
    ("field", "value"), [("layer_norm_first", True), ("deep_norm", False), ("activation_fn", "glu")]
)
def test_another_architecture_is_refused(tmp_path: Path, field: str, value: Any) -> None:
    small_file(tmp_path / "a.pt", **{field: value})
    with pytest.raises(EncoderError, match=rf"differs from the released models.*{field}"):
        load_beats(tmp_path / "a.pt")


def test_what_a_cfg_leaves_out_is_what_its_authors_code_takes() -> None:
    cfg = {key: value for key, value in RELEASED_CFG.items() if key not in ("max_distance", "conv_bias")}
    assert BeatsConfig.from_released(cfg).max_distance == 1280
    with pytest.raises(EncoderError, match="deep_norm"):
        BeatsConfig.from_released({key: value for key, value in cfg.items() if key != "deep_norm"})
    with pytest.raises(EncoderError, match="has no input_patch_size"):
        BeatsConfig.from_released({key: value for key, value in cfg.items() if key != "input_patch_size"})


def test_old_file_that_is_no_archive_is_read_too(tmp_path: Path) -> None:
    small_file(tmp_path / "a.pt")
    torch.save(torch.load(tmp_path / "a.pt"), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    new, old = (load_beats(tmp_path / name)[0].state_dict() for name in ("a.pt", "old.pt"))
    assert all(torch.equal(tensor, old[name]) for name, tensor in new.items())


def test_tables_that_differ_between_layers_are_refused(tmp_path: Path) -> None:
    small_file(tmp_path / "a.pt")
    held = torch.load(tmp_path / "a.pt")
    table = "encoder.layers.1.self_attn.relative_attention_bias.weight"
    held["model"][table] = held["model"][table] + 1
    torch.save(held, tmp_path / "a.pt")
    with pytest.raises(BackboneError, match="expected one table of relative positions"):
        load_beats(tmp_path / "a.pt")


def test_buckets_are_those_of_t5() -> None:
    from transformers.models.t5.modeling_t5 import T5Attention

    distance = torch.arange(-1000, 1001)
    for buckets, limit in ((32, 128), (320, 800)):
        theirs = T5Attention._relative_position_bucket(distance, True, buckets, limit)
        assert torch.equal(distance_bucket(distance, buckets, limit), theirs)


@torch.no_grad()
def test_attention_is_torchs_own_with_a_gated_bias(beats_of: Any) -> None:
    model, x = beats_of(), torch.randn(2, 11, 24)
    ours = model.encoder.layers[0].self_attn
    rows = distance_bucket(torch.arange(11)[None] - torch.arange(11)[:, None], 32, 64)
    theirs = nn.MultiheadAttention(24, 4, batch_first=True)
    theirs.load_state_dict(
        {
            "in_proj_weight": torch.cat([ours.q_proj.weight, ours.k_proj.weight, ours.v_proj.weight]),
            "in_proj_bias": torch.cat([ours.q_proj.bias, ours.k_proj.bias, ours.v_proj.bias]),
            "out_proj.weight": ours.out_proj.weight,
            "out_proj.bias": ours.out_proj.bias,
        }
    )
    bias = torch.zeros(2, 4, 11, 11)
    for item in range(2):
        for head in range(4):
            for place in range(11):
                query = ours.q_proj(x[item, place])[6 * head : 6 * head + 6]
                eight = ours.grep_linear(query)
                first, second = eight[:4].sum().sigmoid(), eight[4:].sum().sigmoid()
                gate = first * (second * ours.grep_a[0, head, 0, 0] - 1) + 2
                bias[item, head, place] = gate * ours.relative_attention_bias.weight[rows[place], head]
    expected = theirs(x, x, x, attn_mask=bias.flatten(0, 1), need_weights=False)[0]
    torch.testing.assert_close(ours(x, rows), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_pass_written_out_by_hand(beats_of: Any) -> None:
    model = beats_of()
    mel = torch.randn(2, 50, 64)
    cut = mel[:, :48].reshape(2, 3, 16, 4, 16).permute(0, 1, 3, 2, 4).reshape(2, 12, 256)
    x = model.layer_norm(cut @ model.patch_embedding.weight.flatten(1).T)
    x = model.post_extract_proj(x)
    convolution = nn.utils.parametrizations.weight_norm(nn.Conv1d(24, 24, 8, padding=4, groups=4), dim=2)
    inside = model.encoder.pos_conv[0]
    convolution.parametrizations.weight.original0.copy_(inside.weight_g)
    convolution.parametrizations.weight.original1.copy_(inside.weight_v)
    convolution.bias.copy_(inside.bias)
    x = model.encoder.layer_norm(x + F.gelu(convolution(x.transpose(1, 2))[..., :-1]).transpose(1, 2))
    rows = distance_bucket(torch.arange(12)[None] - torch.arange(12)[:, None], 32, 64)
    for layer in model.encoder.layers:
        x = layer.self_attn_layer_norm(math.pow(4, 0.25) * x + layer.self_attn(x, rows))
        x = layer.final_layer_norm(math.pow(4, 0.25) * x + layer.fc2(F.gelu(layer.fc1(x))))
    torch.testing.assert_close(model(mel), x, atol=1e-5, rtol=1e-5)


def test_values_are_those_of_sixteen_bit_samples(beats_of: Any, sound_of: Any) -> None:
    encoder, sound = BeatsEncoder(beats_of(bands=128), seconds=1.0), sound_of(1.0)
    found = encoder.preprocess([sound], "crop")
    integers = torch.from_numpy(sound.samples) * 2**15
    expected = (log_mel(integers, 16_000, bands=128, window="povey") - 15.41663) / (2 * 6.55582)
    torch.testing.assert_close(found["mel"][0], expected)
    assert found["frames"].tolist() == [98]


def test_batches_equal_single_runs_and_what_is_not_heard_is_zero(beats_of: Any, sound_of: Any) -> None:
    encoder = BeatsEncoder(beats_of(), seconds=2.0)
    sounds = [sound_of(2.0), sound_of(0.5, 8_000, 1), sound_of(5.0, 44_100, 2), sound_of(2.0, seed=3)]
    together = encoder.encode(encoder.preprocess(sounds, "crop"))
    assert together.shape == (4, encoder.tokens, encoder.width) == (4, 48, 24)
    for sound, features in zip(sounds, together, strict=True):
        alone = encoder.encode(encoder.preprocess([sound], "crop"))[0]
        torch.testing.assert_close(features, alone, atol=1e-5, rtol=1e-5)
    heard = together.ne(0).any(dim=-1).sum(dim=1)
    assert heard.tolist() == [48, 12, 48, 48]


@pytest.mark.parametrize("samples", [1, 2799, 2800, 16_000])
def test_silent_and_tiny_sounds_have_defined_features(beats_of: Any, samples: int) -> None:
    encoder = BeatsEncoder(beats_of(), seconds=1.0)
    features = encoder.encode(encoder.preprocess([Sound(np.zeros(samples, dtype=np.float32), 16_000)], "crop"))
    assert bool(features.isfinite().all())
    assert bool(features[0, 0].any())
    assert encoder.encode(encoder.preprocess([], "crop")).shape == (0, encoder.tokens, 24)


def test_published_window_of_ten_seconds_has_496_features() -> None:
    with torch.device("meta"):
        encoder = BeatsEncoder(Beats(BeatsConfig()))
    assert (encoder.tokens, encoder.width) == (496, 768)


def test_folder_gives_back_the_same_model(beats_of: Any, sound_of: Any, tmp_path: Path) -> None:
    model = beats_of(classes=5)
    folder = save_beats(model, tmp_path / "beats")
    again, _ = load_beats(folder)
    assert again.config == model.config
    loaded, direct = load_audio_encoder(folder, feature_options={"seconds": 1.0}), BeatsEncoder(model, seconds=1.0)
    assert loaded.port.weights == direct.port.weights
    inputs = direct.preprocess([sound_of()], "crop")
    assert torch.equal(loaded.encode(inputs), direct.encode(inputs))
    half = load_audio_encoder(folder, dtype=torch.bfloat16)
    assert half.encode(half.preprocess([sound_of()], "crop")).dtype == torch.bfloat16


def test_port_is_frozen_and_bit_equal_after_use(beats_of: Any, sound_of: Any) -> None:
    encoder = BeatsEncoder(beats_of(), seconds=1.0)
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    assert not encoder.encode(encoder.preprocess([sound_of()], "crop")).requires_grad
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())
