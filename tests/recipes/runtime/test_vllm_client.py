"""The wire format of prompt embeddings, and errors of a server."""

from __future__ import annotations

import base64
import io
import socket
from typing import Any

import pytest
import torch
from vllm_stand_in import StandIn, served

from inlay.recipes.runtime.vllm_client import Served, ServerError, VllmClient, encoded
from inlay.recipes.systems.load_backbone import miniature_backbone


def read(text: str) -> torch.Tensor:
    held = io.BytesIO(base64.b64decode(text, validate=True))
    tensor: torch.Tensor = torch.load(held, weights_only=True)
    return tensor


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_tensor_arrives_as_it_was(dtype: torch.dtype) -> None:
    tensor = torch.randn(5, 8).to(dtype)
    found = read(encoded(tensor))
    assert found.dtype == dtype
    assert torch.equal(found, tensor)


def test_a_slice_travels_without_the_rest_of_its_batch() -> None:
    batch = torch.randn(64, 32, 8)
    assert len(encoded(batch[3])) < 2 * len(encoded(batch[3].clone()))


def test_gradients_are_left_behind() -> None:
    assert not read(encoded(torch.ones(1, 2, requires_grad=True))).requires_grad


@pytest.fixture(scope="module")
def llm() -> Any:
    return miniature_backbone().llm


def test_the_models_of_a_server(llm: Any) -> None:
    with served(StandIn({"llama": llm, "mine": llm})) as url:
        assert VllmClient(url + "/").models() == [Served("llama"), Served("mine", "llama")]


def test_no_server() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ServerError, match=r"no server answers there \(.*refused\); start one: vllm serve"):
        VllmClient(url).models()


def test_a_server_with_a_key(llm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    with served(StandIn({"llama": llm}, key="secret")) as url:
        with pytest.raises(ServerError, match=r"refuses \(401\).*VLLM_API_KEY"):
            VllmClient(url).models()
        monkeypatch.setenv("VLLM_API_KEY", "secret")
        assert VllmClient(url).models() == [Served("llama")]


def test_an_unknown_model_is_told(llm: Any) -> None:
    with (
        served(StandIn({"llama": llm})) as url,
        pytest.raises(ServerError, match=r"refuses \(404\): .*The model `other` does not exist"),
    ):
        VllmClient(url).complete(torch.zeros(1, 128), {"model": "other"})


def test_another_kind_of_server_is_told(llm: Any) -> None:
    class Other(StandIn):
        def listing(self) -> dict[str, Any]:
            return {"models": []}

    with served(Other({"llama": llm})) as url, pytest.raises(ServerError, match="expected a list of models as of vLLM"):
        VllmClient(url).models()
