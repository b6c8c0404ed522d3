"""Which files a tokenizer consists of, and the errors where they, or the library that reads them, are missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hub_layouts import write_json, write_opt, write_vicuna

from inlay.adapters.loading.files import gguf, tokenizer
from inlay.adapters.loading.files.errors import BackboneError
from inlay.adapters.loading.files.tokenizer import load_tokenizer
from inlay.adapters.loading.language import load_language


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Hide an installed library."""

    def hide(name: str) -> None:
        for module in (tokenizer, gguf):
            monkeypatch.setattr(module, "find_spec", lambda asked: None if asked == name else object())

    return hide


def test_tokenizer_model_without_sentencepiece_names_what_to_install(tmp_path: Path, without: Any) -> None:
    write_vicuna(tmp_path)
    without("sentencepiece")
    with pytest.raises(BackboneError, match=r"reading tokenizer\.model needs sentencepiece.* pip install sente"):
        load_tokenizer(tmp_path, {})


def test_tiktoken_model_without_tiktoken_names_the_extra(tmp_path: Path, without: Any) -> None:
    write_json(tmp_path / "config.json", {"model_type": "llama"})
    (tmp_path / "tiktoken.model").write_text("IQ== 0\n")
    without("tiktoken")
    with pytest.raises(BackboneError, match=r"tiktoken\.model .*pip install 'inlay\[tiktoken\]'"):
        load_tokenizer(tmp_path, {})


def test_a_damaged_tokenizer_model_is_one_clear_error(tmp_path: Path) -> None:
    write_vicuna(tmp_path)
    held = (tmp_path / "tokenizer.model").read_bytes()
    (tmp_path / "tokenizer.model").write_bytes(held[: len(held) // 2])
    with pytest.raises(BackboneError, match="no tokenizer could be loaded"):
        load_tokenizer(tmp_path, {})


def test_vocab_and_merges_are_enough(tmp_path: Path) -> None:
    write_opt(tmp_path)
    ids = load_tokenizer(tmp_path, {})("two cats").input_ids
    assert ids[0] == 2 == json.loads((tmp_path / "vocab.json").read_text())["</s>"]


def test_gguf_without_the_package_names_the_extra(tmp_path: Path, without: Any) -> None:
    (tmp_path / "model-q8_0.gguf").write_bytes(b"GGUF")
    without("gguf")
    with pytest.raises(BackboneError, match=r"reading model-q8_0\.gguf needs gguf.* pip install 'inlay\[gguf\]'"):
        load_language(tmp_path)


def test_several_gguf_files_are_listed(tmp_path: Path) -> None:
    for name in ("a-q4.gguf", "a-q8.gguf"):
        (tmp_path / name).write_bytes(b"GGUF")
    with pytest.raises(BackboneError, match=r"expected one GGUF file, got a-q4\.gguf, a-q8\.gguf; name the file"):
        load_language(tmp_path)
