"""What `inlay evaluate` says of media that a bundle makes: the figures with which its training ended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from inlay.adapters.adapter import Adapter
from inlay.recipes.commands.evaluation import evaluate as evaluate_command
from inlay.recipes.commands.train import command as train_command
from inlay.recipes.evaluation.eval_data import read_held_out
from inlay.recipes.miniature.datasets.media import build_media
from inlay.recipes.runs import miniature_data
from inlay.recipes.settings.run import BackboneSettings
from inlay.recipes.systems.load_backbone import backbone_for
from inlay.recipes.systems.nextgpt import MINIATURE_GENERATION

SIZES = {"media": 4, "instructions": 4, "dialogues": 4, "test_media": 2, "test_instructions": 2, "test_dialogues": 1}
FIGURES = ("choice", "choice_by_type", "made")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run folders of barely trained adapters on the real miniature, with a handful of media made in two steps."""
    root = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(miniature_data._BUILDERS, "senses", partial(build_media, **SIZES))
        for name in MINIATURE_GENERATION:
            patch.setitem(MINIATURE_GENERATION, name, {"steps": 2, "guidance_scale": 3.0})
        for system, stages in (("nextgpt", ("encode", "instruct", "decode")), ("modaverse", ("instruct",))):
            short = [f"--stages.{name}.max_steps=2" for name in stages]
            assert train_command.main([system, f"--output={root / system}", "--seed=3", *short]) == 0
        yield root


@pytest.mark.parametrize("system", ["nextgpt", "modaverse"])
def test_a_run_gets_the_figures_of_its_training_again(finished: Path, system: str, capsys: Any) -> None:
    run = finished / system
    trained = json.loads((run / "metrics.json").read_text())
    assert evaluate_command.main([str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {name: found[name] for name in FIGURES} == {name: trained[name] for name in FIGURES}
    assert found["adapter"]["overall"] == trained["accuracy"]
    assert found["metric"] == trained["metric"] == "vqa"
    for stage, validations in trained["validation"].items():
        assert [figures["step"] for figures in validations] == [1, 2], stage
    assert {"own_encoder", "wrong_prompt", "right"} <= set(found["made"]["audio"])


def test_files_of_ones_own_are_counted_and_not_judged(finished: Path, capsys: Any) -> None:
    run = finished / "modaverse"
    instructions = run / "data" / "t2m_test.json"
    media = f"--data.images={run / 'data' / 'media'}"
    assert evaluate_command.main([str(run / "bundle"), f'--data.make_test=["{instructions}"]', media]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0] == "generated media, in percent"
    assert "modality chosen rightly" in out
    assert "own encoder" not in out


def test_what_a_run_made_its_data_for_is_held_out(finished: Path) -> None:
    run = finished / "nextgpt"
    own = read_held_out(run, None, None)
    assert own.judged
    assert own.asked
    assert {sample.origin.split(",")[0].rsplit("/", 1)[-1] for sample in own.making} == {
        "t2m_test.json",
        "mosit_test.json",
    }
    named = read_held_out(run, run / "data" / "questions_test.json", run / "data" / "media")
    assert not named.making
    alone = read_held_out(run / "bundle", None, run / "data" / "media", make_test=[run / "data" / "t2m_test.json"])
    assert not alone.asked
    assert not alone.judged
    assert len(alone.making) == 6


def test_a_bundle_of_meta_responses_finds_the_generators_of_its_miniature(finished: Path) -> None:
    adapter = Adapter.from_pretrained(finished / "modaverse")
    assert set(backbone_for(adapter).generators) == {"image", "audio", "video"}
    named = backbone_for(adapter, BackboneSettings(generate_audio="inlay-miniature/audioldm"))
    assert set(named.generators) == {"audio"}
