"""Where a run of all senses gets its models and its data from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inlay.adapters.conversation.messages import made_of, media_of
from inlay.recipes.data.cache.features import FeatureCache
from inlay.recipes.data.load import load_data
from inlay.recipes.data.rows.sample import questions_of
from inlay.recipes.evaluation.answering import Answered, as_rows
from inlay.recipes.evaluation.eval_data import read_held_out
from inlay.recipes.miniature.datasets.media import build_media
from inlay.recipes.runs.miniature_data import draw_data, own_data
from inlay.recipes.settings.default_models import MINIATURE, Sources
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.run import BackboneSettings, DataSettings
from inlay.recipes.systems import modaverse, nextgpt
from inlay.recipes.systems.load_backbone import chosen_sources, load_backbone

SIZES = {"media": 3, "instructions": 3, "dialogues": 3, "test_media": 2, "test_instructions": 2, "test_dialogues": 2}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with the miniature's data of all senses."""
    build_media(tmp_path / "run" / "data", 0, **SIZES)
    return tmp_path / "run"


def test_a_run_without_files_reads_the_world_of_all_senses(run: Path) -> None:
    samples = load_data(draw_data(DataSettings(), run / "data", 0, "senses"))
    assert {"align", "train", "mix 1", "mix 2", "mix 3", "test", "align_test", "make_test 1", "make_test 2"} == set(
        samples
    )
    shown = {part.modality for sample in samples["train"] for part in media_of(sample.messages)}
    made = {part.modality for sample in samples["mix 1"] for part in made_of(sample.messages)}
    assert shown == made == {"image", "audio", "video"}
    assert all(sample.answers for sample in samples["test"])


def test_files_of_ones_own_go_with_training_files(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"make_test: these files need --data\.train"):
        draw_data(DataSettings(make_test=(tmp_path / "a.json",)), tmp_path, 0, "senses")


def test_held_out_questions_of_a_run_are_found_again(run: Path) -> None:
    assert own_data(run) is None
    held = read_held_out(run, None, None)
    assert held.path == run / "data" / "questions_test.json"
    assert len(held.asked) == 6


def test_features_of_every_sense_are_cached_once(run: Path, senses_of: Any) -> None:
    backbone = senses_of().model.backbone
    samples = load_data(draw_data(DataSettings(), run / "data", 0, "senses"))["test"]
    cache = FeatureCache(backbone, "crop")
    cache.fill(samples)
    cache.fill(samples)
    assert [backbone.encoder(name).runs for name in ("image", "audio", "video")] == [1, 1, 1]
    for part in (part for sample in samples for part in media_of(sample.messages)):
        assert cache(part).shape == (1, 12)
    assert cache.in_memory == len(samples) * 12 * 4


def test_answers_name_the_medium_and_not_only_pictures(run: Path) -> None:
    samples = load_data(draw_data(DataSettings(), run / "data", 0, "senses"))["test"]
    rows = as_rows([Answered(questions_of(sample)[0], "x", sample.id) for sample in samples], run)
    kinds = [row["media"][0]["modality"] for row in rows]
    assert sorted(set(kinds)) == ["audio", "image", "video"]
    assert all((row["image"] is not None) == (kind == "image") for row, kind in zip(rows, kinds, strict=True))
    assert all((run / row["media"][0]["file"]).exists() for row in rows)


def test_a_language_model_of_ones_own_gets_no_miniature_of_another_sense() -> None:
    settings = BackboneSettings(llm="someone/llm", image="someone/imagebind", audio="someone/imagebind")
    chosen = chosen_sources(settings, nextgpt.recipe(size="full").sources)
    assert (chosen.audio, chosen.video, chosen.generate_image) == ("someone/imagebind", None, None)
    assert (chosen.audio_scale, chosen.clips_reach_end) == (False, False)


def test_nextgpt_spaces_clips_as_it_was_trained_and_modaverse_as_imagebinds_authors() -> None:
    for system, ends in ((nextgpt, False), (modaverse, True)):
        sources = replace(system.recipe().sources, generate_image=None, generate_audio=None, generate_video=None)
        backbone = load_backbone(sources)
        assert [backbone.encoder(name).reach_end for name in ("audio", "video")] == [ends, ends]
        assert [backbone.ports[name].settings.get("reach_end", True) for name in ("audio", "video")] == [ends, ends]


def test_a_generator_is_loaded_from_its_source() -> None:
    backbone = load_backbone(Sources(generate_image=f"{MINIATURE}sd"))
    assert set(backbone.generators) == {"image"}
    assert backbone.ports["generate.image"].source == f"{MINIATURE}sd"
    (picture,) = backbone.generator("image").generate(
        backbone.generator("image").encode_text(["a large red circle"]), steps=1, seed=0
    )
    assert picture.mode == "RGB"
