"""``inlay chat``: one question about a picture, a sound or a clip, or a conversation in the terminal.

Text is printed while it is generated, media after it. Ctrl-C stops an answer and removes its question from the
conversation.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from inlay.adapters.media.audio import load_audio
from inlay.adapters.media.image import load_image
from inlay.adapters.media.modality import Modality
from inlay.adapters.media.video import load_video
from inlay.recipes.commands.arguments.bundle_argument import (
    PREFIX_HELP,
    PREFIX_MIB,
    add_backbone,
    add_bundle,
    add_trusted,
    check_usable,
    named_models,
)
from inlay.recipes.commands.arguments.parser import command_parser
from inlay.recipes.runtime.options import add_runtime, runtime_options
from inlay.recipes.settings.errors import SettingsError

if TYPE_CHECKING:
    from inlay.adapters.backbone import Backbone

__all__ = ["main"]

_LIGHT = {"image": load_image, "audio": load_audio, "video": load_video}
"""Modality -> reader that needs no torch."""


def main(argv: Sequence[str], backbone: Backbone | None = None) -> int:
    """Answer one question if given, otherwise read lines until the end of input.

    Args:
        argv: arguments of the command line.
        backbone: loaded frozen models, instead of those of the run.
    """
    parser = command_parser(
        "chat",
        __doc__,
        'chat runs/llava --image card.png "how many objects are there?"',
        "chat runs/nextgpt --save generated",
        "chat someone/llava-vqa --backbone.llm models/vicuna-7b-v1.5",
    )
    add_bundle(parser)
    parser.add_argument(
        "question", type=str | None, nargs="?", help="ask this question and exit; without it, a conversation starts"
    )
    parser.add_argument("--question", dest="asked", type=str | None, help="the question, given as an option")
    parser.add_argument("--image", type=Path | None, help="picture for the first question")
    parser.add_argument("--audio", type=Path | None, help="sound for the first question")
    parser.add_argument("--video", type=Path | None, help="clip for the first question")
    parser.add_argument("--features", type=Path | None, help="file of precomputed features for the first question")
    parser.add_argument("--save", type=Path | None, help="folder for generated pictures, sounds and clips")
    parser.add_argument("--seed", type=int | None, help="seed of generated media; random if not given")
    parser.add_argument("--max_new_tokens", type=int, default=64, help="maximum tokens of an answer")
    parser.add_argument("--prefix_mib", type=int, default=PREFIX_MIB, help=PREFIX_HELP)
    add_trusted(parser)
    add_runtime(parser)
    add_backbone(parser)
    parsed = parser.parse_args(list(argv))
    runtime = runtime_options(parsed)
    if parsed.question is not None and parsed.asked is not None:
        raise SettingsError(f"--question: the question is given twice: {parsed.question!r} and {parsed.asked!r}")
    question = parsed.asked if parsed.question is None else parsed.question
    if parsed.max_new_tokens < 1:
        raise SettingsError(f"--max_new_tokens: expected at least 1, got {parsed.max_new_tokens}")
    if question is not None and not question.strip():
        raise SettingsError("--question: expected text, got an empty question")
    if parsed.save is not None and parsed.save.exists() and not parsed.save.is_dir():
        raise SettingsError(f"--save: expected a folder, got the file {parsed.save}")
    given = {name: path for name in get_args(Modality) if (path := getattr(parsed, name)) is not None}
    for modality, path in given.items():
        if not path.is_file():
            raise SettingsError(f"--{modality}: {path}: no such file")
    for modality, load in _LIGHT.items():
        if modality in given:
            load(given[modality])
    check_usable(parsed.bundle)
    # Heavy libraries are imported after the arguments have been checked.
    from inlay.adapters.chat.kv_cache import prefix_cache
    from inlay.adapters.media.load import load_medium
    from inlay.recipes.commands.conversation import Conversation, answer, converse
    from inlay.recipes.runtime.backbone import runtime_model
    from inlay.recipes.systems.generation_options import generation_options

    if "features" in given:
        load_medium("features", given["features"])
    say = partial(print, file=sys.stderr)
    models = backbone or named_models(parsed)
    with runtime_model(parsed.bundle, runtime, models, trusted=parsed.trusted, show=say) as model:
        # Another program keeps its keys and values itself.
        model.prefixes = prefix_cache(parsed.prefix_mib) if runtime.name == "torch" else None
        talk = Conversation(
            model, parsed.max_new_tokens, generation_options(model.adapter, model.backbone, parsed.seed), parsed.save
        )
        for modality, path in given.items():
            talk.show(path, modality)
        if question is not None:
            answer(talk, question)
            return 0
        return converse(talk)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
