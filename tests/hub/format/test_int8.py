"""int8 parts: what a row becomes, what is written and by which format, and everything that is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_emulator import Repo
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from inlay.hub import Bundle, BundleError, Manifest, PartSpec
from inlay.hub.format import migrations
from inlay.hub.format.difference import compare
from inlay.hub.format.int8 import dequantised, is_worth_it, to_int8
from inlay.hub.remote.inspect import inspect_bundle

NAME = "inputs.image.linear.weight"


def _back(matrix: Tensor) -> Tensor:
    whole, scale = to_int8(matrix)
    return dequantised({"w": whole, "w.scale": scale})["w"]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**31), st.integers(-60, 60), st.sampled_from([(1, 1), (3, 40), (5, 2, 9)]))
def test_rounding_is_within_half_a_step_and_a_second_time_changes_nothing(
    seed: int, exponent: int, shape: tuple[int, ...]
) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 2.0**exponent
    whole, scale = to_int8(matrix)
    back = _back(matrix)
    assert whole.abs().flatten(1).amax(dim=1).tolist() == [127] * len(matrix)
    step = matrix.abs().flatten(1).amax(dim=1) / 127
    assert bool(((back - matrix).abs().flatten(1) <= 0.5001 * step[:, None]).all())
    again, same = to_int8(back)
    assert torch.equal(again, whole)
    assert torch.equal(same, scale)
    assert torch.equal(_back(back), back)


def test_it_is_what_fake_quantisation_of_torch_says() -> None:
    matrix = torch.randn(6, 50, generator=torch.Generator().manual_seed(0))
    whole, scale = to_int8(matrix)
    theirs = torch.fake_quantize_per_channel_affine(matrix, scale, torch.zeros(6, dtype=torch.int32), 0, -127, 127)
    torch.testing.assert_close(whole.float() * scale[:, None], theirs, rtol=1e-6, atol=0)
    torch.testing.assert_close(_back(matrix), theirs, rtol=1e-6, atol=0)


def test_rows_of_zeros_stay_zero() -> None:
    assert not _back(torch.zeros(3, 40)).any()


@pytest.mark.parametrize(
    ("shape", "worth"), [((8, 32), True), ((8, 31), False), ((4096,), False), ((8, 4, 8), True), ((), False)]
)
def test_vectors_and_short_rows_do_not_gain(shape: tuple[int, ...], worth: bool) -> None:
    assert is_worth_it(torch.Size(shape)) is worth


@pytest.fixture
def small(make_bundle: Callable[..., Bundle]) -> Bundle:
    """An honest bundle whose projector is in int8; its bias and its LoRA are not."""
    bundle = make_bundle()
    whole, scale = to_int8(torch.randn(6, 4, generator=torch.Generator().manual_seed(1)))
    tensors = {**bundle.tensors, NAME: whole, f"{NAME}.scale": scale}
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    spec = PartSpec(kind="linear", config={"bias": True}, parameters=30, dtype="int8", bytes=size)
    parts = {**bundle.manifest.parts, "inputs.image": spec}
    return Bundle(bundle.manifest.model_copy(update={"parts": parts}), tensors, bundle.lora)


def test_it_is_read_as_written(small: Bundle, tmp_path: Path, equal: Callable[[Bundle, Bundle], bool]) -> None:
    small.write(tmp_path / "x")
    assert equal(Bundle.read(tmp_path / "x"), small)
    overview = inspect_bundle(tmp_path / "x")
    assert overview.tensors["adapter.safetensors"][NAME].dtype == "I8"
    assert overview.manifest.parts["inputs.image"].size == 6 * 4 + 6 * 4 + 6 * 2
    assert "| inputs.image | linear | 30 | int8 | 60 |" in (tmp_path / "x" / "README.md").read_text()


def test_only_what_holds_int8_asks_for_the_newer_format(
    small: Bundle, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.write(tmp_path / "small")
    bundle.write(tmp_path / "plain")
    read = {name: json.loads((tmp_path / name / "inlay.json").read_bytes()) for name in ("small", "plain")}
    assert (read["small"]["format_version"], read["plain"]["format_version"]) == (2, 1)
    assert "bytes" not in read["plain"]["parts"]["inputs.image"]
    monkeypatch.setattr(migrations, "FORMAT_VERSION", 1)  # a reader from before
    with pytest.raises(BundleError, match=r"format_version: this bundle has format 2, .* up to 1: upgrade inlay"):
        Bundle.read(tmp_path / "small")


def test_int8_under_the_older_version_is_refused(small: Bundle) -> None:
    raw = json.loads(small.manifest.to_json()) | {"format_version": 1}
    with pytest.raises(BundleError, match=r"format_version: cannot be migrated from format 1 to 2"):
        Manifest.from_json(json.dumps(raw).encode())


@pytest.mark.parametrize("change", [{"dtype": "bfloat16"}, {"bytes": None}])
def test_bytes_stand_beside_int8_and_nowhere_else(small: Bundle, change: dict[str, Any]) -> None:
    raw = json.loads(small.manifest.to_json())
    raw["parts"]["inputs.image"] |= change
    with pytest.raises(BundleError, match=r"parts.*inputs\.image.*: expected 'bytes' with dtype 'int8'"):
        Manifest.from_json(json.dumps(raw).encode())


SCALES = torch.ones(6)
SPOILT: dict[str, tuple[dict[str, Tensor | None], str]] = {
    "no scales": ({f"{NAME}.scale": None}, f"{NAME}: expected its scales as {NAME}.scale, float32 [6], got none"),
    "scales in half": ({f"{NAME}.scale": SCALES.bfloat16()}, "scale for each row of [6, 4], got bfloat16 [6]"),
    "too few scales": ({f"{NAME}.scale": SCALES[:5]}, "scale for each row of [6, 4], got float32 [5]"),
    "a scale of zero": ({f"{NAME}.scale": SCALES - 1}, "expected scales above 0, got 0.0"),
    "a negative scale": ({f"{NAME}.scale": -SCALES}, "expected scales above 0, got -1.0"),
    "an infinite scale": ({f"{NAME}.scale": SCALES / 0}, "expected finite numbers"),
    "-128": ({NAME: torch.full((6, 4), -128, dtype=torch.int8)}, "from -127 to 127, got -128"),
    "int8 bias": ({"inputs.image.linear.bias": torch.ones(6, dtype=torch.int8)}, "bias: expected its scales"),
    "scales of nothing": ({"inputs.image.linear.bias.scale": SCALES}, "bias.scale: expected int8 with a tensor"),
    "float32 bias": ({"inputs.image.linear.bias": SCALES}, "linear.bias: expected int8 with a tensor"),
    "other bytes": ({"inputs.image.linear.bias": torch.ones(7).bfloat16()}, "expected 60 bytes .* got 62"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_what_is_spoilt_is_refused_by_name(small: Bundle, tmp_path: Path, case: str) -> None:
    change, said = SPOILT[case]
    tensors = {name: tensor for name, tensor in (dict(small.tensors) | change).items() if tensor is not None}
    with pytest.raises(BundleError, match=said if ".*" in said else re.escape(said)):
        replace(small, tensors=tensors).write(tmp_path / "x")


def test_int8_in_another_part_or_in_the_lora_is_refused(small: Bundle, bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"linear.weight: expected bfloat16 .* got int8"):
        replace(bundle, tensors={**bundle.tensors, NAME: small.tensors[NAME]}).write(tmp_path / "x")
    assert bundle.lora is not None
    first = next(iter(bundle.lora.tensors))
    spoilt = {**bundle.lora.tensors, first: bundle.lora.tensors[first].to(torch.int8)}
    with pytest.raises(BundleError, match=r"lora_A.weight: expected bfloat16 .* got int8"):
        replace(bundle, lora=replace(bundle.lora, tensors=spoilt)).write(tmp_path / "x")


def test_a_repository_is_looked_at_by_its_headers(hub: Any, small: Bundle, tmp_path: Path, contents: Any) -> None:
    small.write(tmp_path / "x")
    hub.repos["me/x"] = Repo()
    hub.repos["me/x"].commit(contents(tmp_path / "x"))
    assert inspect_bundle("me/x").manifest.parts["inputs.image"].dtype == "int8"


def test_distances_are_those_of_the_values(small: Bundle) -> None:
    wide = dequantised(small.tensors)
    parts = {**small.manifest.parts, "inputs.image": PartSpec(kind="linear", parameters=30, dtype="float32")}
    plain = Bundle(small.manifest.model_copy(update={"parts": parts}), wide, small.lora)
    (change,) = compare(plain, small).tensors
    assert (change.name, change.one, change.two, change.distance) == (NAME, "float32 [6, 4]", "int8 [6, 4]", 0.0)
