"""`inlay train align`: what is missing or has no effect is reported at once, without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from inlay.hub.errors import InlayError
from inlay.recipes.commands.train.command import main
from inlay.recipes.commands.train.parser import parse
from inlay.recipes.runs.config import config_of
from inlay.recipes.settings.run import BackboneSettings
from inlay.recipes.systems import align, llava
from inlay.recipes.systems.load_backbone import backbone_from


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle on the miniature."""
    adapter = llava.recipe().adapter(backbone_from(BackboneSettings()), "first")
    return adapter.save_pretrained(tmp_path_factory.mktemp("begin") / "bundle")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "begin: align trains a finished adapter further: give --begin RUN"),
        (["--begin", "none"], "begin: none: cannot be read: there is no such file or folder"),
        (["--begin", "."], "not a bundle"),
        (["--begin", "@"], "data: align needs --data.train"),
        (["--begin", "@", "--projector", "linear"], "--projector has no effect: parts and layout are those of the"),
        (["--begin", "@", "--lora.r", "8"], "--lora.r has no effect"),
        (["--begin", "@", "--template", "plain"], "--template has no effect"),
        (["--begin", "@", "--stages.prefer.geometry", "pad"], "--stages.prefer.geometry has no effect"),
        (["--begin", "@", "--second_lora=-1"], "second_lora: expected a rank of at least 0"),
        (["--version", "dpo2"], "version: expected one of dpo, mdpo"),
    ],
)
def test_wrong_use_is_reported(
    bundle: Path, options: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InlayError) as error:
        main(["align", *(option.replace("@", str(bundle)) for option in options)])
    assert told in str(error.value)


def test_a_missing_bundle_is_reported_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom inlay.recipes.cli import main\n"
        "status = main(['train', 'align', '--begin', 'none'])\nassert 'torch' not in sys.modules\nsys.exit(status)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (found.returncode, "begin: none" in found.stderr) == (2, True)


@pytest.mark.parametrize("version", align.SYSTEM.versions)
@pytest.mark.parametrize("size", ["miniature", "full"])
def test_every_version_has_a_valid_stage(version: Any, size: Any) -> None:
    stage = align.recipe(version, size).stages["prefer"]
    assert stage.objective.aligns
    assert stage.lr["lora"] > 0


def test_mdpo_has_the_published_settings() -> None:
    stage = align.recipe("mdpo", "full").stages["prefer"]
    assert (stage.lr, stage.epochs, stage.optimizer.weight_decay) == ({"lora": 1e-5}, 3.0, 0.05)
    assert stage.optimizer.betas == (0.9, 0.98)


def test_the_published_settings_are_those_for_a_bundle_of_other_models(tmp_path: Path) -> None:
    own = parse(["align", "--begin", str(tmp_path)]).recipe
    assert own.size == "full"


# A stage of preferences in another system


def test_any_system_takes_a_further_stage_of_preferences() -> None:
    recipe = parse(["llava", "--stages.prefer.objective.name", "preference", "--stages.prefer.lr.lora", "3e-4"]).job()
    stage = recipe.recipe.stages["prefer"]
    assert list(recipe.recipe.stages) == ["align", "instruct", "prefer"]
    assert (stage.data, stage.objective.name, stage.lr) == ("pairs", "preference", {"lora": 3e-4})
    assert stage.layout == recipe.recipe.stages["instruct"].layout


def test_that_stage_needs_its_pairs() -> None:
    with pytest.raises(InlayError, match=r"stage prefer needs --data\.pairs"):
        main(["llava", "--stages.prefer.objective.loss", "mdpo"])


def test_it_comes_back_from_the_settings_of_the_run(tmp_path: Path) -> None:
    job = parse(["llava", "--stages.prefer.objective.loss", "mdpo", "--data.pairs", "pairs.jsonl"]).job()
    (tmp_path / "config.yaml").write_text(config_of(job))
    again = parse([str(tmp_path / "config.yaml")]).job()
    assert again.recipe.stages["prefer"] == job.recipe.stages["prefer"]


def test_settings_of_a_continued_run_come_back(bundle: Path, tmp_path: Path) -> None:
    job = parse(["align", "--version", "mdpo", "--begin", str(bundle), "--second_lora", "4"]).job()
    (tmp_path / "config.yaml").write_text(config_of(job))
    again = parse([str(tmp_path / "config.yaml")]).job()
    assert (again.recipe, again.run.begin, again.name) == (job.recipe, bundle, "first")
