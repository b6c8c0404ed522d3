"""Looking at a bundle on a hub without fetching it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_emulator import Hub

from inlay.hub import Bundle, BundleError, HubError, LoraFolder, LoraSpec, PartSpec, pull
from inlay.hub.format.difference import compare
from inlay.hub.remote.inspect import inspect_bundle

Publish = Callable[..., str]


def test_a_repository_looks_like_its_folder(hub: Hub, publish: Publish, tmp_path: Path) -> None:
    commit = publish(0.5)
    there, here = inspect_bundle("me/x"), inspect_bundle(tmp_path / "published")
    assert (there.manifest, there.tensors, there.size) == (here.manifest, here.tensors, here.size)
    assert (there.commit, here.commit) == (commit, None)
    assert (there.integrity, here.integrity) == ("unchecked", "whole")
    assert there.tensors["adapter.safetensors"]["inputs.image.linear.weight"].shape == (6, 4)


def test_the_hubs_hashes_are_compared(hub: Hub, publish: Publish) -> None:
    hub.lfs = re.compile(r"\.safetensors$")
    publish(0.5)
    assert inspect_bundle("me/x").integrity == "listed"
    files = dict(hub.repos["me/x"].files)
    data = bytearray(files["adapter.safetensors"])
    data[-1] ^= 1
    hub.repos["me/x"].commit(files | {"adapter.safetensors": bytes(data)})
    with pytest.raises(BundleError, match=r"adapter.safetensors: its sha256 on the hub differs"):
        inspect_bundle("me/x")


def _large(make_bundle: Any) -> Bundle:
    """Four megabytes, and a LoRA header that is longer than the first request."""
    bundle = make_bundle()
    tensors = {
        f"base_model.model.model.layers.{layer}.self_attn.q_proj.lora_{half}.weight": torch.ones(
            (2, 8) if half == "A" else (8, 2), dtype=torch.bfloat16
        )
        for layer in range(400)
        for half in "AB"
    }
    weight = torch.ones(2048, 1024, dtype=torch.bfloat16)
    parts = {
        "inputs.image": PartSpec(kind="linear", parameters=weight.numel(), dtype="bfloat16"),
        "lora": PartSpec(kind="lora", parameters=400 * 32, dtype="bfloat16"),
    }
    spec = LoraSpec(r=2, alpha=4, targets=("q_proj",))
    manifest = bundle.manifest.model_copy(update={"parts": parts})
    return Bundle(manifest, {"inputs.image.w": weight}, LoraFolder(spec, tensors))


def test_tensors_are_not_fetched(hub: Hub, publish: Publish, make_bundle: Any, tmp_path: Path, contents: Any) -> None:
    publish()
    _large(make_bundle).write(tmp_path / "large")
    hub.repos["me/x"].commit(contents(tmp_path / "large"))
    hub.seen.clear()
    overview = inspect_bundle("me/x")
    assert overview.size > 4 << 20
    assert len(overview.tensors["lora/adapter_model.safetensors"]) == 800
    asked = [seen.range for seen in hub.requests("GET .*safetensors")]
    assert all(asked)
    sizes = [int(b) - int(a) + 1 for a, b in (str(item).removeprefix("bytes=").split("-") for item in asked)]
    assert sum(sizes) < 400_000


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"inlay.json": None}, "holds no inlay.json"),
        ({"inlay.json": b"[]"}, "inlay.json: expected a JSON object"),
        ({"adapter.safetensors": b"x" * 50}, "as listed in inlay.json, the hub has 50"),
        ({"adapter.safetensors": None}, "is listed in inlay.json but missing"),
    ],
)
def test_a_damaged_repository_is_told(hub: Hub, publish: Publish, files: Any, message: str) -> None:
    publish(0.5, **files)
    with pytest.raises(BundleError, match=re.escape(message)):
        inspect_bundle("me/x")


def test_headers_that_do_not_add_up_are_told(hub: Hub, publish: Publish) -> None:
    publish(0.5)
    files = dict(hub.repos["me/x"].files)
    raw = json.loads(files["inlay.json"])
    raw["parts"]["inputs.image"]["parameters"] = 31
    hub.repos["me/x"].commit(files | {"inlay.json": json.dumps(raw).encode()})
    with pytest.raises(BundleError, match=r"adapter.safetensors: expected 31 parameters .*, got 30"):
        inspect_bundle("me/x")


def test_offline_the_copy_in_the_cache_is_shown(hub: Hub, publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(0.5)
    pull("me/x")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert inspect_bundle("me/x").integrity == "whole"
    with pytest.raises(HubError, match=r"not in the cache.*no folder of this name"):
        inspect_bundle("me/y")


def test_without_a_network_the_network_is_the_reason(hub: Hub, publish: Publish) -> None:
    publish(0.5)
    pull("me/x")
    assert inspect_bundle("me/x", endpoint="http://127.0.0.1:9").integrity == "whole"
    with pytest.raises(
        HubError, match=r"me/y: the hub cannot be reached; check the network.*no folder of this name"
    ) as caught:
        inspect_bundle("me/y", endpoint="http://127.0.0.1:9")
    assert caught.value.problem == "network"
    assert "HF_HUB_OFFLINE" not in str(caught.value)


# --- two bundles -----------------------------------------------------------------------------------------------------


def test_a_bundle_is_the_same_as_itself(make_bundle: Any) -> None:
    assert compare(make_bundle(), make_bundle()).same


def test_what_differs_is_named_with_its_distance(make_bundle: Any) -> None:
    one, two = make_bundle(0.5), make_bundle(0.75)
    two = replace(two, manifest=two.manifest.model_copy(update={"name": "b", "license": "mit"}))
    difference = compare(one, two)
    assert [(change.name, change.one, change.two) for change in difference.fields] == [
        ("license", "None", "mit"),
        ("name", "a small adapter", "b"),
    ]
    moved = {change.name: change.distance for change in difference.tensors}
    assert moved["inputs.image.linear.weight"] == pytest.approx(0.5)
    assert "inputs.image.linear.bias" not in moved


def test_tensors_that_only_one_has_are_named(make_bundle: Any) -> None:
    difference = compare(make_bundle(), make_bundle(lora=False))
    assert all(change.two == "" and change.distance is None for change in difference.tensors)
    assert len(difference.tensors) == 4
    assert {change.name for change in difference.fields} == {
        *("parts.lora.kind", "parts.lora.config", "parts.lora.dtype", "parts.lora.parameters")
    }


def test_a_shape_or_type_that_changed_is_shown(make_bundle: Any) -> None:
    one, two = make_bundle(), make_bundle(dtype=torch.float32)
    change = compare(one, two).tensors[0]
    assert (change.one, change.two, change.distance) != ("", "", None)
    assert change.one.startswith("bfloat16")
    assert change.two.startswith("float32")
    turned = replace(one, tensors={**one.tensors, "inputs.image.linear.weight": torch.ones(4, 6, dtype=torch.bfloat16)})
    assert [(c.one, c.two) for c in compare(one, turned).tensors] == [("bfloat16 [6, 4]", "bfloat16 [4, 6]")]
