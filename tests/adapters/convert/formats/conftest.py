"""A random LLaVA, and folders of its frozen models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from foreign_checkpoints import clip_folder, hf_llava, llama_folder


@pytest.fixture
def reference(tokenizer_of: Any) -> Any:
    return hf_llava(tokenizer_of())


@pytest.fixture
def models(reference: Any, tokenizer_of: Any, tmp_path: Path) -> dict[str, Any]:
    """Folders of the frozen models, as ``import_adapter`` takes them."""
    return {
        "llm": llama_folder(tmp_path / "vicuna", reference, tokenizer_of()),
        "image": clip_folder(tmp_path / "clip", reference),
        "dtype": "float32",
    }
