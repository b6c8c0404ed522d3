"""Tokenizers encode as sentencepiece itself does, whatever transformers makes of their files."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hub_layouts import write_flan_t5, write_json
from llama_tokenizer import make_llama_tokenizer
from sentencepiece import SentencePieceProcessor
from sentencepiece_models import write_sentencepiece
from tokenizers import Tokenizer, decoders, models, normalizers
from transformers import AutoTokenizer

from inlay.adapters.loading.files.exact_tokenizer import PROBES, TokenizerWarning
from inlay.adapters.loading.files.tokenizer import load_tokenizer

NAMED = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentencepiece model with LLaMA's settings."""
    return write_sentencepiece(tmp_path_factory.mktemp("llama") / "tokenizer.model")


def folder(place: Path, model: Path | None, **config: Any) -> Path:
    """A folder of a LLaMA with a tokenizer."""
    place.mkdir(exist_ok=True)
    if model is not None:
        (place / "tokenizer.model").write_bytes(model.read_bytes())
    write_json(place / "config.json", {"model_type": "llama"})
    write_json(
        place / "tokenizer_config.json", {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, **NAMED, **config}
    )
    return place


def random_texts(count: int = 400) -> list[str]:
    chosen = random.Random(0)
    pieces = [
        " ",
        "  ",
        "    ",
        "\n",
        "\t",
        "the",
        "hi",
        "width",
        "12",
        "\u00e9",
        "\u6f22",
        "(",
        ":",
        "a",
        "</",
        "\u2581",
    ]
    return ["".join(chosen.choice(pieces) for _ in range(chosen.randint(1, 25))) for _ in range(count)]


def plain(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False).input_ids
    return ids


@pytest.mark.parametrize("legacy", [None, True, False])
def test_tokenizer_model_is_encoded_as_sentencepiece_does(tmp_path: Path, model: Path, legacy: bool | None) -> None:
    tokenizer = load_tokenizer(folder(tmp_path, model, legacy=legacy), {})
    truth: Any = SentencePieceProcessor(str(model))
    for text in [*PROBES, *random_texts()]:
        assert plain(tokenizer, text) == truth.encode(text), repr(text)
        assert tokenizer.decode(plain(tokenizer, text)) == truth.decode(truth.encode(text))


def test_transformers_alone_is_not_exact(tmp_path: Path, model: Path) -> None:
    """The reason for all of this; if it turns red, the conversions can go."""
    tokenizer = AutoTokenizer.from_pretrained(folder(tmp_path, model))
    truth: Any = SentencePieceProcessor(str(model))
    assert any(plain(tokenizer, text) != truth.encode(text) for text in PROBES)


@pytest.mark.parametrize(("config", "space"), [({}, True), ({"legacy": True}, True), ({"legacy": False}, False)])
def test_legacy_decides_whether_a_space_follows_a_special_token(
    tmp_path: Path, model: Path, config: dict[str, bool], space: bool
) -> None:
    tokenizer = load_tokenizer(folder(tmp_path, model, **config), {})
    truth: Any = SentencePieceProcessor(str(model))
    head = [*truth.encode("hi"), tokenizer.eos_token_id]
    behind = truth.encode("USER: a") if space else truth.encode("\nUSER: a")[len(truth.encode("\n")) :]
    assert plain(tokenizer, "hi</s>USER: a") == [*head, *behind]
    assert truth.encode("USER: a") != truth.encode("\nUSER: a")[len(truth.encode("\n")) :]


def test_special_tokens_stay_what_the_folder_says(tmp_path: Path, model: Path) -> None:
    place = folder(tmp_path, model, model_max_length=512, padding_side="right", chat_template="{{ messages }}")
    tokenizer = load_tokenizer(place, {})
    assert tokenizer("hi").input_ids[0] == tokenizer.bos_token_id == 1
    assert (tokenizer.eos_token_id, tokenizer.unk_token_id) == (2, 0)
    assert (tokenizer.model_max_length, tokenizer.padding_side) == (512, "right")
    assert tokenizer.chat_template == "{{ messages }}"
    assert tokenizer.decode(tokenizer("hi").input_ids, skip_special_tokens=True) == "hi"


