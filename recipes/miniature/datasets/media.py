"""Writes the any-to-any data set of the miniature.

`python -m inlay.recipes.miniature.datasets.media --output DIR --seed 0` writes

    DIR/media/                pictures (.png), sounds (.wav), clips (.gif)
    DIR/pairs.json            NExT-GPT's captioned media: `caption`, `image_name` | `audio_name` | `video_name`
    DIR/questions.json        its comprehension data: `input_image` | ..., `conversations` of questions and answers
    DIR/t2m.json              its instructions to generate a medium: `input_modality`, `output_modality`, `caption`
    DIR/mosit.json            its dialogues in which the modality changes, in the same fields
    DIR/modaverse.json        ModaVerse's instructions: `instruction`, `media`, `meta_response`
    DIR/*_test.json           the same, held out
    DIR/README.md             a list of these files

In addition an item has `types`, the kind of each reply, and a test question has `answers`, ten human-like ones.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from inlay.recipes.miniature.media.captions import caption_of
from inlay.recipes.miniature.media.dialogues import Turn, change, description, dialogue, request
from inlay.recipes.miniature.media.files import write_medium
from inlay.recipes.miniature.media.questions import ask_of, attributes_of, questions_of
from inlay.recipes.miniature.media.rendering import MODALITIES, render_medium
from inlay.recipes.miniature.media.specs import MediumSpec, sample_any, sample_kind
from inlay.recipes.miniature.world.questions import Question, human_answers

if TYPE_CHECKING:
    from inlay.recipes.miniature.world.scenes import Split

ASKED = 5  # questions about one medium in training
_README = """# The miniature's sounds, drawings and clips, seed {seed}

Made by `python -m inlay.recipes.miniature.datasets.media --seed {seed}`: {media} media of each kind with captions and
questions, {instructions} instructions of each kind, {dialogues} dialogues; held out: {test_media}, {test_instructions}
and {test_dialogues}.

