from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hub_emulator import Hub

from inlay.hub import Bundle, HubError, pull, push
from inlay.hub.remote.search import in_cache, on_hub

LLAMA, CLIP = frozenset({("llama", 6)}), frozenset({("clip", 4), ("clip_text_model", 8)})
OTHER = frozenset({("qwen2", 6)})


@pytest.fixture
def published(hub: Hub, make_bundle: Callable[..., Bundle], tmp_path: Any) -> Hub:
    """One adapter for LLaMA and one for Qwen, the latter of somebody else; and a model that is no bundle."""
    bundle = make_bundle(lora=False)
    bundle.write(tmp_path / "a")
    push(tmp_path / "a", "me/for-llama")
    llm = bundle.manifest.interface["llm"].model_copy(update={"family": "qwen2"})
    ports = {**bundle.manifest.interface, "llm": llm}
    Bundle(bundle.manifest.model_copy(update={"interface": ports}), bundle.tensors).write(tmp_path / "b")
    hub.tokens["hf_reader"] = "reader"
    push(tmp_path / "b", "reader/for-qwen", token="hf_reader")
    hub.repos["me/model"] = type(hub.repos["me/for-llama"])()
    hub.repos["me/model"].commit({"README.md": b"---\ntags: [llama]\n---\n"})
    return hub


def _names(found: Any) -> list[str]:
    return [item.repo_id for item in found]


def test_the_hub_is_searched_by_what_a_bundle_fits(published: Hub) -> None:
    assert _names(on_hub({})) == ["me/for-llama", "reader/for-qwen"]
    assert _names(on_hub({"llm": LLAMA})) == ["me/for-llama"]
    assert _names(on_hub({"llm": LLAMA, "image": CLIP})) == ["me/for-llama"]
    assert _names(on_hub({"llm": OTHER, "image": CLIP})) == ["reader/for-qwen"]
    assert _names(on_hub({"llm": frozenset({("llama", 8)})})) == []


def test_the_hub_is_searched_by_author_and_through_all_pages(published: Hub) -> None:
    published.page = 1
    assert _names(on_hub({})) == ["me/for-llama", "reader/for-qwen"]
    assert _names(on_hub({}, author="reader")) == ["reader/for-qwen"]
    assert len(on_hub({}, limit=1)) == 1


def test_the_cache_is_searched_without_asking(published: Hub) -> None:
    commit = pull("me/for-llama").commit
    pull("reader/for-qwen")
    published.seen.clear()
    assert _names(in_cache({})) == ["me/for-llama", "reader/for-qwen"]
    (found,) = in_cache({"llm": LLAMA})
    assert (found.repo_id, found.where, found.commit) == ("me/for-llama", "cache", commit)
    assert found.tags == ("inlay", "llava", "inlay-image-clip-4", "inlay-llm-llama-6")
    assert in_cache({"audio": CLIP}) == []
    assert published.seen == []


def test_what_lies_in_the_cache_and_is_no_bundle_is_passed_over(published: Hub) -> None:
    folder = pull("me/for-llama").folder
    (folder / "inlay.json").unlink()
    assert in_cache({}) == []


def test_a_hub_that_cannot_be_reached_is_told() -> None:
    with pytest.raises(HubError):
        on_hub({}, endpoint="http://127.0.0.1:9")
