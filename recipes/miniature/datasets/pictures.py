"""Writes the data set of the miniature's pictures.

`python -m inlay.recipes.miniature.datasets.pictures --output DIR --seed 0` writes

    DIR/images/*.png       (some .jpg and .webp)
    DIR/align.json         pictures with captions, in LLaVA's JSON format
    DIR/train.json         pictures with dialogues of questions and instructions
    DIR/align_test.json    held-out pictures with captions
    DIR/test.json          held-out pictures, one question each, with ten human-like answers
    DIR/README.md          a list of these files

In addition to LLaVA's keys an item has `types`, the kind of each reply, and `description`, the picture as text.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from inlay.recipes.miniature.world.descriptions import INSTRUCTIONS, caption, describe, instruction
from inlay.recipes.miniature.world.digits import digit_caption, digit_question, draw_digit, load_digits
from inlay.recipes.miniature.world.drawing import draw_scene
from inlay.recipes.miniature.world.questions import KINDS, Question, human_answers, questions, yes_no
from inlay.recipes.miniature.world.scenes import Scene, Split, sample_scene

if TYPE_CHECKING:
    from PIL import Image

TURNS = 5  # replies for each training picture
_PIXELS = (40, 44, 48, 48, 48, 56, 64)
_FORMATS = ("png",) * 8 + ("jpg", "webp")

_README = """# Miniature world, seed {seed}

Made by `python -m inlay.recipes.miniature.datasets.pictures --seed {seed}`: {scenes} training scenes,
{test_scenes} held-out scenes, {digits} training digits and {test_digits} held-out digits (UCI optdigits, CC BY 4.0,
through scikit-learn).

| file | content |
|---|---|
| `images/` | pictures of 40 to 64 pixels a side, PNG and some JPEG and WebP |
| `align.json` | one picture, one caption (LLaVA JSON) |
| `train.json` | one picture, a dialogue of {turns} questions or instructions (LLaVA JSON) |
| `align_test.json` | held-out pictures with captions |
| `test.json` | held-out pictures with one question each; `answers` holds ten human-like answers |

Keys beside LLaVA's `id`, `image`, `conversations`: `types`, the kind of each reply; `description`, the picture as text.
Held-out scenes are combinations of objects that no training scene has.
"""


@dataclass(frozen=True, slots=True)
class _Shown:
    """A picture with its texts."""

    id: str
    image: str
    description: str
    caption: str
    asked: tuple[Question, ...] = field(default=())


def _item(shown: _Shown, turns: list[tuple[str, str, str]], **extra: Any) -> dict[str, Any]:
    conversations = []
    for number, (_, text, reply) in enumerate(turns):
        marker = "<image>\n" if number == 0 else ""
        conversations += [{"from": "human", "value": marker + text}, {"from": "gpt", "value": reply}]
    types = [kind for kind, _, _ in turns]
    return {
        "id": shown.id,
        "image": shown.image,
        "conversations": conversations,
        "types": types,
        "description": shown.description,
        **extra,
    }


def _save(image: Image.Image, images: Path, name: str, rng: Random) -> str:
    file = f"{name}.{rng.choice(_FORMATS)}"
    options: dict[str, Any] = {".jpg": {"quality": 95, "subsampling": 0}, ".webp": {"quality": 95}}.get(file[-4:], {})
    image.save(images / file, **options)
    return file


def _scene(scene: Scene, name: str, images: Path, rng: Random) -> _Shown:
    file = _save(draw_scene(scene, rng, rng.choice(_PIXELS)), images, name, rng)
    asked = questions(scene, rng)
    rng.shuffle(asked)
    return _Shown(name, file, describe(scene, rng), caption(scene, rng), tuple(asked))


def _digit(index: int, split: Split, name: str, images: Path, rng: Random) -> _Shown:
    digit = load_digits(split)[index]
    file = _save(draw_digit(digit, rng.choice(_PIXELS)), images, name, rng)
    said = digit_caption(digit.value)
    return _Shown(name, file, said, said, (digit_question(digit.value, rng),))


def _dialogue(shown: _Shown, scene: Scene | None, rng: Random) -> list[tuple[str, str, str]]:
    turns = [(question.kind, question.text, question.answer) for question in shown.asked]
    if scene is None:
        turns.append(("instruction", rng.choice(INSTRUCTIONS["caption"]), shown.caption))
    elif rng.random() < 0.5:
        turns[TURNS - 1 :] = [("instruction", *instruction(scene, rng))]
    rng.shuffle(turns)
    return turns[:TURNS]


def _test_question(scene: Scene, kind: str, number: int, rng: Random) -> Question:
    """A question of a kind, or of a random kind if the scene allows none; yes and no in turn."""
    if kind == "yesno":
        return yes_no(scene, rng, truth=number % 2 == 0)
    asked = {question.kind: question for question in questions(scene, rng) if question.kind != "yesno"}
    return asked.get(kind) or asked[rng.choice(sorted(asked))]


def build(
    output: Path,
    seed: int = 0,
    *,
    scenes: int = 3000,
    test_scenes: int = 700,
    digits: int = 700,
    test_digits: int = 100,
) -> None:
    """Write a data set; the same seed and sizes write the same bytes.

    Args:
        output: The folder, created if it does not exist.
        seed: The seed of scenes, jitter, wordings and formats.
        scenes: Number of training scenes.
        test_scenes: Number of held-out scenes, one question each, the kinds in turn.
        digits: Number of training digits, at most 1437.
        test_digits: Number of held-out digits, at most 360.
    """
    rng = Random(seed)
    images = output / "images"
    images.mkdir(parents=True, exist_ok=True)
    files: dict[str, list[dict[str, Any]]] = {"align": [], "train": [], "align_test": [], "test": []}

    def add(shown: _Shown, scene: Scene | None, split: Split) -> None:
        described = [("caption", rng.choice(INSTRUCTIONS["caption"]), shown.caption)]
        files["align" if split == "train" else "align_test"].append(_item(shown, described))
        if split == "train":
            files["train"].append(_item(shown, _dialogue(shown, scene, rng)))
            return
        number = len(files["test"])
        asked = shown.asked[0] if scene is None else _test_question(scene, KINDS[number % 7], number // 7, rng)
        answers = list(human_answers(asked, rng))
        files["test"].append(_item(shown, [(asked.kind, asked.text, asked.answer)], answers=answers))

    splits: tuple[tuple[Split, int, int], ...] = (("train", scenes, digits), ("held_out", test_scenes, test_digits))
    for split, of_scenes, of_digits in splits:
        for number in range(of_scenes):
            scene = sample_scene(rng, split)
            add(_scene(scene, f"{split}_scene_{number:05d}", images, rng), scene, split)
        for number in range(of_digits):
            add(_digit(number, split, f"{split}_digit_{number:05d}", images, rng), None, split)
    for name, items in files.items():
        if not name.endswith("test"):
            rng.shuffle(items)
        (output / f"{name}.json").write_text(json.dumps(items, indent=1) + "\n", encoding="utf-8")
    sizes = {"scenes": scenes, "test_scenes": test_scenes, "digits": digits, "test_digits": test_digits}
    (output / "README.md").write_text(_README.format(seed=seed, turns=TURNS, **sizes), encoding="utf-8")


def main() -> None:
    """Read the command line and build."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scenes", type=int, default=3000)
    parser.add_argument("--test-scenes", type=int, default=700)
    parser.add_argument("--digits", type=int, default=700)
    parser.add_argument("--test-digits", type=int, default=100)
    options = vars(parser.parse_args())
    build(options.pop("output"), options.pop("seed"), **options)


if __name__ == "__main__":
    main()
