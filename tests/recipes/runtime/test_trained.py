"""A trained adapter in llama.cpp: 100 held-out questions of the miniature, answered as in torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def inlay(*argv: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "inlay.recipes.cli", *argv], capture_output=True, text=True, timeout=1800, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


def answers(run: Path, folder: Path, name: str, *runtime: str) -> list[str]:
    """Of the first 100 questions."""
    questions = folder / "questions.json"
    rows = json.loads((run / "data" / "test.json").read_text(encoding="utf-8"))[:100]
    questions.write_text(json.dumps(rows), encoding="utf-8")
    file = folder / f"{name}.jsonl"
    options = [f"--data.test={questions}", f"--data.images={run / 'data' / 'images'}", f"--save_answers={file}"]
    inlay("evaluate", str(run), *options, *runtime)
    return [json.loads(line)["said"] for line in file.read_text(encoding="utf-8").splitlines()]


def same_answers(run: Path, folder: Path, kind: str) -> int:
    """How many of 100 answers of an exported base model are those of torch."""
    inlay("export", str(run), "--to=gguf", f"--base={kind}", f"--output={folder / kind}")
    expected = answers(run, folder, "torch")
    files = [f"--gguf={folder / kind / 'base.gguf'}", f"--lora={folder / kind / 'lora.gguf'}"]
    found = answers(run, folder, kind, "--runtime=llamacpp", *files)
    assert len(found) == len(expected) == 100
    return sum(one == other for one, other in zip(found, expected, strict=True))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed: pip install 'inlay[llamacpp]'")
    output = tmp_path_factory.mktemp("trained") / "run"
    inlay("train", "llava", f"--output={output}")
    return output


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "least"), [("f32", 100), ("q8_0", 98)])
def test_answers_are_those_of_torch(run: Path, tmp_path: Path, kind: str, least: int) -> None:
    assert same_answers(run, tmp_path, kind) >= least
