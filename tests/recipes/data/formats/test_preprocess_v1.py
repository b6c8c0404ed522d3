"""Ids and labels of LLaVA's conversations equal those of the authors' code, recorded in a file.

The file was made by running ``preprocess_multimodal`` and ``preprocess_v1`` with the slow tokenizer of LLaMA that they
were written for; it says with which versions.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inlay.adapters.core.encode import Encoded, encode
from inlay.adapters.language.labels import IGNORE
from inlay.adapters.loading.files.tokenizer import load_tokenizer
from inlay.recipes import llava
from inlay.recipes.data.formats.llava import read_llava

HERE = Path(__file__).with_name("preprocess_v1")
PICTURE = -200
"""The authors' id of a picture."""
ROWS: list[dict[str, Any]] = json.loads((HERE / "conversations.json").read_text())["rows"]
EQUAL = [row for row in ROWS if "spelled" not in row]
SPELLED = [row for row in ROWS if "spelled" in row]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The tokenizer as Vicuna's folder holds it: ``tokenizer.model``, and no key ``legacy``."""
    folder = tmp_path_factory.mktemp("vicuna")
    (folder / "tokenizer.model").write_bytes((HERE / "tokenizer.model").read_bytes())
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    named = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    held = {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "add_eos_token": False, **named}
    (folder / "tokenizer_config.json").write_text(json.dumps(held))
    return load_tokenizer(folder, {})


def encoded(row: dict[str, Any], tokenizer: Any, llm_of: Any, folder: Path) -> Encoded:
    """The row as it is read from a LLaVA file and laid out by the published recipe; a picture has one position."""
    item = {"id": "0", "conversations": row["conversations"], **({"image": "1.png"} if row["image"] else {})}
    (folder / "rows.json").write_text(json.dumps([item]))
    [sample] = read_llava(folder / "rows.json", folder)
    language = llm_of("llama", max_position_embeddings=4096)
    language.tokenizer = tokenizer
    layout = llava.recipe("1.5", size="full").layout
    assert layout.template == "vicuna_v1"
    return encode(sample.messages, layout, language, {"image": 1})


def ids_of(found: Encoded) -> list[int]:
    return [PICTURE if slot else token for token, slot in zip(found.ids.tolist(), found.slots.tolist(), strict=True)]


def test_there_are_forty_conversations_and_the_authors_code_trains_on_each() -> None:
    assert len(EQUAL) == 40
    assert all(any(label != IGNORE for label in row["labels"]) for row in EQUAL)
    assert sum(row["image"] for row in EQUAL) == 25
    assert sum(len(row["conversations"]) > 2 for row in EQUAL) > 10


@pytest.mark.parametrize("row", EQUAL, ids=range(len(EQUAL)))
def test_ids_and_labels_equal_the_authors(row: dict[str, Any], tokenizer: Any, llm_of: Any, tmp_path: Path) -> None:
    found = encoded(row, tokenizer, llm_of, tmp_path)
    assert ids_of(found) == row["ids"]
    assert found.labels.tolist() == row["labels"]


@pytest.mark.parametrize("row", SPELLED, ids=range(len(SPELLED)))
def test_a_special_token_that_a_text_spells_is_text_here_and_ends_the_sequence_there(
    row: dict[str, Any], tokenizer: Any, llm_of: Any, tmp_path: Path
) -> None:
    """The one difference: the authors' code loses such a conversation (every label is ignored), ours trains on it."""
    end, answers = tokenizer.eos_token_id, sum(turn["from"] == "gpt" for turn in row["conversations"])
    assert row["ids"].count(end) > answers
    assert set(row["labels"]) == {IGNORE}
    found = encoded(row, tokenizer, llm_of, tmp_path)
    assert ids_of(found).count(end) == answers
    assert any(label != IGNORE for label in found.labels.tolist())