| file | content |
|---|---|
| `media/` | pictures of 32 pixels (PNG), sounds of 1.536 s at 16 kHz (WAV), clips of 4 frames (GIF) |
| `pairs.json` | one medium, one caption (NExT-GPT's pairs) |
| `questions.json` | one medium, {asked} questions or fewer (NExT-GPT's comprehension data) |
| `t2m.json` | an instruction to generate a medium (NExT-GPT's T2M) |
| `mosit.json` | dialogues in which the modality changes (NExT-GPT's MosIT, processed) |
| `modaverse.json` | one instruction, one meta response (ModaVerse) |
| `*_test.json` | the same, held out; `questions_test.json` asks one question each, with ten human-like `answers` |

In `mosit_test.json` the first medium of a dialogue is held out.
"""


@dataclass
class _Writer:
    """Names and writes media, and collects the items of the files."""

    folder: Path
    rng: Random
    files: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    count: int = 0

    def write(self, value: MediumSpec, split: Split) -> str:
        """Render a specification into a new file; returns its name."""
        name = f"{split}_{MODALITIES[type(value)]}_{self.count:05d}"
        self.count += 1
        return write_medium(render_medium(value, self.rng), self.folder, name)

    def add(self, name: str, split: Split, item: dict[str, Any]) -> None:
        """Add an item to one of the files."""
        file = name if split == "train" else f"{name}_test"
        items = self.files.setdefault(file, [])
        items.append({"id": f"{file}_{len(items):05d}", **item})


def _questions(value: MediumSpec, file: str, asked: list[Question], **extra: Any) -> dict[str, Any]:
    modality = MODALITIES[type(value)]
    conversations = []
    for number, one in enumerate(asked):
        marker = f"<{modality}>\n" if number == 0 else ""
        conversations += [{"from": "human", "value": marker + one.text}, {"from": "gpt", "value": one.answer}]
    types = [one.kind for one in asked]
    item = {f"input_{modality}": file, "conversations": conversations, "types": types}
    return {**item, "description": caption_of(value), **extra}


def _conversation(turns: list[Turn], shown: dict[str, list[str]]) -> dict[str, Any]:
    """Turns in NExT-GPT's fields; `shown` names the files by modality."""
    conversations: list[dict[str, Any]] = []
    for turn in turns:
        seen = "text" if turn.shown is None else MODALITIES[type(turn.shown)]
        conversations.append({"from": "human", "value": turn.asked, "input_modality": seen})
        reply = {"from": "gpt", "value": turn.said, "caption": "", "output_modality": "text"}
        if turn.generated is not None:
            reply |= {"caption": caption_of(turn.generated), "output_modality": MODALITIES[type(turn.generated)]}
        conversations.append(reply)
    files = {f"input_{modality}": names for modality, names in shown.items()}
    return {**files, "conversations": conversations, "types": [_type_of(turn) for turn in turns]}


def _type_of(turn: Turn) -> str:
    return "text" if turn.generated is None else MODALITIES[type(turn.generated)]


def _shown_files(writer: _Writer, turns: list[Turn], split: Split) -> dict[str, list[str]]:
    files: dict[str, list[str]] = {}
    for turn in turns:
        if turn.shown is not None:
            files.setdefault(MODALITIES[type(turn.shown)], []).append(writer.write(turn.shown, split))
    return files


def _meta(turn: Turn, shown: dict[str, list[str]]) -> dict[str, Any]:
    """One turn in ModaVerse's fields."""
    prompt = turn.said if turn.generated is None else caption_of(turn.generated)
    media = {modality: shown.get(modality, ["none"])[0] for modality in ("image", "audio", "video")}
    response = {"modality": _type_of(turn), "prompt": prompt}
    return {"instruction": turn.asked, "media": media, "meta_response": response, "types": [_type_of(turn)]}


def _instruction(rng: Random, split: Split) -> Turn:
    """A single turn: a request, a change, a description or a question."""
    value = sample_any(rng, split)
    which = rng.random()
    if which < 0.5:
        return request(value, rng)
    if which < 0.75:
        turn = change(value, rng, split)
        return Turn(turn.asked, turn.said, turn.generated, value)
    if which < 0.85:
        return description(value, rng)
    asked = rng.choice(questions_of(value, rng))
    return Turn(asked.text, asked.answer, shown=value)


def _lesson(value: MediumSpec, rng: Random) -> list[Question]:
    """The questions about a medium in training: attributes, a true claim and a false one, in random order.

    To judge a claim, a model must perceive and compare; with only one claim among four questions it learns that late.
    """
    kinds = [*attributes_of(value), "yes", "no"]
    rng.shuffle(kinds)
    return [ask_of(value, kind, rng) for kind in kinds[:ASKED]]


def _add_media(writer: _Writer, split: Split, number: int) -> None:
    rng = writer.rng
    for kind in MODALITIES:
        for index in range(number):
            value = sample_kind(kind, rng, split)
            file = writer.write(value, split)
            pair = {"caption": caption_of(value), f"{MODALITIES[kind]}_name": file}
            writer.add("pairs", split, pair)
            if split == "train":
                writer.add("questions", split, _questions(value, file, _lesson(value, rng)))
                continue
            kinds = [*attributes_of(value), ("yes", "no")[index // 5 % 2]]
            asked = ask_of(value, kinds[index % len(kinds)], rng)
            answers = list(human_answers(asked, rng))
            writer.add("questions", split, _questions(value, file, [asked], answers=answers))


def _add_instructions(writer: _Writer, split: Split, number: int, dialogues: int) -> None:
    rng = writer.rng
    for kind in MODALITIES:
        for _ in range(number):
            value = sample_kind(kind, rng, split)
            writer.add("t2m", split, _conversation([request(value, rng)], {}))
    for _ in range(dialogues):
        turns = dialogue(rng, split)
        writer.add("mosit", split, _conversation(turns, _shown_files(writer, turns, split)))
    for _ in range(3 * number):
        turn = _instruction(rng, split)
        writer.add("modaverse", split, _meta(turn, _shown_files(writer, [turn], split)))


def build_media(
    output: Path,
    seed: int = 0,
    *,
    media: int = 400,
    instructions: int = 400,
    dialogues: int = 1000,
    test_media: int = 160,
    test_instructions: int = 40,
    test_dialogues: int = 50,
) -> None:
    """Write the data; the same seed and sizes write the same bytes.

    Args:
        output: The folder, created if it does not exist.
        seed: The seed of all random choices.
        media: Number of media of each modality, with captions and questions.
        instructions: Number of instructions for each modality; ModaVerse's file has three times as many.
        dialogues: Number of dialogues in which the modality changes.
        test_media: Number of held-out media of each modality, one question each.
        test_instructions: Number of held-out instructions for each modality.
        test_dialogues: Number of dialogues whose first medium is held out.
    """
    (output / "media").mkdir(parents=True, exist_ok=True)
    writer = _Writer(output / "media", Random(seed))
    _add_media(writer, "train", media)
    _add_instructions(writer, "train", instructions, dialogues)
    _add_media(writer, "held_out", test_media)
    _add_instructions(writer, "held_out", test_instructions, test_dialogues)
    for name, items in writer.files.items():
        if not name.endswith("test"):
            writer.rng.shuffle(items)
        (output / f"{name}.json").write_text(json.dumps(items, indent=1) + "\n", encoding="utf-8")
    sizes = {"media": media, "instructions": instructions, "dialogues": dialogues, "test_media": test_media}
    sizes |= {"test_instructions": test_instructions, "test_dialogues": test_dialogues}
    text = _README.format(seed=seed, asked=ASKED, **sizes)
    (output / "README.md").write_text(text, encoding="utf-8")


def main() -> None:
    """Read the command line and build."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--media", type=int, default=400)
    parser.add_argument("--instructions", type=int, default=400)
    parser.add_argument("--dialogues", type=int, default=1000)
    parser.add_argument("--test-media", type=int, default=160)
    parser.add_argument("--test-instructions", type=int, default=40)
    parser.add_argument("--test-dialogues", type=int, default=50)
    options = vars(parser.parse_args())
    build_media(options.pop("output"), options.pop("seed"), **options)


if __name__ == "__main__":
    main()
