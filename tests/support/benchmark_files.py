"""Small files in the official formats of the benchmarks, with pictures, sounds and clips."""

from __future__ import annotations

import base64
import csv
import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from PIL import Image
from senses_models import write_wav

from inlay.recipes.evaluation.benchmarks.benchmark import Benchmark, Scored
from inlay.recipes.evaluation.benchmarks.item import Item, limited
from inlay.recipes.evaluation.benchmarks.official_files import OfficialFiles
from inlay.recipes.evaluation.benchmarks.registry import benchmark_named, files_of

__all__ = ["WRITERS", "answered", "opened", "sheet_of", "write_official"]

COLOURS = ("red", "green", "blue", "yellow", "white", "black")
TEN = ["red"] * 3 + ["dark red"] * 7


def write_official(name: str, root: Path) -> Path:
    """Write the files of one benchmark below a folder, which is returned."""
    root.mkdir(parents=True, exist_ok=True)
    WRITERS[name](root)
    return root


def opened(name: str, root: Path, instruction: str | None = None) -> tuple[Benchmark, OfficialFiles, list[Item]]:
    """A benchmark with its files and items; the files are written if the folder does not exist."""
    if not root.exists():
        write_official(name, root)
    benchmark, files = benchmark_named(name), files_of(name, root)
    items = benchmark.read(files, benchmark.instruction if instruction is None else instruction)
    files.check_media(items)
    return benchmark, files, limited(items, None)


def answered(benchmark: Benchmark, items: Sequence[Item], said: Mapping[str, str]) -> Scored:
    """The scores of answers by the names of the items."""
    assert {item.name for item in items} == said.keys()
    return benchmark.score(items, [said[item.name] for item in items])


def sheet_of(path: Path) -> list[list[str]]:
    """The cells of a workbook."""
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        for name in archive.namelist():
            ElementTree.fromstring(archive.read(name))  # noqa: S314 - our own file
        sheet = ElementTree.fromstring(archive.read("xl/worksheets/sheet1.xml"))  # noqa: S314
    space = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
    return [["".join(cell.itertext()) for cell in row] for row in sheet.iter(f"{space}row")]


def picture(path: Path, number: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 24), COLOURS[number % len(COLOURS)]).save(path, "PNG" if path.suffix == ".png" else "JPEG")


def encoded(number: int) -> str:
    held = io.BytesIO()
    Image.new("RGB", (32, 24), COLOURS[number]).save(held, "PNG")
    return base64.b64encode(held.getvalue()).decode()


def _json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def _lines(path: Path, rows: Sequence[Any]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _csv(path: Path, rows: Sequence[Sequence[Any]], delimiter: str = ",") -> None:
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)


def _pope(root: Path) -> None:
    for number in (1, 2):
        picture(root / "val2014" / f"COCO_val2014_{number:012d}.jpg", number)
    for part in ("random", "popular", "adversarial"):
        rows = [
            {
                "question_id": place,
                "image": f"COCO_val2014_{image:012d}.jpg",
                "text": f"Is there a {thing} in the image?",
            }
            | {"label": label}
            for place, (image, thing, label) in enumerate(
                [(1, "dog", "yes"), (1, "cat", "no"), (2, "car", "yes"), (2, "bus", "no")], start=1
            )
        ]
        _lines(root / f"coco_pope_{part}.json", rows)


def _vqav2(root: Path) -> None:
    for number in (1, 2):
        picture(root / "val2014" / f"COCO_val2014_{number:012d}.jpg", number)
    asked = [(10, 1, "What color is it?", "other"), (11, 1, "Is it red?", "yes/no"), (20, 2, "How many?", "number")]
    questions = [{"image_id": image, "question": text, "question_id": name} for name, image, text, _ in asked]
    _json(root / "v2_OpenEnded_mscoco_val2014_questions.json", {"questions": questions, "data_subtype": "val2014"})
    answers = {10: TEN, 11: ["yes"] * 10, 20: ["2"] * 9 + ["3"]}
    notes = [
        {"question_id": name, "image_id": image, "answer_type": kind, "question_type": "what"}
        | {"multiple_choice_answer": answers[name][-1]}
        | {
            "answers": [
                {"answer": text, "answer_id": n, "answer_confidence": "yes"} for n, text in enumerate(answers[name])
            ]
        }
        for name, image, _, kind in asked
    ]
    _json(root / "v2_mscoco_val2014_annotations.json", {"annotations": notes})


def _gqa(root: Path) -> None:
    for number in (1, 2):
        picture(root / "images" / f"n{number}.jpg", number)
    rows = {
        "201": ("n1", "Is it red?", "yes", "verify", "attr"),
        "202": ("n1", "What is it?", "dog", "query", "obj"),
        "203": ("n2", "Is it a cat or a dog?", "cat", "choose", "obj"),
    }
    _json(
        root / "testdev_balanced_questions.json",
        {
            name: {"imageId": image, "question": text, "answer": answer, "fullAnswer": answer}
            | {"types": {"structural": shape, "semantic": kind, "detailed": "x"}}
            for name, (image, text, answer, shape, kind) in rows.items()
        },
    )


