"""``inlay chat``: one question about a picture, a sound or a clip, or a conversation in the terminal.

Text is printed while it is generated, media after it. Ctrl-C stops an answer and removes its question from the
conversation.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, get_args

from inlay.adapters.adapter import AttachedModel
from inlay.adapters.backbone import Backbone
from inlay.adapters.chat.kv_cache import MAX_BYTES, prefix_cache
from inlay.adapters.chat.reply import Reply
from inlay.adapters.conversation.messages import MadePart, MediaPart, Message, Part, TextPart
from inlay.adapters.media.load import load_medium
from inlay.adapters.media.modality import Modality
from inlay.hub.errors import InlayError
from inlay.recipes.commands.arguments.bundle_argument import PREFIX_HELP, add_backbone, add_trusted_bundle, named_models
from inlay.recipes.commands.arguments.parser import command_parser
from inlay.recipes.media_files.save import free_name, save_medium
from inlay.recipes.runtime.backbone import runtime_model
from inlay.recipes.runtime.options import add_runtime, runtime_options
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.systems.generation_options import generation_options

__all__ = ["Conversation", "main"]

HELP = (
    "/image FILE  add a picture to the next question    /audio, /video, /features FILE  a sound, a clip, features    "
    "/reset  start over    /quit  leave    Ctrl-C  stop an answer"
)


class Conversation:
    """A conversation with its turns so far.

    Args:
        model: the attached model.
        max_new_tokens: maximum tokens of an answer.
        media: modality -> generation options, see :meth:`inlay.adapters.model.MultimodalModel.chat`.
        save: folder for generated media; without one they are only mentioned.
    """

    def __init__(
        self,
        model: AttachedModel,
        max_new_tokens: int,
        media: Mapping[Modality, Mapping[str, Any]] | None = None,
        save: Path | None = None,
    ) -> None:
        self.model, self.max_new_tokens = model, max_new_tokens
        self.media = dict(media or {})
        self.save = save
        self.turns: list[Message] = []
        self.shown: list[MediaPart] = []

    def show(self, path: Path, modality: Modality = "image") -> None:
        """Add a medium to the next question.

        Raises:
            MediaError: the file cannot be read; it is not added.
        """
        part = MediaPart(modality, path)
        load_medium(part.modality, part.source)
        self.shown.append(part)

    def ask(self, question: str, on_text: Callable[[str], None] | None = None) -> str:
        """Ask, and store question and answer; after an error or an interruption only the media are kept.

        Args:
            question: the user's question.
            on_text: receives the text while it is generated.

        Returns:
            Text and the files of generated media; without the text if ``on_text`` received all of it.
        """
        heard: list[str] = []

        def hear(piece: str) -> None:
            heard.append(piece)
            if on_text is not None:
                on_text(piece)

        turn = Message("user", (*self.shown, TextPart(question)))
        streamed: dict[str, Any] = {} if on_text is None else {"on_text": hear}
        reply = self.model.chat([*self.turns, turn], media=self.media, max_new_tokens=self.max_new_tokens, **streamed)
        said: tuple[Part, ...] = reply.parts or (TextPart(reply.text),)
        self.turns, self.shown = [*self.turns, turn, Message("assistant", said)], []
        # The streamed pieces may differ from the text of the whole reply, which is then printed again.
        return self._told(reply, words="".join(heard).split() != reply.text.split())

    def _told(self, reply: Reply, *, words: bool) -> str:
        lines = []
        for part in reply.parts or (TextPart(reply.text),):
            if isinstance(part, TextPart):
                lines += [part.text] if words else []
            elif isinstance(part, MadePart) and part.source is not None:
                lines.append(self._kept(part))
        return "\n".join([*lines, *(f"({why})" for why in reply.missing)])

    def _kept(self, part: MadePart) -> str:
        if self.save is None:
            return f"({part.modality}; use --save DIR to keep it)"
        return f"({part.modality}: {save_medium(part.source, self.save, free_name(self.save, part.modality))})"

    def reset(self) -> None:
        """Remove all turns and media."""
        self.turns, self.shown = [], []


def main(argv: Sequence[str], backbone: Backbone | None = None) -> int:
    """Answer one question if given, otherwise read lines until the end of input.

    Args:
        argv: arguments of the command line.
        backbone: loaded frozen models, instead of those of the run.
    """
    parser = command_parser("chat", __doc__)
    add_trusted_bundle(parser)
    parser.add_argument("--question", type=str | None, help="ask this question and exit; a conversation if not given")
    parser.add_argument("--image", type=Path | None, help="picture for the first question")
    parser.add_argument("--audio", type=Path | None, help="sound for the first question")
    parser.add_argument("--video", type=Path | None, help="clip for the first question")
    parser.add_argument("--features", type=Path | None, help="file of features for the first question")
    parser.add_argument("--save", type=Path | None, help="folder for generated pictures, sounds and clips")
    parser.add_argument("--seed", type=int | None, help="seed of generated media; random if not given")
    parser.add_argument("--max_new_tokens", type=int, default=64, help="maximum tokens of an answer")
    parser.add_argument("--prefix_mib", type=int, default=MAX_BYTES >> 20, help=PREFIX_HELP)
    add_runtime(parser)
    add_backbone(parser)
    parsed = parser.parse_args(list(argv))
    runtime = runtime_options(parsed)
    if parsed.max_new_tokens < 1:
        raise SettingsError(f"max_new_tokens: expected at least 1, got {parsed.max_new_tokens}")
    if parsed.question is not None and not parsed.question.strip():
        raise SettingsError("question: expected text, got an empty question")
    if parsed.save is not None and parsed.save.exists() and not parsed.save.is_dir():
        raise SettingsError(f"save: expected a folder, got the file {parsed.save}")
    given = {name: path for name in get_args(Modality) if (path := getattr(parsed, name)) is not None}
    for modality, path in given.items():
        load_medium(modality, path)
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
        if parsed.question is not None:
            _answer(talk, parsed.question)
            return 0
        return _loop(talk, _read)


def _read() -> str | None:
    try:
        return input("> " if sys.stdin.isatty() else "")
    except EOFError:
        return None


def _answer(talk: Conversation, question: str) -> None:
    """Print text immediately, even through a pipe, then generated media."""
    begun = False

    def show(piece: str) -> None:
        nonlocal begun
        begun = True
        print(piece, end="", flush=True)

    try:
        rest = talk.ask(question, show)
    finally:
        if begun:
            print(flush=True)
    if rest or not begun:
        print(rest, flush=True)


def _loop(talk: Conversation, read: Callable[[], str | None]) -> int:
    print(HELP, flush=True)
    while True:
        try:
            line = read()
            if line is None:
                break
            command, _, rest = line.strip().partition(" ")
            kind: Any = command.removeprefix("/")
            if command == "/quit":
                break
            if command == "/reset":
                talk.reset()
                print("(new conversation)")
            elif command.startswith("/") and kind in get_args(Modality):
                talk.show(Path(rest.strip()), kind)
                print(f"(added {Path(rest.strip()).name})")
            elif command.startswith("/"):
                print(HELP)
            elif line.strip():
                _answer(talk, line.strip())
        except InlayError as error:
            print(f"! {error}", flush=True)
        except KeyboardInterrupt:
            print("\n(interrupted; the question was removed. /quit leaves)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
