"""``inlay chat``: one question about a picture, or a conversation in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from inlay.adapters.adapter import Adapter, AttachedModel
from inlay.adapters.media import load_image
from inlay.adapters.messages import MediaPart, Message, Part, TextPart
from inlay.hub.errors import InlayError
from inlay.recipes.backbones import backbone_for
from inlay.recipes.bundle_argument import BUNDLE
from inlay.recipes.parser import command_parser
from inlay.recipes.settings import BackboneSettings

__all__ = ["Conversation", "main"]

HELP = "/image FILE  show a picture with the next question    /reset  forget everything    /quit  leave"


class Conversation:
    """The turns so far.

    Args:
        model: attached.
        max_new_tokens: of an answer.
    """

    def __init__(self, model: AttachedModel, max_new_tokens: int) -> None:
        self.model, self.max_new_tokens = model, max_new_tokens
        self.turns: list[Message] = []
        self.pictures: list[Path] = []

    def show(self, picture: Path) -> None:
        """Show a picture with the next question.

        Raises:
            MediaError: it cannot be read; nothing is remembered then.
        """
        load_image(picture)
        self.pictures.append(picture)

    def ask(self, question: str) -> str:
        """Ask, and remember question and answer; a question that fails is forgotten, its pictures are kept."""
        parts: list[Part] = [MediaPart("image", picture) for picture in self.pictures]
        turn = Message("user", (*parts, TextPart(question)))
        reply = self.model.chat([*self.turns, turn], max_new_tokens=self.max_new_tokens)
        self.turns += [turn, Message("assistant", (TextPart(reply.text or " "),))]
        self.pictures = []
        return reply.text

    def reset(self) -> None:
        """Forget turns and pictures."""
        self.turns, self.pictures = [], []


def main(argv: Sequence[str]) -> int:
    """Answer once when a question is given, else read lines until the end of input."""
    parser = command_parser("chat", __doc__)
    parser.add_argument("bundle", type=str, help=BUNDLE)
    parser.add_argument("--question", type=str | None, help="ask once and leave; without it, a conversation")
    parser.add_argument("--image", type=Path | None, help="picture that the first question is about")
    parser.add_argument("--max_new_tokens", type=int, default=64, help="tokens of an answer")
    parser.add_class_arguments(BackboneSettings, "backbone")
    parsed = parser.parse_args(list(argv))
    if parsed.image is not None:
        load_image(parsed.image)
    adapter = Adapter.from_pretrained(parsed.bundle)
    model = adapter.attach(backbone_for(adapter, BackboneSettings(**vars(parsed.backbone))))
    talk = Conversation(model, parsed.max_new_tokens)
    if parsed.image is not None:
        talk.show(parsed.image)
    if parsed.question is not None:
        print(talk.ask(parsed.question))
        return 0
    return _loop(talk, _read)


def _read() -> str | None:
    try:
        return input("> " if sys.stdin.isatty() else "")
    except EOFError:
        return None


def _loop(talk: Conversation, read: Callable[[], str | None]) -> int:
    print(HELP)
    while (line := read()) is not None:
        command, _, rest = line.strip().partition(" ")
        try:
            if command == "/quit":
                break
            if command == "/reset":
                talk.reset()
                print("(forgotten)")
            elif command == "/image":
                talk.show(Path(rest.strip()))
                print(f"(looking at {Path(rest.strip()).name})")
            elif command.startswith("/"):
                print(HELP)
            elif line.strip():
                print(talk.ask(line.strip()))
        except InlayError as error:
            print(f"! {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