def _textvqa(root: Path) -> None:
    for number in (1, 2):
        picture(root / "train_images" / f"img{number}.jpg", number)
    data = [
        {
            "question_id": 34602,
            "image_id": "img1",
            "question": "what is the brand?",
            "answers": ["nous les gosses"] * 10,
        },
        {"question_id": 34603, "image_id": "img2", "question": "what team?", "answers": ["men's"] * 3 + ["club"] * 7},
    ]
    _json(root / "TextVQA_0.5.1_val.json", {"data": data})


def _scienceqa(root: Path) -> None:
    for name in (3, 4):
        picture(root / "test" / str(name) / "image.png", name)
    common = {"task": "closed choice", "lecture": "", "solution": "", "topic": "", "category": "", "skill": ""}
    problems = {
        "3": {"question": "Which?", "choices": ["a", "b"], "answer": 1, "hint": "", "image": "image.png"}
        | {"grade": "grade2", "subject": "natural science", "split": "test"},
        "4": {"question": "What?", "choices": ["x", "y", "z"], "answer": 2, "hint": "Look.", "image": "image.png"}
        | {"grade": "grade8", "subject": "social science", "split": "test"},
        "5": {"question": "Why?", "choices": ["x", "y"], "answer": 0, "hint": "", "image": None}
        | {"grade": "grade7", "subject": "language science", "split": "test"},
        "6": {"question": "Not asked", "choices": ["x", "y"], "answer": 0, "hint": "", "image": None, "split": "train"},
    }
    _json(root / "problems.json", {name: common | row for name, row in problems.items()})
    _json(root / "pid_splits.json", {"train": ["6"], "val": [], "test": ["3", "4", "5"], "minitest": []})


MME = (
    *("existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark", "artwork", "OCR"),
    *("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning"),
)


def _mme(root: Path) -> None:
    for number, category in enumerate(MME):
        folder = root / "MME_Benchmark_release_version" / category
        nested = category in ("posters", "celebrity", "scene", "landmark", "artwork")
        images, texts = (folder / "images", folder / "questions_answers_YN") if nested else (folder, folder)
        picture(images / "0001.jpg", number)
        texts.mkdir(parents=True, exist_ok=True)
        tail = "Please answer yes or no."
        (texts / "0001.txt").write_text(f"Is there a dog? {tail}\tYes\nIs there a cat? {tail}\tNo\n")


def _mmbench(root: Path) -> None:
    header = ["index", "question", "hint", "A", "B", "C", "D", "answer", "category", "image", "source", "l2-category"]
    header += ["comment", "split"]
    rows = [
        [241, "Which color?", "nan", "red", "blue", "green", "", "B", "color", encoded(1), "s", "fine", "", "dev"],
        [
            252,
            "Which shape?",
            "Look closely.",
            "ring",
            "disc",
            "",
            "",
            "A",
            "shape",
            encoded(2),
            "s",
            "fine",
            "",
            "dev",
        ],
    ]
    _csv(root / "mmbench_dev_20230712.tsv", [header, *rows], "\t")


def _seed(root: Path) -> None:
    picture(root / "SEED-Bench-image" / "1454426_2591111986", 1)
    picture(root / "SEED-Bench-image" / "1", 2)
    options = {"choice_a": "One", "choice_b": "Two", "choice_c": "Three", "choice_d": "Four"}
    questions = [
        {"question_id": "101669", "question_type_id": 5, "data_type": "image", "data_id": "1454426_2591111986"}
        | {"question": "How many?", "answer": "A", **options},
        {"question_id": "101670", "question_type_id": 1, "data_type": "image", "data_id": "1"}
        | {"question": "How many more?", "answer": "C", **options},
        {"question_id": "v1", "question_type_id": 10, "data_type": "video", "data_id": "v.webm", "segment": [0, 1]}
        | {"question": "What happens?", "answer": "D", **options},
    ]
    kinds = {"Scene Understanding": 1, "Instances Counting": 5, "Action Recognition": 10}
    _json(root / "SEED-Bench.json", {"questions": questions, "question_type": kinds})


CAPTIONS = {1: ["A red disc on a table.", "a red circle"], 2: ["A blue ring.", "a ring that is blue"]}


def _coco(root: Path) -> None:
    images = []
    for number, own in CAPTIONS.items():
        name = f"COCO_val2014_{number:012d}.jpg"
        picture(root / "val2014" / name, number)
        sentences = [{"raw": text, "tokens": text.lower().rstrip(".").split()} for text in own]
        images.append(
            {"filepath": "val2014", "filename": name, "split": "test", "cocoid": number, "sentences": sentences}
        )
    _json(
        root / "dataset_coco.json",
        {"images": [*images, images[0] | {"split": "restval", "cocoid": 9}], "dataset": "coco"},
    )


def _nocaps(root: Path) -> None:
    for number in CAPTIONS:
        picture(root / "images" / f"{number}.jpg", number)
    images = [
        {"id": number, "file_name": f"{number}.jpg", "open_images_id": str(number), "domain": domain}
        for number, domain in ((1, "in-domain"), (2, "out-domain"))
    ]
    notes = [
        {"id": 10 * n + k, "image_id": n, "caption": text} for n, own in CAPTIONS.items() for k, text in enumerate(own)
    ]
    _json(root / "nocaps_val_4500_captions.json", {"images": images, "annotations": notes, "info": {}, "licenses": []})


