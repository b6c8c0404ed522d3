"""The page of ``inlay gallery``: prompts with generated pictures, spectrograms and film strips."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from inlay.adapters.adapter import AttachedModel
from inlay.adapters.conversation.messages import MadePart, Message, TextPart
from inlay.adapters.media.load import Medium
from inlay.adapters.media.modality import GENERATED
from inlay.recipes.data.formats.read import read_samples
from inlay.recipes.data.rows.sample import Question, questions_of
from inlay.recipes.evaluation.generation import Answer, answer_with_media, reference_media
from inlay.recipes.media_files.save import save_medium
from inlay.recipes.media_files.show import as_picture
from inlay.recipes.runs.folder import RunFolder
from inlay.recipes.runs.miniature_data import own_data
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.systems.generation_options import generation_options

__all__ = ["held_out_prompts", "prompt", "write_gallery"]

KINDS = {"image": "Pictures", "audio": "Sounds", "video": "Clips"}


def held_out_prompts(run: Path, number: int) -> list[Question]:
    """Held-out instructions of a miniature run, ``number`` per modality, with different captions.

    Raises:
        SettingsError: the run has no such instructions.
    """
    own = own_data(RunFolder(run).data)
    if own is None or not own.make_test:
        raise SettingsError(f"{run}: the run has no held-out instructions; give --prompts '[\"draw a red circle.\"]'")
    samples = [sample for path in own.make_test for sample in read_samples(path, own.images)]
    found: list[Question] = []
    for modality in GENERATED:
        making = [q for sample in samples for q in questions_of(sample) if [p.modality for p in q.made] == [modality]]
        distinct: dict[str, Question] = {}
        for question in making:
            distinct.setdefault(question.made[0].caption, question)
        found += list(distinct.values())[:number]
    return found


def write_gallery(model: AttachedModel, asked: Sequence[Question], folder: Path, *, title: str, seed: int = 0) -> Path:
    """Generate media, and write ``index.md``, a PNG for each medium, and the media.

    Args:
        model: the attached model.
        asked: prompts; with a reference caption, the page also shows the medium from the generator's text encoder.
        folder: the output folder.
        title: the first line of the page.
        seed: seed of the noise.

    Returns:
        The path of the page.
    """
    media = generation_options(model.adapter, model.backbone)
    answers = answer_with_media(model, [(q, str(n)) for n, q in enumerate(asked)], media=media, seed=seed)
    sections: dict[str, list[str]] = {}
    for number, answer in enumerate(answers):
        wanted = answer.question.made[0] if answer.question.made else None
        first = wanted.modality if wanted else answer.chosen[0] if answer.chosen else None
        sections.setdefault(KINDS.get(str(first), "Words"), []).append(_row(model, answer, number, folder, seed))
    head = "| prompt | text | adapter | generator's own text encoder |\n|---|---|---|---|\n"
    body = "\n\n".join(f"## {title}\n\n{head}" + "\n".join(rows) for title, rows in sections.items())
    facts = f"Adapter `{model.adapter.name}` ({model.adapter.system}), seed {seed}; written by `inlay gallery`."
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "index.md"
    page.write_text(f"{title}\n\n{facts}\n\n{body}\n", encoding="utf-8")
    return page


def _row(model: AttachedModel, answer: Answer, number: int, folder: Path, seed: int) -> str:
    made = [part for part in answer.reply.parts if isinstance(part, MadePart)]
    cells = [_kept(part.source, folder, f"{number:02d}-{part.modality}") for part in made if part.source is not None]
    cells += [_escaped(why) for why in answer.reply.missing]
    own = ""
    if answer.question.made and answer.question.made[0].caption:
        wanted = answer.question.made[0]
        if wanted.modality in model.backbone.generators:
            media = generation_options(model.adapter, model.backbone)
            (medium,) = reference_media(model.backbone, {wanted.modality: [wanted.caption]}, media, seed)[
                wanted.modality
            ]
            own = _kept(medium, folder, f"{number:02d}-{wanted.modality}-own")
    asked = "<br>".join(f"*{_escaped(line)}*" for line in _said(answer.question))
    return f"| {asked} | {_escaped(answer.reply.text)} | {' '.join(cells) or '(nothing)'} | {own} |"


def _said(question: Question) -> list[str]:
    """The conversation so far, one line per turn."""
    lines = []
    for turn in question.prompt:
        shown = [f"[{part.modality}]" for part in turn.content if not isinstance(part, TextPart)]
        lines.append(" ".join([*shown, turn.text]).strip())
    return lines


def _kept(medium: Medium, folder: Path, name: str) -> str:
    """Markdown for a medium: its picture, linked to the media file."""
    picture = save_medium(as_picture(medium), folder, name)
    file = save_medium(medium, folder, f"{name}-file")
    return f"[![{name}]({picture.name})]({file.name})"


def _escaped(text: str) -> str:
    return text.replace("\n", " ").replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def prompt(text: str) -> Question:
    """A question of one text."""
    return Question((Message("user", (TextPart(text),)),), "", (), "")
