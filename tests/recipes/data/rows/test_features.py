"""Files of features in data sets: LLaVA's field, parts of messages, the header check, and the settings of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from inlay.adapters.conversation.messages import MediaPart, media_of
from inlay.recipes import finetune, llava
from inlay.recipes.cli import main
from inlay.recipes.data import DataError, read_samples
from inlay.recipes.data.rows.media_headers import header_problem
from inlay.recipes.settings.run import BackboneSettings
from inlay.recipes.systems.load_backbone import backbone_for, backbone_from, chosen_sources


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        save_file({"features": torch.ones(4, 8)}, tmp_path / f"{name}.safetensors")
    return tmp_path


def written(folder: Path, row: Any, name: str = "train.json") -> Path:
    (folder / name).write_text(json.dumps([row]) if name.endswith("json") else json.dumps(row))
    return folder / name


def turns(asked: str) -> list[dict[str, str]]:
    return [{"from": "human", "value": asked}, {"from": "gpt", "value": "four"}]


@pytest.mark.parametrize("asked", ["<features>\n<features>\nHow many?", "How many?", "How <features> <features> many?"])
def test_llava_rows_name_features(folder: Path, asked: str) -> None:
    row = {"id": "1", "features": ["a.safetensors", "b.safetensors"], "conversations": turns(asked)}
    (sample,) = read_samples(written(folder, row), folder)
    assert media_of(sample.messages) == tuple(MediaPart("features", folder / f"{name}.safetensors") for name in "ab")


@pytest.mark.parametrize(
    ("content", "fields"),
    [
        ([{"type": "features", "path": "a.safetensors"}, {"type": "text", "text": "How many?"}], {}),
        ([{"type": "features", "features": "a.safetensors"}, {"type": "text", "text": "How many?"}], {}),
        ([{"type": "features"}, {"type": "text", "text": "How many?"}], {"features": ["a.safetensors"]}),
        ("<features>How many?", {"feature_files": ["a.safetensors"]}),
    ],
)
def test_messages_name_features(folder: Path, content: Any, fields: Any) -> None:
    row = {"messages": [{"role": "user", "content": content}, {"role": "assistant", "content": "four"}], **fields}
    (sample,) = read_samples(written(folder, row, "train.jsonl"), folder)
    assert media_of(sample.messages) == (MediaPart("features", folder / "a.safetensors"),)


def test_a_format_that_reads_no_features_refuses_them(folder: Path) -> None:
    row = {"image": "a.png", "text": "four", "features": "a.safetensors"}
    with pytest.raises(DataError, match=r"features: 'a\.safetensors' would not be read"):
        read_samples(written(folder, row), folder)


def test_the_assistant_makes_no_features(folder: Path) -> None:
    said = [{"type": "features", "path": "a.safetensors"}]
    row = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": said}]}
    with pytest.raises(DataError, match="the assistant's media are image, audio, video, got features"):
        read_samples(written(folder, row, "train.jsonl"), folder)


def test_headers_are_checked_without_the_numbers(folder: Path) -> None:
    assert header_problem("features", folder / "a.safetensors") == ""
    save_file({"features": torch.ones(8)}, folder / "flat.safetensors")
    assert header_problem("features", folder / "flat.safetensors").startswith("features: expected [tokens, width]")
    (folder / "c.safetensors").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(60))
    assert "expected safetensors" in header_problem("features", folder / "c.safetensors")


def test_with_features_alone_no_image_encoder_is_loaded() -> None:
    backbone = backbone_from(BackboneSettings(features="8x4"), llava.recipe().sources)
    assert list(backbone.encoders) == ["features"]
    both = chosen_sources(
        BackboneSettings(llm="inlay-miniature/llama", image="inlay-miniature/clip", features="8x4"),
        llava.recipe().sources,
    )
    assert (both.image, both.features) == ("inlay-miniature/clip", "8x4")


def test_features_beside_pictures_have_a_projector_of_their_own() -> None:
    settings = BackboneSettings(llm="inlay-miniature/llama", image="inlay-miniature/clip", features="8x1-4:eeg")
    recipe = llava.recipe()
    backbone = backbone_from(settings, recipe.sources)
    recipe = recipe.for_encoders(backbone.encoders)
    adapter = recipe.adapter(backbone, "both")
    assert set(adapter.inputs) == {"image", "features"}
    assert recipe.stages["align"].lr == {"inputs.image": 1e-2, "inputs.features": 1e-2}
    again = backbone_for(adapter)
    assert again.encoder("features").port == backbone.encoder("features").port


def test_a_recipe_without_features_stays_as_it_is() -> None:
    recipe = llava.recipe()
    assert recipe.for_encoders(["image"]) is recipe


def test_a_file_of_another_width_stops_the_run_before_the_first_step(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"id": "1", "features": "a.safetensors", "conversations": turns("<features>\nHow many?")}
    command = ["train", "llava", "--backbone.features", "9x4", "--data.train", str(written(folder, row))]
    assert main([*command, "--data.images", str(folder), "--output", str(folder / "run")]) == 2
    assert "a.safetensors: expected features [4, 9] ([tokens, width]), got [4, 8]" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["8", "8by4", "0x4"])
def test_a_wrong_word_is_reported_at_once(word: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "llava", "--backbone.features", word, "--output", str(folder / "run")]) == 2
    assert "features: " in capsys.readouterr().err
    assert not (folder / "run").exists()


def test_rates_of_the_projector_of_features_can_be_given(folder: Path) -> None:
    row = {"id": "1", "features": "a.safetensors", "conversations": turns("<features>\nHow many?")}
    command = ["check", "llava", "--backbone.features", "8x4", "--data.train", str(written(folder, row))]
    rate = ["--stages.align.lr.inputs.features", "1e-3"]
    assert main([*command, "--data.images", str(folder), "--output", str(folder / "run"), *rate]) == 0


def test_a_model_with_features_is_trained_from_python(folder: Path) -> None:
    from inlay.adapters import Backbone
    from inlay.adapters.encoders import precomputed
    from inlay.adapters.loading.language import load_language
    from inlay.recipes.settings.default_models import miniature_path

    row = {"id": "1", "features": "a.safetensors", "conversations": turns("<features>\nHow many?")}
    llm = load_language(miniature_path("inlay-miniature/llama"), name="inlay-miniature/llama")
    backbone = Backbone(llm, {"features": precomputed(8, 4)})
    run = finetune(
        "llava",
        backbone=backbone,
        train=written(folder, row),
        images=folder,
        output=folder / "run",
        trainer={"max_steps": 1},
        accelerator="cpu",
    )
    assert "inputs.features" in {part.name for part in run.adapter().parts()}


@pytest.mark.parametrize("system", ["blip2", "minigpt4"])
def test_other_systems_take_features_too_and_skip_stages_about_pictures(
    system: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"id": str(n), "features": "a.safetensors", "conversations": turns("How many?")} for n in range(8)]
    (folder / "train.json").write_text(json.dumps(rows))
    command = ["check", system, "--backbone.features", "8x4", "--data.train", str(folder / "train.json")]
    assert main([*command, "--data.images", str(folder), "--output", str(folder / "run")]) == 0
    said = capsys.readouterr().out
    assert "all checks passed" in said
    assert ("stage represent: skipped, it trains on pictures with captions" in said) == (system == "blip2")