def _audiocaps(root: Path) -> None:
    rows: list[list[Any]] = [["audiocap_id", "youtube_id", "start_time", "caption"]]
    for number, own in CAPTIONS.items():
        (root / "test").mkdir(exist_ok=True)
        write_wav(root / "test" / f"vid{number}.wav", 200.0 * number)
        rows += [[100 * number + k, f"vid{number}", 30, text] for k, text in enumerate(own)]
    _csv(root / "test.csv", rows)


def _clotho(root: Path) -> None:
    rows = [["file_name", *(f"caption_{n}" for n in range(1, 6))]]
    (root / "evaluation").mkdir(exist_ok=True)
    for number, own in CAPTIONS.items():
        write_wav(root / "evaluation" / f"Rain {number}.wav", 200.0 * number)
        rows.append([f"Rain {number}.wav", *own, *own, own[0]])
    _csv(root / "clotho_captions_evaluation.csv", rows)


def _msrvtt(root: Path) -> None:
    videos = [{"video_id": "video0", "split": "train", "category": 1, "start time": 0.0, "end time": 1.0}]
    sentences = []
    (root / "TestVideo").mkdir(exist_ok=True)
    for number, own in CAPTIONS.items():
        name = f"video{7010 + number}"
        frames = [Image.new("RGB", (16, 16), COLOURS[number]), Image.new("RGB", (16, 16), COLOURS[number + 1])]
        frames[0].save(root / "TestVideo" / f"{name}.gif", save_all=True, append_images=frames[1:], duration=100)
        videos.append({"video_id": name, "split": "test", "category": 1, "start time": 0.0, "end time": 1.0})
        sentences += [{"sen_id": 10 * number + k, "video_id": name, "caption": text} for k, text in enumerate(own)]
    _json(root / "test_videodatainfo.json", {"info": {}, "videos": videos, "sentences": sentences})


def _chair(root: Path) -> None:
    images = []
    for number in (1, 2):
        name = f"COCO_val2014_{number:012d}.jpg"
        picture(root / "val2014" / name, number)
        images.append({"id": number, "file_name": name})
    categories = [{"id": 18, "name": "dog"}, {"id": 3, "name": "car"}]
    notes = [{"id": 1, "image_id": 1, "category_id": 18}, {"id": 2, "image_id": 2, "category_id": 3}]
    _json(
        root / "annotations/instances_val2014.json", {"images": images, "annotations": notes, "categories": categories}
    )
    written = [
        {"id": 1, "image_id": 1, "caption": "A puppy on a bench."},
        {"id": 2, "image_id": 2, "caption": "A car."},
    ]
    _json(root / "annotations/captions_val2014.json", {"images": images, "annotations": written})
    (root / "synonyms.txt").write_text("dog, puppy, hound\ncar, automobile\nbench\ncat, kitten\n")


def _amber(root: Path) -> None:
    for number in (1, 2):
        picture(root / "image" / f"AMBER_{number}.jpg", number)
    queries = [
        {"id": 1, "image": "AMBER_1.jpg", "query": "Describe this image."},
        {"id": 2, "image": "AMBER_2.jpg", "query": "Describe this image."},
        {"id": 3, "image": "AMBER_1.jpg", "query": "Is the sky sunny in this image?"},
        {"id": 4, "image": "AMBER_1.jpg", "query": "Is there a cloud in this image?"},
        {"id": 5, "image": "AMBER_2.jpg", "query": "Is there a direct contact between the man and the tree?"},
    ]
    notes = [
        {"id": 1, "type": "generative", "truth": ["sky", "beach"], "hallu": ["boat"]},
        {"id": 2, "type": "generative", "truth": ["tree"], "hallu": ["bird", "nest"]},
        {"id": 3, "type": "discriminative-attribute-state", "truth": "yes"},
        {"id": 4, "type": "discriminative-hallucination", "truth": "no"},
        {"id": 5, "type": "relation", "truth": "no"},
    ]
    relation = {"sky": ["cloud"], "beach": ["sand"], "boat": ["ship"], "tree": ["branch"], "bird": [], "nest": []}
    _json(root / "data/query/query_all.json", queries)
    _json(root / "data/annotations.json", notes)
    _json(root / "data/relation.json", relation | {"car": ["vehicle"]})
    (root / "data/safe_words.txt").write_text("cloud\n")


WRITERS: dict[str, Callable[[Path], None]] = {
    "pope": _pope,
    "vqav2": _vqav2,
    "gqa": _gqa,
    "textvqa": _textvqa,
    "mme": _mme,
    "amber_exact": _amber,
    "scienceqa": _scienceqa,
    "mmbench": _mmbench,
    "seed": _seed,
    "coco": _coco,
    "nocaps": _nocaps,
    "audiocaps": _audiocaps,
    "clotho": _clotho,
    "msrvtt": _msrvtt,
    "chair": _chair,
}
