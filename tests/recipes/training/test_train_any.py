"""NExT-GPT and ModaVerse from the command line: small models of all senses, a handful of media, two steps a stage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inlay.adapters.adapter import Adapter
from inlay.recipes.commands.train.command import main
from inlay.recipes.miniature.datasets.media import build_media
from inlay.recipes.settings.errors import SettingsError


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The miniature's media, a few of each."""
    folder = tmp_path_factory.mktemp("senses")
    sizes = {
        "media": 4,
        "instructions": 4,
        "dialogues": 4,
        "test_media": 2,
        "test_instructions": 2,
        "test_dialogues": 2,
    }
    build_media(folder, 0, **sizes)
    return folder


def command(data: Path, system: str, output: Path, *more: str) -> list[str]:
    mix = json.dumps([str(data / f"{name}.json") for name in ("t2m", "mosit")])
    make = json.dumps([str(data / f"{name}_test.json") for name in ("t2m", "mosit")])
    small = {"hidden": 16, "encoder_layers": 1, "decoder_layers": 1, "heads": 2, "ffn": 24}
    return [
        system,
        "--size=miniature",
        f"--output={output}",
        f"--data.align={data / 'pairs.json'}",
        f"--data.train={data / 'questions.json'}",
        f"--data.mix={mix}",
        f"--data.test={data / 'questions_test.json'}",
        f"--data.align_test={data / 'pairs_test.json'}",
        f"--data.make_test={make}",
        f"--data.images={data / 'media'}",
        *([f"--output_options={json.dumps(small)}"] if system == "nextgpt" else []),
        "--lora.r=2",
        "--accelerator=cpu",
        *more,
    ]


def steps(*names: str) -> list[str]:
    return [f"--stages.{name}.max_steps=2" for name in names] + [f"--stages.{name}.batch_size=4" for name in names]


STAGES = ("encode", "instruct", "decode")


@pytest.fixture
def backbone(senses_of: Any) -> Any:
    """Small models of all senses, with nothing attached."""
    model = senses_of().model
    model.adapter.detach()
    return model.backbone


def test_nextgpt_runs_all_stages_and_reports_what_it_makes(
    data: Path, tmp_path: Path, backbone: Any, senses_of: Any, capsys: Any
) -> None:
    run = tmp_path / "run"
    assert main(command(data, "nextgpt", run, *steps(*STAGES)), backbone) == 0
    figures = json.loads((run / "metrics.json").read_text())
    assert list(figures["samples_per_second"]) == sorted(STAGES)
    assert {"accuracy", "blind", "choice", "choice_by_type", "bundle_bytes"} <= set(figures)
    assert set(figures["by_modality"]) == {"audio", "image", "video"}
    assert all(set(own) == {"adapter", "blind", "oracle"} for own in figures["by_modality"].values())
    rows = [json.loads(line) for line in (run / "made.jsonl").read_text().splitlines()]
    assert {part["modality"] for row in rows for part in row["wanted"]} == {"image", "audio", "video"}
    assert "modality chosen rightly" in capsys.readouterr().out
    parts = json.loads((run / "bundle" / "inlay.json").read_text())["parts"]
    assert {"inputs.image", "inputs.audio", "outputs.video", "tokens", "lora"} <= set(parts)
    assert parts["inputs.audio"]["kind"] == "shared"
    fresh = senses_of().model
    fresh.adapter.detach()
    Adapter.from_pretrained(run).attach(fresh.backbone, strict=True)  # the same weights, and the canary's numbers


def test_the_order_of_stages_is_an_option(data: Path, tmp_path: Path, backbone: Any, capsys: Any) -> None:
    run = tmp_path / "run"
    more = ["--order=encode,decode,instruct", "--version=1.5", "--evaluate=false", *steps(*STAGES)]
    assert main(command(data, "nextgpt", run, *more), backbone) == 0
    out = capsys.readouterr().out
    places = [out.index(f"stage {name}:") for name in ("encode", "decode", "instruct")]
    assert places == sorted(places)
    assert json.loads((run / "bundle" / "inlay.json").read_text())["layout"]["template"] == "vicuna_v1"


def test_modaverse_is_one_stage_without_output_projectors(data: Path, tmp_path: Path, backbone: Any) -> None:
    run = tmp_path / "run"
    assert main(command(data, "modaverse", run, *steps("instruct")), backbone) == 0
    manifest = json.loads((run / "bundle" / "inlay.json").read_text())
    assert set(manifest["parts"]) == {"inputs.image", "inputs.audio", "inputs.video", "tokens", "lora"}
    assert manifest["layout"]["template"] == "modaverse"
    assert "choice" in json.loads((run / "metrics.json").read_text())


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--order=encode,encode", "order: expected different stages of encode, instruct, decode"),
        ("--order=sleep", "order: expected different stages of"),
        ("--output_projector=ladder", "output_projector: expected one of"),
    ],
)
def test_wrong_options_are_named(data: Path, tmp_path: Path, option: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        main(command(data, "nextgpt", tmp_path / "run", option))
    assert not (tmp_path / "run").exists()


def test_a_part_without_data_is_named_at_the_end_of_its_stages(
    data: Path, tmp_path: Path, backbone: Any, capsys: Any
) -> None:
    own = tmp_path / "without clips"
    own.mkdir()
    for path in data.glob("*.json"):
        items = [item for item in json.loads(path.read_text()) if "video" not in json.dumps(item)]
        (own / path.name).write_text(json.dumps(items))
    (own / "media").symlink_to(data / "media")
    arguments = command(own, "nextgpt", tmp_path / "run", "--evaluate=false", "--data.links=true", *steps(*STAGES))
    assert main(arguments, backbone) == 0
    said = capsys.readouterr().out.split("stage decode:")
    assert all("no batch of this stage used outputs.video: its " in part for part in (said[0], said[1]))
    assert "reached inputs" not in said[0]
