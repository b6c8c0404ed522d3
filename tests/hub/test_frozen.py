"""Every format version that was released is read forever; later ones say so."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from inlay.hub import Bundle, BundleError, Manifest
from inlay.hub.format import migrations
from inlay.hub.format.int8 import dequantised
from inlay.hub.format.migrations import FORMAT_VERSION, STEPS, migrate

FROZEN = sorted((Path(__file__).parent / "frozen").glob("*.json"))


def _thaw(frozen: Path, folder: Path) -> Path:
    for name, text in json.loads(frozen.read_text()).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(base64.b64decode(text))
    return folder


def test_every_version_has_a_frozen_bundle() -> None:
    assert {int(path.name.split("-")[0]) for path in FROZEN} == set(range(1, FORMAT_VERSION + 1))
    assert set(STEPS) == set(range(1, FORMAT_VERSION))


@pytest.mark.parametrize("frozen", FROZEN, ids=lambda path: path.stem)
def test_a_frozen_bundle_is_read_whole(frozen: Path, tmp_path: Path) -> None:
    bundle = Bundle.read(_thaw(frozen, tmp_path / "x"))
    assert bundle.manifest.name == "a small adapter"
    weight = dequantised(bundle.tensors)["inputs.image.linear.weight"]
    assert weight.dtype == (torch.float32 if "int8" in frozen.stem else torch.bfloat16)
    torch.testing.assert_close(weight.float(), torch.full((6, 4), 0.5), rtol=4e-5, atol=0)
    assert json.loads(bundle.manifest.to_json())["format_version"] == int(frozen.name.split("-")[0])
    assert bundle.lora is not None
    assert bundle.lora.modules == ("model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.v_proj")
    assert bundle.manifest.training is not None
    assert bundle.manifest.training.metrics == {"accuracy": 0.875}
    assert bundle.manifest.canary is not None
    assert bundle.manifest.canary.logits == (0.5, -1.25)


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> None:
    """A world in which version 2 calls the system ``recipe`` and version 3 calls it ``system`` again."""
    monkeypatch.setattr(migrations, "FORMAT_VERSION", 3)
    one = lambda raw: {key: value for key, value in raw.items() if key != "system"} | {"recipe": raw["system"]}  # noqa: E731
    two = lambda raw: {key: value for key, value in raw.items() if key != "recipe"} | {"system": raw["recipe"]}  # noqa: E731
    monkeypatch.setattr(migrations, "STEPS", {1: one, 2: two})


def test_an_old_manifest_goes_through_every_step(second: Any) -> None:
    old = {"format_version": 1, "system": "llava", "name": "x"}
    assert migrate(old, "inlay.json") == {"format_version": 3, "system": "llava", "name": "x"}
    assert old == {"format_version": 1, "system": "llava", "name": "x"}
    assert migrate({"format_version": 2, "recipe": "b"}, "inlay.json") == {"format_version": 3, "system": "b"}


@pytest.mark.parametrize("raw", [{"format_version": 1}, {"format_version": 2, "name": "x"}])
def test_an_old_manifest_that_lacks_a_field_is_one_error(second: Any, raw: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match=r"inlay.json: format_version: cannot be migrated from format \d to \d"):
        migrate(raw, "inlay.json")


def test_a_newer_one_says_upgrade() -> None:
    data = json.dumps({"format": "inlay", "format_version": FORMAT_VERSION + 1, "unheard": "of"}).encode()
    with pytest.raises(BundleError, match=r"upgrade inlay"):
        Manifest.from_json(data)
