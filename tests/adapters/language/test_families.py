"""At least 45 families of language models: loaded, compared with transformers, adapted and asked, one after the other.

The same checks write docs/results/families.md, see tests/support/families_page.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from language_checks import check_language
from tiny_encoders import IMAGE_ENCODERS
from tiny_languages import DECODERS, ENCODER_DECODERS, MULTIMODAL, make_language

READY = {**DECODERS, **ENCODER_DECODERS}


@pytest.fixture
def checked(tokenizer_of: Any, clip_of: Any, tmp_path: Path) -> Callable[[Any], Any]:
    def check(kind: Any) -> Any:
        tokenizer = tokenizer_of()
        model = make_language(kind, len(tokenizer))
        model.save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        return check_language(tmp_path, model, clip_of())

    return check


def test_there_are_at_least_45_families() -> None:
    assert len({entry[0] for entry in READY.values()}) >= 45


@pytest.mark.parametrize("family", READY)
def test_a_family_loads_trains_and_answers_as_in_transformers(checked: Callable[[Any], Any], family: str) -> None:
    row = checked(READY[family])
    assert row.loss_gap <= 1e-5
    assert row.same_words
    assert row.targets
    assert not row.dead
    assert row.words in ("stop", "length")


@pytest.mark.parametrize("family", MULTIMODAL)
def test_the_language_part_of_a_finished_model_is_taken_out(checked: Callable[[Any], Any], family: str) -> None:
    row = checked(MULTIMODAL[family])
    assert row.loss_gap <= 1e-5
    assert row.same_words
    assert not row.dead


def test_the_page_of_the_docs_lists_every_family() -> None:
    page = (Path(__file__).parents[3] / "docs" / "results" / "families.md").read_text()
    listed = {line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| ")}
    assert not {*READY, *MULTIMODAL, *IMAGE_ENCODERS} - listed
