"""Compact from the command line: tiny random SigLIP and LLM with a chat template, a handful of pictures, two steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import SiglipImageProcessorPil, SiglipVisionConfig, SiglipVisionModel

from inlay.recipes.cli import main


@pytest.fixture(scope="module")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 pixels in patches of 8: a grid of 6 x 6 features."""
    folder = tmp_path_factory.mktemp("siglip")
    torch.manual_seed(0)
    config = SiglipVisionConfig(
        hidden_size=24, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=48, patch_size=8
    )
    SiglipVisionModel(config).save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": 48, "width": 48}).save_pretrained(folder)
    return folder


def command(folders: dict[str, Path], siglip: Path, output: Path, *more: str) -> list[str]:
    data = folders["data"]
    return [
        *("train", "compact", f"--output={output}", "--accelerator=cpu", "--stages.instruct.max_steps=2"),
        *(f"--backbone.llm={folders['llama']}", f"--backbone.image={siglip}"),
        *(f"--data.train={data / 'train.json'}", f"--data.test={data / 'test.json'}"),
        *(f"--data.images={data / 'images'}", *more),
    ]


@pytest.fixture(scope="module")
def run(folders: dict[str, Path], siglip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("compact") / "run"
    more = ["--projector_options={factor: 3}", f"--data.align={folders['data'] / 'align.json'}"]
    assert main(command(folders, siglip, output, *more)) == 0
    return output


@pytest.fixture(scope="module")
def manifest(run: Path) -> dict[str, Any]:
    held: dict[str, Any] = json.loads((run / "bundle" / "inlay.json").read_text())
    return held


def test_own_models_get_the_published_layers_and_the_given_factor(manifest: dict[str, Any]) -> None:
    part = manifest["parts"]["inputs.image"]
    assert part["kind"] == "pixel_shuffle"
    assert (part["config"]["factor"], part["config"]["depth"], part["config"]["bias"]) == (3, 1, False)
    assert part["parameters"] == 9 * 24 * manifest["interface"]["llm"]["width"]


def test_layout_is_the_chat_template_of_the_llm(manifest: dict[str, Any]) -> None:
    assert manifest["layout"]["template"] == "chat"


def test_evaluate_and_chat_need_no_folder_named_again(run: Path, capsys: Any) -> None:
    assert main(["evaluate", str(run), "--json"]) == 0
    assert "blind" in json.loads(capsys.readouterr().out)
    picture = next((run.parents[1]).rglob("held_out_*.png"))
    assert main(["chat", str(run), f"--image={picture}", "--question=what colour?", "--max_new_tokens=3"]) == 0


def test_published_factor_on_another_grid_is_refused_with_the_factors_that_fit(
    folders: dict[str, Path], siglip: Path, tmp_path: Path, capsys: Any
) -> None:
    assert main(command(folders, siglip, tmp_path / "run")) == 2
    said = capsys.readouterr().err
    assert "expected a grid whose sides factor = 4 divides, got 6 x 6 features; choose factor 2 or 3 or 6" in said
    assert "(projector_options)" in said


def test_streamed_rows_train_and_are_evaluated(
    folders: dict[str, Path], siglip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--projector_options={factor: 3}", "--data.streaming=true", "--data.shuffle=2"]
    assert main(command(folders, siglip, tmp_path / "run", *options)) == 0
    shown = capsys.readouterr().out
    assert "1 file(s) of" in shown
    assert "as a stream, 2 steps" in shown
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert list((tmp_path / "run" / "checkpoints" / "instruct" / "stream").iterdir())


def test_a_streamed_stage_without_steps_says_what_to_set(
    folders: dict[str, Path], siglip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word for word in command(folders, siglip, tmp_path / "run") if "max_steps" not in word]
    assert main([*words, "--data.streaming=true"]) == 2
    assert "--stages.instruct.max_steps" in capsys.readouterr().err
