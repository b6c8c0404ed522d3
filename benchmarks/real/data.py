"""Questions about handwritten digits and crops of photographs, in LLaVA's format, each in one of several wordings.

Held-out digits do not occur in training; held-out crops are at other random positions of the same photographs, and
overlap with training crops. All answers of a kind are equally frequent, so that without the picture one answer in ten,
or in eight, is right.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from PIL import Image
from sklearn.datasets import load_digits

from benchmarks.real.packages import PHOTOGRAPHS, file_of

__all__ = ["Part", "write_data"]

Part = Literal["train", "test"]

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SIZES = {"train": {"digit": 60, "photograph": 20}, "test": {"digit": 15, "photograph": 5}}
"""Number of pictures for each answer."""
QUESTIONS = {
    "digit": (
        "Which digit is it?",
        "What number is written here?",
        "Read the handwritten digit.",
        "Somebody wrote one digit; name it.",
    ),
    "photograph": (
        "What does the photograph show?",
        "What is in this picture?",
        "Name the subject of the photograph.",
        "Describe the picture in one word.",
    ),
}
SIDE = 96
"""Side of a picture in pixels."""


def write_data(folder: Path, packages: Path, seed: int = 0) -> None:
    """Write ``train.json``, ``test.json`` and ``images/``.

    Args:
        folder: the target; it is created if necessary.
        packages: the folder in which the packages with photographs are installed.
        seed: the seed of the choice of digits, crops and wordings.
    """
    draw = random.Random(seed)
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    rows: dict[Part, list[dict[str, Any]]] = {"train": [], "test": []}
    for part, kind, answer, picture in _pictures(packages, draw):
        name = f"{part}_{kind}_{len(rows[part]):04d}.png"
        picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(images / name)
        question = draw.choice(QUESTIONS[kind])
        turns = [{"from": "human", "value": f"<image>\n{question}"}, {"from": "gpt", "value": answer}]
        rows[part].append({"id": name[:-4], "image": name, "conversations": turns, "types": [kind]})
    for part, items in rows.items():
        draw.shuffle(items)
        (folder / f"{part}.json").write_text(json.dumps(items, indent=1), encoding="utf-8")


def _pictures(packages: Path, draw: random.Random) -> Iterator[tuple[Part, str, str, Image.Image]]:
    """Part, kind, answer and picture."""
    loaded: Any = load_digits()
    parts: tuple[Part, ...] = ("train", "test")
    for number, answer in enumerate(DIGITS):
        chosen = [index for index, target in enumerate(loaded.target) if target == number]
        draw.shuffle(chosen)
        for part in parts:
            for _ in range(SIZES[part]["digit"]):
                values = loaded.images[chosen.pop()] * 15.9  # 8 x 8 values from 0 to 16
                yield part, "digit", answer, Image.fromarray(values.astype("uint8")).convert("RGB")
    for answer, (package, name) in PHOTOGRAPHS.items():
        with Image.open(file_of(package, name, packages)) as opened:
            photograph = opened.convert("RGB")
        for part in parts:
            for _ in range(SIZES[part]["photograph"]):
                yield part, "photograph", answer, _crop(photograph, draw)


def _crop(photograph: Image.Image, draw: random.Random) -> Image.Image:
    """A square crop of 40 to 80 % of the shorter side, at a random position."""
    side = int(min(photograph.size) * draw.uniform(0.4, 0.8))
    left, top = (draw.randint(0, length - side) for length in photograph.size)
    return photograph.crop((left, top, left + side, top + side))
