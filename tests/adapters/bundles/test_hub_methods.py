"""An adapter's own way to a hub and back, with the keyword names of huggingface_hub's ModelHubMixin."""

from __future__ import annotations

import inspect
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from hub_keys import write_keys
from huggingface_hub import ModelHubMixin

from inlay.adapters.adapter import Adapter
from inlay.adapters.backbone import Backbone
from inlay.hub import BundleError, HubError, SignatureError

Make = Callable[..., Any]


def _state(adapter: Adapter) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in adapter.state_dict().items()}


@pytest.mark.parametrize("method", ["from_pretrained", "push_to_hub"])
def test_keyword_names_are_those_of_the_mixin(method: str) -> None:
    ours = set(inspect.signature(getattr(Adapter, method)).parameters)
    mixins = set(inspect.signature(getattr(ModelHubMixin, method)).parameters)
    # No config, no patterns: what is sent is the bundle. Keyword arguments that nobody knows are refused.
    absent = {"cls", "self", "config", "model_kwargs", "allow_patterns", "ignore_patterns", "delete_patterns"}
    assert mixins - ours - absent == ({"model_card_kwargs"} if method == "push_to_hub" else set())


def test_pushed_and_read_again_it_is_the_same_adapter(hub: Any, backbone_of: Make, adapter_of: Make) -> None:
    backbone: Backbone = backbone_of()
    adapter = adapter_of(backbone)
    adapter.attach(backbone)
    pushed = adapter.push_to_hub("me/tiny", private=True, tag="v1", commit_message="first")
    adapter.detach()
    assert hub.repos["me/tiny"].private
    assert hub.repos["me/tiny"].titles[-1] == (pushed.commit, "first")
    for options in ({}, {"revision": "v1"}, {"revision": pushed.commit, "local_files_only": True}):
        read = Adapter.from_pretrained("me/tiny", **options)
        wanted = _state(adapter)
        assert all(torch.equal(tensor, wanted[name]) for name, tensor in _state(read).items())
    read.attach(backbone)  # the canary that was recorded is checked here


def test_saving_touches_no_network(
    backbone_of: Make, adapter_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("the network was touched")

    backbone = backbone_of()
    adapter = adapter_of(backbone)
    adapter.attach(backbone)
    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    adapter.save_pretrained(tmp_path / "x")
    assert Adapter.from_pretrained(tmp_path / "x").name == adapter.name


def test_saving_can_push_on_request(hub: Any, backbone_of: Make, adapter_of: Make, tmp_path: Path) -> None:
    adapter = adapter_of(backbone_of())
    adapter.save_pretrained(tmp_path / "tiny", push_to_hub=True, private=True)
    assert hub.repos["me/tiny"].private
    adapter.save_pretrained(tmp_path / "tiny", overwrite=True, push_to_hub=True, repo_id="me/other")
    assert "me/other" in hub.repos


def test_an_unknown_keyword_is_refused(backbone_of: Make, adapter_of: Make) -> None:
    with pytest.raises(TypeError, match=r"strict"):
        Adapter.from_pretrained("me/x", strict=False)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"allow_patterns"):
        adapter_of(backbone_of()).push_to_hub("me/x", allow_patterns="*")


def test_a_push_that_fails_keeps_what_was_saved(hub: Any, backbone_of: Make, adapter_of: Make, tmp_path: Path) -> None:
    adapter = adapter_of(backbone_of())
    with pytest.raises(HubError, match=r"other/x"):
        adapter.save_pretrained(tmp_path / "x", push_to_hub=True, repo_id="other/x")
    assert Adapter.from_pretrained(tmp_path / "x").name == adapter.name


def test_a_mistyped_folder_says_that_there_is_none(hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HubError, match=r"runs/lava: no such repository.*there is no folder of this name"):
        Adapter.from_pretrained("runs/lava")
    with pytest.raises(BundleError, match=r"lava: expected the folder of a bundle: no such file"):
        Adapter.from_pretrained("lava")


def test_a_missing_folder_is_not_a_matter_of_the_network_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HubError, match=r"runs/lava: the hub cannot be reached.*; and there is no folder of this name"):
        Adapter.from_pretrained("runs/lava")


def test_a_folder_has_no_revision(tmp_path: Path) -> None:
    with pytest.raises(HubError, match=r"a folder has no revision, got 'v1'"):
        Adapter.from_pretrained(tmp_path, revision="v1")


def test_a_signature_can_be_demanded(hub: Any, backbone_of: Make, adapter_of: Make, tmp_path: Path) -> None:
    adapter = adapter_of(backbone_of())
    adapter.push_to_hub("me/tiny")
    adapter.save_pretrained(tmp_path / "x")
    _, public = write_keys(tmp_path, "their")
    for source in ("me/tiny", tmp_path / "x"):
        with pytest.raises(SignatureError, match=r"not signed; expected a signature that .*their.pub verifies"):
            Adapter.from_pretrained(source, trusted=public)
