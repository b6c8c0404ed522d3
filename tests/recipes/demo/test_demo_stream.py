"""The demo's answers line by line: words while they are written, media behind them."""

from __future__ import annotations

import base64
import http.client
import io
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from demo_client import BOUNDARY, Client, Opened, conversation, until
from PIL import Image
from senses_models import CAPTIONS, caption_in

from inlay.adapters.chat.reply import Reply
from inlay.adapters.conversation.messages import MadePart, TextPart
from inlay.adapters.media.audio import load_audio
from inlay.adapters.media.video import Video
from inlay.hub.errors import InlayError

LINES = "application/x-ndjson"
ASKED = [{"role": "user", "text": "draw it"}]


class Teller:
    """Says one word, and the next when it may."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.fails: Exception | None = None
        self.parts: tuple[Any, ...] = (TextPart("Here it is."),)
        self.messages: Any = None
        self.left: BaseException | None = None

    def chat(self, messages: Any, *, media: Any, on_text: Callable[[str], None] | None, **options: Any) -> Reply:
        self.messages = messages
        if on_text is not None:
            on_text("Here ")
            self.go.wait(10)
            if self.fails is not None:
                raise self.fails
            try:
                for _ in range(200):
                    on_text("it is." if _ == 0 else "")
            except OSError as error:
                self.left = error
                raise
        return Reply("Here it is.", tokens=4, parts=self.parts, missing=("video: none here",))


@pytest.fixture
def teller() -> Teller:
    return Teller()


class Stream:
    """A question under way."""

    def __init__(self, client: Client, turns: Any = ASKED) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=15)
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", "Accept": LINES}
        self.connection.request("POST", "/ask", conversation(turns), headers)
        self.response = self.connection.getresponse()

    def line(self) -> dict[str, Any]:
        return dict(json.loads(self.response.readline()))


def test_a_word_arrives_before_the_next_is_written(opened: Opened, teller: Teller) -> None:
    stream = Stream(opened(teller))
    assert stream.response.headers["Content-Type"] == LINES
    assert stream.response.headers["X-Content-Type-Options"] == "nosniff"
    assert stream.line() == {"text": "Here "}
    teller.go.set()
    assert stream.line() == {"text": "it is."}
    last = [json.loads(line) for line in stream.response.read().splitlines()][-1]
    assert last["answer"]["text"] == "Here it is."
    assert last["answer"]["missing"] == ["video: none here"]


def test_who_asks_for_no_lines_gets_the_whole(opened: Opened, teller: Teller) -> None:
    answer = opened(teller).post(conversation(ASKED))
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json["text"] == "Here it is."


@pytest.mark.parametrize(
    ("fails", "said"),
    [(InlayError("the file is torn"), "the file is torn"), (RuntimeError("/root of it"), "failed on this")],
)
def test_what_fails_in_the_middle_is_said_in_a_line(
    opened: Opened, teller: Teller, fails: Exception, said: str, capsys: Any
) -> None:
    teller.fails = fails
    teller.go.set()
    lines = [json.loads(line) for line in Stream(opened(teller)).response.read().splitlines()]
    assert lines[0] == {"text": "Here "}
    assert said in lines[1]["error"]
    assert len(lines) == 2
    capsys.readouterr()


def test_what_cannot_begin_has_its_status(opened: Opened, teller: Teller) -> None:
    stream = Stream(opened(teller), [{"role": "assistant", "text": "a"}])
    assert stream.response.status == 400
    assert "role 'user'" in stream.line()["error"]


def test_who_leaves_ends_the_answer_and_the_next_is_served(opened: Opened, teller: Teller) -> None:
    client = opened(teller)
    stream = Stream(client)
    stream.line()
    stream.response.close()
    stream.connection.close()
    teller.go.set()
    assert until(lambda: teller.left is not None)
    assert client.post(conversation(ASKED)).status == 200


def test_media_are_sent_behind_the_words_and_named_in_the_next_question(
    opened: Opened, teller: Teller, senses_of: Any, tmp_path: Path
) -> None:
    generators = senses_of().model.backbone.generators
    made = {
        name: generators[name].generate(generators[name].encode_text([CAPTIONS[n]]))[0] for name, n in SHOWN.items()
    }
    made["video"] = Video((made["image"], Image.new("RGB", (8, 8), "red")), 2.0)  # of equal frames a GIF keeps one
    teller.parts = (TextPart("Here it is."), *(MadePart(name, CAPTIONS[n], made[name]) for name, n in SHOWN.items()))
    answer = opened(teller).post(conversation(ASKED)).json
    files = {item["modality"]: base64.b64decode(item["data"]) for item in answer["made"]}
    assert [item["type"] for item in answer["made"]] == ["image/png", "audio/wav", "image/gif"]
    assert caption_in(Image.open(io.BytesIO(files["image"]))) == CAPTIONS[0]
    assert Image.open(io.BytesIO(files["video"])).n_frames == 2
    (tmp_path / "made.wav").write_bytes(files["audio"])
    np.testing.assert_allclose(load_audio(tmp_path / "made.wav").samples, made["audio"].samples, atol=1e-4)
    named = [{key: item[key] for key in ("modality", "caption")} for item in answer["made"]]
    turns = [*ASKED, {"role": "assistant", "text": "", "made": named}, {"role": "user", "text": "now in blue"}]
    assert opened(teller).post(conversation(turns)).status == 200
    assert teller.messages[1].content == tuple(MadePart(name, CAPTIONS[n]) for name, n in SHOWN.items())


SHOWN: dict[Any, int] = {"image": 0, "audio": 2, "video": 4}


@pytest.mark.parametrize(
    "made",
    [
        "image",
        [{"modality": "smell", "caption": ""}],
        [{"modality": "image"}],
        [{"modality": "image", "caption": 3}],
        [{"modality": "image", "caption": "x" * 5000}],
        [{"modality": "image", "caption": "", "path": "/etc/passwd"}],
        [{"modality": ["image"], "caption": ""}],
        [{"modality": "image", "caption": ""}] * 9,
    ],
)
def test_58_what_was_made_is_checked(opened: Opened, teller: Teller, made: Any) -> None:
    turns = [*ASKED, {"role": "assistant", "text": "a", "made": made}, {"role": "user", "text": "b"}]
    answer = opened(teller).post(conversation(turns))
    assert answer.status == 400
    assert "turn 1: made: expected" in answer.error
    assert teller.messages is None
