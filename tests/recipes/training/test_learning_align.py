"""Alignment tuning on the miniature: fewer wrong objects, preferences that need no picture, and rewards alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
SEEDS = (0, 1, 2)


def inlay(*arguments: object) -> str:
    command = [sys.executable, "-m", "inlay.recipes.cli", *map(str, arguments), "--accelerator=cpu"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3000, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def aligned(run: Path, output: Path, *options: object) -> tuple[dict[str, Any], str]:
    images = f"--data.images={run / 'data' / 'images'}"
    given = (f"--begin={run}", images, f"--output={output}", "--validate_samples=0", *options)
    said = inlay("train", "align", *given)
    held: dict[str, Any] = json.loads((output / "metrics.json").read_text(encoding="utf-8"))
    return held, said


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LLaVA whose instruction tuning is short, so that its captions name wrong objects."""
    output = tmp_path_factory.mktemp("sft") / "llava"
    inlay("train", "llava", f"--output={output}", "--stages.instruct.max_steps=30", "--validate_samples=0")
    return output


@pytest.fixture(scope="module")
def pairs(run: Path) -> Path:
    output = run.parent / "pairs.jsonl"
    data, images = run / "data" / "align.json", run / "data" / "images"
    given = (
        "--reward=objects",
        "--samples=12",
        f"--data={data}",
        f"--images={images}",
        f"--output={output}",
    )
    inlay("pairs", run, *given)
    return output


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_captions_with_hallucinated_objects_fall_by_a_third(run: Path, pairs: Path, tmp_path: Path, seed: int) -> None:
    figures, _ = aligned(run, tmp_path / "run", "--version=rpo", f"--data.train={pairs}", f"--seed={seed}")
    before, after = figures["hallucination"]["before"], figures["hallucination"]["after"]
    assert after["chair_i"] <= before["chair_i"] * 2 / 3
    assert after["chair_s"] <= before["chair_s"] * 2 / 3
    assert after["recall"] >= before["recall"]
    assert figures["accuracy"] >= figures["before"]["accuracy"] - 0.01


@pytest.fixture(scope="module")
def trap(run: Path) -> Path:
    folder = run.parent / "trap"
    subprocess.run([sys.executable, str(ROOT / "examples" / "trap_pairs.py"), str(run), str(folder)], check=True)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_preferences_for_length_are_learned_blind_and_reported(
    run: Path, trap: Path, tmp_path: Path, seed: int
) -> None:
    files = (f"--data.train={trap / 'train.jsonl'}", f"--data.test={trap / 'test.jsonl'}", "--evaluate=false")
    figures, said = aligned(run, tmp_path / "run", *files, f"--seed={seed}")
    accuracy = figures["reward_accuracy"]
    assert max(accuracy["blank"], accuracy["other"]) >= accuracy["right"] - 0.05
    assert "The medium was not used" in said


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_mdpo_needs_the_picture(run: Path, trap: Path, tmp_path: Path, seed: int) -> None:
    """An empty picture and another row's do not do."""
    files = (f"--data.train={trap / 'train.jsonl'}", f"--data.test={trap / 'test.jsonl'}", "--evaluate=false")
    figures, said = aligned(run, tmp_path / "run", "--version=mdpo", *files, f"--seed={seed}")
    accuracy = figures["reward_accuracy"]
    assert accuracy["right"] >= max(accuracy["blank"], accuracy["other"]) + 0.15
    assert "The medium was not used" not in said


@pytest.fixture(scope="module")
def half_trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LLaVA with about 70 % of right answers; fully trained it has about 91 %."""
    output = tmp_path_factory.mktemp("half") / "llava"
    steps = ("--stages.align.epochs=1", "--stages.instruct.max_steps=10")
    inlay("train", "llava", f"--output={output}", *steps, "--validate_samples=0")
    return output


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_the_reward_alone_raises_the_accuracy_by_five_points(half_trained: Path, tmp_path: Path, seed: int) -> None:
    data = f"--data.train={half_trained / 'data' / 'train.json'}"
    figures, _ = aligned(half_trained, tmp_path / "run", "--version=grpo", data, f"--seed={seed}")
    assert figures["accuracy"] >= figures["before"]["accuracy"] + 0.05
