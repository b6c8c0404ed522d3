"""One call from a run or a bundle to a model that answers, and the model card that shows it."""

from __future__ import annotations

import inspect
import json
import shutil
from importlib import import_module
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from inlay.adapters.adapter import Adapter
from inlay.adapters.backbone import Backbone
from inlay.adapters.compatibility.verdict import OtherWeightsWarning
from inlay.adapters.loading.pretrained import BackboneError
from inlay.recipes import BackboneSettings, DataSettings, evaluate, finetune, llava, load_model, nextgpt
from inlay.recipes.commands import chat
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.systems.load_backbone import miniature_backbone

ASK = [{"role": "user", "content": "what is shown?"}]


@pytest.fixture(scope="module")
def run(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on local folders; the LLM is a copy of a model on the Hub."""
    data = folders["data"]
    models = BackboneSettings(llm=str(folders["llama"]), llm_id="lmsys/vicuna-7b-v1.5", image=str(folders["eva"]))
    output = tmp_path_factory.mktemp("runs") / "mine"
    finetune(
        llava.recipe("1.5"),
        backbone=models,
        data=DataSettings(train=data / "train.json", test=data / "test.json", images=data / "images"),
        trainer={"max_steps": 1},
        output=output,
        accelerator="cpu",
        show=lambda _: None,
    )
    return output


def example(bundle: Path) -> str:
    """The program on the card."""
    return (bundle / "README.md").read_text().split("```python\n")[1].split("```")[0]


def execute(bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.chdir(bundle)
    (bundle.parent / "example.py").write_text(example(bundle))
    run_path(str(bundle.parent / "example.py"))
    return capsys.readouterr().out


def test_a_run_and_its_bundle_are_loaded_without_naming_the_models(run: Path) -> None:
    said = [load_model(place).chat(ASK, max_new_tokens=4).text for place in (run, run / "bundle")]
    assert said[0] == said[1]
    model = load_model(run)
    assert not model.adapter.training
    assert model.adapter.compatibility(model.backbone).verdict == "exact"


def test_one_model_of_the_users_own_keeps_the_others_of_the_run(run: Path, folders: dict[str, Path]) -> None:
    named = load_model(run, llm=str(folders["llama"]))
    assert (named.backbone.llm.source, named.backbone.encoder("image").source) == ("llama", "eva")


def test_a_local_copy_has_the_name_of_the_model_on_the_hub(run: Path) -> None:
    interface = Adapter.from_pretrained(run).interface
    assert (interface["llm"].source, interface["image"].source) == ("lmsys/vicuna-7b-v1.5", "eva")
    card = (run / "bundle" / "README.md").read_text()
    assert "base_model:\n- lmsys/vicuna-7b-v1.5\n" in card
    assert load_model(run).backbone.llm.source == "lmsys/vicuna-7b-v1.5"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"llm": "x", "image": "y", "llm_id": "vicuna"}, "llm_id: expected a Hub id"),
        ({"llm": "x", "image": "y", "audio_id": "me/x"}, r"audio_id: .* give its folder: --backbone\.audio"),
    ],
)
def test_a_name_that_names_nothing_is_refused(settings: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        BackboneSettings(**settings)


def test_the_card_of_a_run_holds_a_program_that_runs_as_it_stands(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 'load_model(".", image="path/to/eva")' in example(run / "bundle")
    assert execute(run / "bundle", monkeypatch, capsys).endswith("\n")


@pytest.mark.parametrize("system", [llava, nextgpt], ids=["llava", "nextgpt"])
def test_the_card_of_a_miniature_bundle_runs_as_it_stands(
    system: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = system.recipe()
    backbone = miniature_backbone(recipe.sources)
    adapter = recipe.adapter(backbone, "small")
    adapter.attach(backbone)
    adapter.save_pretrained(tmp_path / "small")
    adapter.detach()
    assert "base_model" not in (tmp_path / "small" / "README.md").read_text()
    assert execute(tmp_path / "small", monkeypatch, capsys).endswith("\n")


def test_a_bundle_of_another_machine_says_which_option_names_its_model(run: Path, tmp_path: Path) -> None:
    adapter = Adapter.from_pretrained(run)
    adapter.save_pretrained(tmp_path / "sent")
    with pytest.raises(BackboneError, match=r"eva: .*give its folder: --backbone\.image"):
        load_model(tmp_path / "sent", llm=str(json_folder(run, "llm")))


def json_folder(run: Path, field: str) -> Path:
    """The folder of a model, from the settings of the run."""
    lines = (run / "config.yaml").read_text().splitlines()
    return Path(next(line.split(": ")[1] for line in lines if line.startswith(f"  {field}: ")))


COMMANDS = {
    "chat": ["{run}", "--question=what?", "--max_new_tokens=2"],
    "evaluation.evaluate": ["{run}", "--max_new_tokens=1", "--json"],
    "bundles.quantise": ["{run}", "{out}", "--limit=9"],
    "bundles.verify": ["{run}"],
}


@pytest.fixture(scope="module")
def backbone(run: Path) -> Backbone:
    """Loaded models that carry no adapter."""
    model = load_model(run)
    model.adapter.detach()
    return model.backbone


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_loaded_models_from_python_and_leaves_them_free(
    command: str, run: Path, backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inlay.recipes.training.load_model.backbone_for", None)  # nothing else is loaded
    monkeypatch.chdir(tmp_path)
    arguments = [part.format(run=run, out=tmp_path / "small") for part in COMMANDS[command]]
    assert import_module(f"inlay.recipes.commands.{command}").main(arguments, backbone=backbone) == 0


@pytest.mark.parametrize("command", ["demo", "gallery", "train.check", "train.command"])
def test_the_other_commands_that_need_models_take_them_too(command: str) -> None:
    assert "backbone" in inspect.signature(import_module(f"inlay.recipes.commands.{command}").main).parameters


def test_evaluate_takes_loaded_models(run: Path, backbone: Backbone) -> None:
    found = evaluate(run, backbone=backbone, max_new_tokens=1, show=lambda _: None)
    rows = [json.loads(line) for line in (run / "answers.jsonl").read_text().splitlines()]
    assert len(found.answers) == len(rows)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_finds_the_models_and_data_of_a_run_from_another_folder(
    command: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = [part.format(run=run, out=tmp_path / "small") for part in COMMANDS[command]]
    assert import_module(f"inlay.recipes.commands.{command}").main(arguments) == 0


def test_another_local_copy_of_the_named_model_is_exact_and_answers_the_same(
    run: Path, folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    copy = Path(shutil.copytree(folders["llama"], tmp_path / "copy"))
    model = load_model(run, llm=str(copy))
    assert model.adapter.compatibility(model.backbone).verdict == "exact"
    model.adapter.detach()
    monkeypatch.chdir(tmp_path)
    said = []
    for own in ([], [f"--backbone.llm={copy}"]):
        assert chat.main([str(run), "--question=what?", "--max_new_tokens=4", *own]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]


def test_a_local_copy_with_other_weights_is_not_exact(run: Path, folders: dict[str, Path], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folders["llama"], tmp_path / "copy"))
    weights = load_file(copy / "model.safetensors")
    name = next(name for name in weights if name.endswith("down_proj.weight"))
    save_file(weights | {name: weights[name] * 2}, copy / "model.safetensors", {"format": "pt"})
    with pytest.warns(OtherWeightsWarning, match=r"llm +weights +lmsys/vicuna-7b-v1.5 sha256:\w+ +copy sha256:"):
        model = load_model(run, llm=str(copy))
    assert model.adapter.compatibility(model.backbone).verdict == "fits"
