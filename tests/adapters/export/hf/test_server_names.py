"""The name tables of other programs, on the names of all versions of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from foreign_checkpoints import LAYOUTS, hf_llava, hf_llava_folder
from safetensors.torch import load_file

from inlay.adapters.export.hf.server_names import LOADERS, name_checks


@pytest.mark.parametrize(("layout", "readers"), [("4.51", list(LOADERS)), ("4.52", ["vLLM 0.33"]), ("5", [])])
def test_only_the_oldest_names_are_read_by_all(
    tokenizer_of: Any, tmp_path: Path, layout: str, readers: list[str]
) -> None:
    tokenizer = tokenizer_of()
    folder = hf_llava_folder(tmp_path / layout, hf_llava(tokenizer), tokenizer, layout)
    checks, notes = name_checks("llava", load_file(folder / "model.safetensors"))
    assert set(LAYOUTS) == {"4.51", "4.52", "5"}
    assert [check.name for check in checks] == [f"names in {program}" for program in readers]
    assert len(notes) == len(LOADERS) - len(readers)


def test_a_class_that_a_program_does_not_have_is_noted() -> None:
    checks, notes = name_checks("instructblip", ["query_tokens"])
    assert checks == []
    assert notes == [f"{program} has no instructblip" for program in LOADERS]


def test_vllm_reads_blip_2_with_opt_alone() -> None:
    assert LOADERS["vLLM 0.33"]["blip2"].place("language_model.model.decoder.embed_tokens.weight")
    _, notes = name_checks("blip2", ["language_model.model.embed_tokens.weight"])
    assert "no module for language_model.model.embed_tokens.weight" in notes[0]