def test_the_exact_tokenizer_survives_saving_and_loading_by_transformers(tmp_path: Path, model: Path) -> None:
    tokenizer = load_tokenizer(folder(tmp_path / "one", model), {})
    tokenizer.save_pretrained(tmp_path / "two")
    write_json(tmp_path / "two" / "config.json", {"model_type": "llama"})
    again = AutoTokenizer.from_pretrained(tmp_path / "two")
    assert all(again(text).input_ids == tokenizer(text).input_ids for text in [*PROBES, "hi</s>USER: a"])


def published(place: Path, model: Path) -> Path:
    """tokenizer.json as transformers 4 wrote it for LLaMA: a normalizer puts the space in front."""
    load_tokenizer(folder(place, model), {}).backend_tokenizer.save(str(place / "tokenizer.json"))
    core = Tokenizer.from_file(str(place / "tokenizer.json"))
    core.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    core.pre_tokenizer = None
    core.save(str(place / "tokenizer.json"))
    return place


@pytest.mark.parametrize("beside", [True, False])
def test_tokenizer_json_keeps_a_leading_space_with_and_without_tokenizer_model(
    tmp_path: Path, model: Path, beside: bool
) -> None:
    place = published(tmp_path, model)
    if not beside:
        (place / "tokenizer.model").unlink()
    truth: Any = SentencePieceProcessor(str(model))
    assert plain(AutoTokenizer.from_pretrained(place), " hi") != truth.encode(" hi")
    tokenizer = load_tokenizer(place, {})
    assert all(plain(tokenizer, text) == truth.encode(text) for text in [*PROBES, *random_texts(100)])


def test_a_tokenizer_that_no_way_makes_exact_is_named_in_a_warning(tmp_path: Path) -> None:
    """tokenizer.json contradicts spiece.model, a Unigram model; only BPE models are converted anew."""
    write_flan_t5(tmp_path)
    held = json.loads((tmp_path / "tokenizer_config.json").read_text())
    core = AutoTokenizer.from_pretrained(tmp_path).backend_tokenizer
    core.pre_tokenizer = None  # runs of spaces are tokens of their own now
    core.normalizer = normalizers.Lowercase()
    core.save(str(tmp_path / "tokenizer.json"))
    write_json(tmp_path / "tokenizer_config.json", {**held, "tokenizer_class": "TokenizersBackend"})
    with pytest.warns(TokenizerWarning, match=r"encodes \d+ of \d+ texts differently from spiece\.model, such as "):
        load_tokenizer(tmp_path, {})


def test_a_byte_level_tokenizer_is_left_alone(tmp_path: Path, tokenizer_of: Any) -> None:
    tokenizer_of().save_pretrained(tmp_path)
    write_json(tmp_path / "config.json", {"model_type": "llama"})
    assert load_tokenizer(tmp_path, {})("hi  there").input_ids == tokenizer_of()("hi  there").input_ids


@pytest.mark.parametrize("legacy", [True, False])
def test_a_tokenizer_without_a_class_is_left_alone(tmp_path: Path, legacy: bool) -> None:
    make_llama_tokenizer(legacy=legacy).save_pretrained(tmp_path)
    write_json(tmp_path / "config.json", {"model_type": "llama"})
    loaded = load_tokenizer(tmp_path, {})
    assert loaded("two</s> red").input_ids == make_llama_tokenizer(legacy=legacy)("two</s> red").input_ids


def test_a_byte_fallback_model_decodes_to_its_text(tmp_path: Path, model: Path) -> None:
    tokenizer = load_tokenizer(folder(tmp_path, model), {})
    assert tokenizer.decode(plain(tokenizer, "  d\u00e9j\u00e0 \u6f22")) == "  d\u00e9j\u00e0 \u6f22"
    assert isinstance(tokenizer.backend_tokenizer.model, models.BPE)
    assert isinstance(tokenizer.backend_tokenizer.decoder, decoders.Sequence)
