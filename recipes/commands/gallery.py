"""``inlay gallery``: write a page of prompts with generated pictures, spectrograms and film strips."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from inlay.adapters.conversation.messages import MadePart, Message, TextPart
from inlay.adapters.media.modality import GENERATED
from inlay.recipes.commands.arguments.bundle_argument import BUNDLE, add_backbone, named_models
from inlay.recipes.commands.arguments.parser import command_parser
from inlay.recipes.data.rows.sample import Question, questions_of
from inlay.recipes.runs.folder import RunFolder
from inlay.recipes.runs.miniature_data import own_data
from inlay.recipes.settings.errors import SettingsError

if TYPE_CHECKING:
    from inlay.adapters.adapter import AttachedModel
    from inlay.adapters.backbone import Backbone
    from inlay.adapters.media.load import Medium
    from inlay.recipes.evaluation.generation import Answer

__all__ = ["held_out_prompts", "main", "write_gallery"]

TITLE = "# What the adapter made"
KINDS = {"image": "Pictures", "audio": "Sounds", "video": "Clips"}


def main(argv: Sequence[str], backbone: Backbone | None = None) -> int:
    """Write one page.

    Args:
        argv: arguments of the command line.
        backbone: loaded frozen models, instead of those of the run.
    """
    parser = command_parser("gallery", __doc__)
    parser.add_argument("bundle", type=str, help=BUNDLE)
    parser.add_argument("--output", type=Path, required=True, help="folder for the page and its pictures")
    parser.add_argument(
        "--prompts", type=list[str], default=[], help="prompts; held-out prompts of the run if not given"
    )
    parser.add_argument("--number", type=int, default=6, help="number of held-out prompts per modality")
    parser.add_argument("--seed", type=int, default=0, help="seed of the initial noise")
    add_backbone(parser)
    parsed = parser.parse_args(list(argv))
    if parsed.output.is_dir() and any(parsed.output.iterdir()) and not _is_gallery(parsed.output):
        raise SettingsError(f"output: {parsed.output} contains files that are not a gallery; choose another folder")
    asked = [_prompt(text) for text in parsed.prompts] or held_out_prompts(Path(parsed.bundle), parsed.number)

    # Imported here: torch takes seconds, and a wrong argument is reported without it.
    from inlay.recipes.training.load_model import loaded_model

    with loaded_model(parsed.bundle, backbone or named_models(parsed)) as model:
        print(write_gallery(model, asked, parsed.output, seed=parsed.seed))
    return 0


def _is_gallery(folder: Path) -> bool:
    page = folder / "index.md"
    return page.is_file() and page.read_text(encoding="utf-8", errors="replace").startswith(TITLE)


def held_out_prompts(run: Path, number: int) -> list[Question]:
    """Held-out instructions of a miniature run, ``number`` per modality, with different captions.

    Raises:
        SettingsError: the run has no such instructions.
    """
    own = own_data(RunFolder(run).data)
    if own is None or not own.make_test:
        raise SettingsError(f"{run}: the run has no held-out instructions; give --prompts '[\"draw a red circle.\"]'")
    from inlay.recipes.data.formats.read import read_samples

    samples = [sample for path in own.make_test for sample in read_samples(path, own.images)]
    found: list[Question] = []
    for modality in GENERATED:
        making = [q for sample in samples for q in questions_of(sample) if [p.modality for p in q.made] == [modality]]
        distinct: dict[str, Question] = {}
        for question in making:
            distinct.setdefault(question.made[0].caption, question)
        found += list(distinct.values())[:number]
    return found


def write_gallery(model: AttachedModel, asked: Sequence[Question], folder: Path, *, seed: int = 0) -> Path:
    """Generate media, and write ``index.md``, a PNG for each medium, and the media.

    Args:
        model: the attached model.
        asked: prompts; with a reference caption, the page also shows the medium from the generator's text encoder.
        folder: the output folder.
        seed: seed of the noise.

    Returns:
        The path of the page.
    """
    from inlay.recipes.evaluation.generation import answer_with_media
    from inlay.recipes.systems.generation_options import generation_options

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
    page.write_text(f"{TITLE}\n\n{facts}\n\n{body}\n", encoding="utf-8")
    return page


def _row(model: AttachedModel, answer: Answer, number: int, folder: Path, seed: int) -> str:
    from inlay.recipes.evaluation.generation import reference_media
    from inlay.recipes.systems.generation_options import generation_options

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
    from inlay.recipes.media_files.save import save_medium
    from inlay.recipes.media_files.show import as_picture

    picture = save_medium(as_picture(medium), folder, name)
    file = save_medium(medium, folder, f"{name}-file")
    return f"[![{name}]({picture.name})]({file.name})"


def _escaped(text: str) -> str:
    return text.replace("\n", " ").replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def _prompt(text: str) -> Question:
    return Question((Message("user", (TextPart(text),)),), "", (), "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
