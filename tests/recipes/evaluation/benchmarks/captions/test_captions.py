"""The captioning benchmarks: the same two items in five official formats, with CIDEr and BLEU by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from benchmark_files import CAPTIONS, answered, opened

NAMES = {
    "coco": ("1", "2"),
    "nocaps": ("1", "2"),
    "audiocaps": ("vid1_30", "vid2_30"),
    "clotho": ("Rain 1.wav", "Rain 2.wav"),
    "msrvtt": ("video7011", "video7012"),
}
# "a red circle" against "a red circle": n-grams of 1 to 3 words agree, there are none of 4.
SAME = 3 / 4
# Against "a red disc on a table": "a" is in both references sets, so it weighs nothing; one of 2 x 4 words and one of
# 2 x 5 pairs agree; 2 and 5 pairs make the length penalty.
OTHER = (1 / math.sqrt(2 * 4) + 1 / math.sqrt(2 * 5)) / 4 * math.exp(-((2 - 5) ** 2) / (2 * 6**2))


@pytest.mark.parametrize("name", NAMES)
def test_cider_and_bleu(tmp_path: Path, name: str) -> None:
    benchmark, _, items = opened(name, tmp_path / name)
    first, second = NAMES[name]
    figures = answered(benchmark, items, {first: "A red circle.", second: ""}).figures
    share = 2 / 5 if name == "clotho" else 1 / 2  # of the references that equal the caption
    assert figures["cider"] == pytest.approx(100 * 10 * (share * SAME + (1 - share) * OTHER) / 2)
    # Three words of three are right; the references have six words, the captions three.
    assert figures["bleu_1"] == pytest.approx(100 * math.exp(1 - 6 / 3))


@pytest.mark.parametrize("name", NAMES)
def test_the_items_have_the_captions_and_the_medium(tmp_path: Path, name: str) -> None:
    _, _, items = opened(name, tmp_path / name)
    assert tuple(item.name for item in items) == NAMES[name]
    assert [set(item.gold) for item in items] == [set(own) for own in CAPTIONS.values()]
    modality = {"audiocaps": "audio", "clotho": "audio", "msrvtt": "video"}.get(name, "image")
    assert {item.prompt[0].content[0].modality for item in items} == {modality}


def test_cocos_own_file_has_the_same_items(tmp_path: Path) -> None:
    karpathy = opened("coco", tmp_path / "a")[2]
    root = tmp_path / "b"
    (tmp_path / "a").rename(root)
    (root / "dataset_coco.json").unlink()
    images = [{"id": number, "file_name": f"COCO_val2014_{number:012d}.jpg"} for number in CAPTIONS]
    notes = [{"id": 1, "image_id": number, "caption": text} for number, own in CAPTIONS.items() for text in own]
    (root / "captions_val2014.json").write_text(json.dumps({"images": images, "annotations": notes}))
    assert [(item.name, item.gold) for item in opened("coco", root)[2]] == [(item.name, item.gold) for item in karpathy]


@pytest.mark.parametrize("name", ["coco", "nocaps", "chair"])
def test_the_results_file_is_cocos(tmp_path: Path, name: str) -> None:
    benchmark, files, items = opened(name, tmp_path / name)
    benchmark.results.write(tmp_path / "out.json", items, ["a", "b"], files)
    rows = json.loads((tmp_path / "out.json").read_text())
    assert rows == [{"image_id": 1, "caption": "a"}, {"image_id": 2, "caption": "b"}]


def test_nocaps_has_a_score_for_each_domain(tmp_path: Path) -> None:
    benchmark, _, items = opened("nocaps", tmp_path / "nocaps")
    figures = answered(benchmark, items, {"1": "a red circle", "2": "a blue ring"}).figures
    # A set of one picture has no informative words.
    assert (figures["in-domain cider"], figures["out-domain cider"]) == (0, 0)


def test_nocaps_without_references_has_no_gold(tmp_path: Path) -> None:
    opened("nocaps", tmp_path / "nocaps")
    path = tmp_path / "nocaps" / "nocaps_val_4500_captions.json"
    document = json.loads(path.read_text())
    path.unlink()
    (path.parent / "nocaps_test_image_info.json").write_text(json.dumps({"images": document["images"]}))
    assert [item.gold for item in opened("nocaps", tmp_path / "nocaps")[2]] == [None, None]
