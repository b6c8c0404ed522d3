"""The BLIP family from the command line: tiny random backbones, a handful of pictures, two steps a stage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inlay.recipes.cli import main

pytestmark = pytest.mark.slow


def command(folders: dict[str, Path], system: str, output: Path, llm: str, *more: str) -> list[str]:
    data = folders["data"]
    return [
        "train",
        system,
        "--size=miniature",
        f"--output={output}",
        f"--backbone.llm={folders[llm]}",
        f"--backbone.image={folders['eva']}",
        f"--backbone.prompt={folders['bert']}",
        f"--data.align={data / 'align.json'}",
        f"--data.train={data / 'train.json'}",
        f"--data.test={data / 'test.json'}",
        f"--data.align_test={data / 'align_test.json'}",
        f"--data.images={data / 'images'}",
        "--accelerator=cpu",
        *more,
    ]


def steps(*names: str) -> list[str]:
    few = [f"--stages.{name}.max_steps=2" for name in names] + [f"--stages.{name}.batch_size=4" for name in names]
    # The miniature's BERT is larger than these models.
    return few + ["--stages.represent.objective.bert="] * ("represent" in names)


def options(**changes: Any) -> str:
    sizes = {"queries": 4, "hidden": 16, "layers": 2, "heads": 2, "ffn": 24} | changes
    return f"--projector_options={json.dumps(sizes)}"


def finished(output: Path) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads((output / "metrics.json").read_text())
    return figures


def asked(folders: dict[str, Path], *names: str) -> list[str]:
    """Where ``evaluate`` finds what the bundle was trained on."""
    files = [f"--data.test={folders['data'] / 'test.json'}", f"--data.images={folders['data'] / 'images'}"]
    return files + [f"--backbone.{name}={folders[folder]}" for name, folder in (part.split(":") for part in names)]


def test_blip2_on_opt_reports_every_stage(folders: dict[str, Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(command(folders, "blip2", run, "opt", *steps("represent", "generate", "vqa"), options())) == 0
    figures = finished(run)
    assert set(figures["stages"]) == {"represent", "generate"}
    assert {"image_to_text@1", "text_to_image@10", "pictures"} <= set(figures["stages"]["represent"])
    assert {"bleu_4", "cider", "rouge_l"} <= set(figures["stages"]["generate"])
    assert {"accuracy", "blind", "by_type"} <= set(figures)
    assert main(["evaluate", str(run), *asked(folders, "llm:opt", "image:eva")]) == 0


def test_blip2_on_t5_cuts_captions(folders: dict[str, Path], tmp_path: Path, capsys: Any) -> None:
    run = tmp_path / "run"
    more = ["--version=t5", *steps("represent", "generate", "vqa"), options()]
    assert main(command(folders, "blip2", run, "t5", *more)) == 0
    assert " -> [[" in capsys.readouterr().out
    assert set(finished(run)["stages"]) == {"represent", "generate"}


def test_p_former_teaches_before_the_captions_are_learnt(folders: dict[str, Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    bert = [f"--stages.teach.objective.bert={folders['bert']}"]
    more = ["--version=pformer", *steps("represent", "teach", "generate", "vqa"), *bert, options()]
    assert main(command(folders, "blip2", run, "opt", *more)) == 0
    assert set(finished(run)["samples_per_second"]) == {"represent", "teach", "generate", "vqa"}
    measured = {stage: set(own[-1]) for stage, own in finished(run)["validation"].items()}
    assert measured == {
        "represent": {"step", "loss"},
        "teach": {"step", "loss"},
        "generate": {"step", "loss", "captions", "captions_blind"},
        "vqa": {"step", "loss", "vqa", "vqa_blind"},
    }
    parts = json.loads((run / "bundle" / "inlay.json").read_text())["parts"]
    assert set(parts) == {"inputs.image"}


def test_another_projector_leaves_the_first_stage_out(folders: dict[str, Path], tmp_path: Path, capsys: Any) -> None:
    run = tmp_path / "run"
    small = '--projector_options={"latents": 4, "depth": 1, "heads": 2, "head_width": 4}'
    more = ["--projector=perceiver", small, *steps("represent", "generate", "vqa")]
    assert main(command(folders, "blip2", run, "opt", *more)) == 0
    assert "stage represent: skipped, expected a Q-Former" in capsys.readouterr().out
    assert set(finished(run)["samples_per_second"]) == {"generate", "vqa"}


def test_instructblip_reads_the_question_and_begins_with_a_bundle(folders: dict[str, Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    sizes = options(text_positions=64, prompt_tokens=16)
    first = [*steps("represent", "generate", "instruct"), sizes]
    assert main(command(folders, "instructblip", run, "llama", *first)) == 0
    manifest = json.loads((run / "bundle" / "inlay.json").read_text())
    assert manifest["interface"]["prompt"]["kind"] == "tokenizer"
    assert main(["evaluate", str(run), *asked(folders, "llm:llama", "image:eva", "prompt:bert")]) == 0
    again = [f"--begin={run}", sizes, *steps("represent", "generate", "instruct")]
    assert main(command(folders, "instructblip", tmp_path / "again", "llama", *again)) == 0


def test_minigpt4_stands_on_a_q_former_that_blip2_trained(folders: dict[str, Path], tmp_path: Path) -> None:
    first, run = tmp_path / "first", tmp_path / "run"
    begin = [*steps("represent", "generate", "vqa"), options(), "--evaluate=false"]
    assert main(command(folders, "blip2", first, "opt", *begin)) == 0
    more = [f"--backbone.qformer={first}", *steps("pretrain", "finetune")]
    assert main(command(folders, "minigpt4", run, "llama", *more)) == 0
    manifest = json.loads((run / "bundle" / "inlay.json").read_text())
    assert manifest["interface"]["image"]["family"] == "qformer"
    assert manifest["parts"]["inputs.image"]["parameters"] == (16 + 1) * 32
    found = [*asked(folders, "llm:llama", "image:eva"), f"--backbone.qformer={first}"]
    assert main(["evaluate", str(run), *found]) == 0


def test_minigpt4_on_llama2_joins_patches(folders: dict[str, Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    more = ["--version=llama2", *steps("pretrain", "finetune")]
    assert main(command(folders, "minigpt4", run, "llama", *more)) == 0
    manifest = json.loads((run / "bundle" / "inlay.json").read_text())
    assert manifest["parts"]["inputs.image"]["kind"] == "patch_merge"
    assert manifest["layout"]["template"] == "minigpt4_llama2"
