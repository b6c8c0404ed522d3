"""Errors of the libraries become one error that names the source."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors import SafetensorError

from inlay.adapters.backbone import Backbone
from inlay.adapters.encoders import EncoderError
from inlay.adapters.loading.pretrained import BackboneError, check_feature_options, check_loaded, loading


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (SafetensorError("header too small"), "a safetensors file is truncated or damaged (header too small)"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
        (KeyError("nope"), "KeyError: 'nope'"),
        (OSError("no\n  file"), "no file"),
        (ValueError(""), "ValueError"),
        (ValueError("\x1b[1mbold"), "[1mbold"),
        (ValueError("Please pass trust_remote_code=True"), "the model needs code from its repository"),
    ],
)
def test_every_exception_names_the_source_and_its_reason(error: Exception, message: str) -> None:
    with pytest.raises(BackboneError) as caught, loading("me/model", "language model"):
        raise error
    assert str(caught.value).startswith(f"me/model: no language model could be loaded: {message}")
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [EncoderError("ours"), MemoryError(), torch.OutOfMemoryError(), KeyboardInterrupt()])
def test_errors_of_ours_and_lack_of_memory_pass(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, loading("me/model", "language model"):
        raise error
    assert caught.value is error


def test_options_are_the_keyword_arguments_of_an_encoder() -> None:
    def encoder(model: Any, *, layer: int = 1, source: str = "", revision: str = "") -> None: ...

    check_feature_options(encoder, {"layer": 2}, "me/model")
    with pytest.raises(BackboneError, match="me/model: this encoder has no argument size, source; it has: layer"):
        check_feature_options(encoder, {"size": 2, "source": "x"}, "me/model")


def test_missing_and_mismatched_tensors_are_named_with_their_shapes() -> None:
    found = {"missing_keys": {"b", "head.x"}, "mismatched_keys": {("a", torch.Size([2]), torch.Size([3]))}}
    with pytest.raises(BackboneError, match=r"^me: unet: 2 tensors .*: b, a \(the file has \[2\], the config \[3\]\)"):
        check_loaded(found, "me", part="unet", unused="head.")
    check_loaded({"missing_keys": {"head.x"}, "mismatched_keys": set()}, "me", unused="head.")


def test_an_unreachable_hub_is_an_error_at_once_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inlay.hub.remote.reachable._asked", {})
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: pytest.fail("tried again"))
    with pytest.raises(BackboneError, match=r"the Hub cannot be reached .*local copy.*HF_HUB_OFFLINE=1"):
        Backbone.from_pretrained(llm="me/none-of-this-name")


def test_the_name_of_an_embedded_model_is_answered_with_its_folder() -> None:
    with pytest.raises(BackboneError, match=r"inlay\.recipes\.miniature\.backbone_path\('clip'\)"):
        Backbone.from_pretrained("inlay-miniature/clip")
