"""The page in headless Chromium, driven by ``tests/clients/check_page.mjs``: what a user does, sees and hears."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from loud_llm import loud
from senses_models import write_wav
from serve_client import Served, png, shown

from inlay.recipes.demo.examples import Example
from inlay.recipes.media_files.save import encoded
from inlay.recipes.serve.limits import Limits

CLIENTS = Path(__file__).parents[2] / "clients"
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
KEY = "a-key-of-sixteen-characters"
ASK = "what is shown ?"
LIMITS = Limits(new_tokens=8)

pytestmark = [pytest.mark.javascript, pytest.mark.slow]


@pytest.fixture
def look(image_of: Any, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Runs one scenario against a page; returns what was seen. Errors in the browser's console are failures."""
    if shutil.which("node") is None or not (CLIENTS / "node_modules" / "playwright-core").is_dir():
        pytest.skip("playwright-core is not installed: make javascript-client")
    if not Path(CHROMIUM).exists():
        pytest.skip("there is no Chromium: name one in the variable CHROMIUM")
    for number in (1, 2):
        (tmp_path / f"{number}.png").write_bytes(png(image_of(number)))
    (tmp_path / "damaged.png").write_bytes(png(image_of(1))[:60])
    (tmp_path / "notes.txt").write_text("no medium")
    write_wav(tmp_path / "1.wav", 300.0)

    def run(page: Served, scenario: str, word: str = "", *, problems: bool = False) -> dict[str, Any]:
        url = page.url.removesuffix("/v1")
        command = ["node", str(CLIENTS / "check_page.mjs"), scenario, url, str(tmp_path), word]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        seen = dict(json.loads(done.stdout))
        assert problems or seen["problems"] == []
        return seen

    return run


@pytest.fixture
def senses(open_page: Any, senses_of: Any) -> Served:
    """An adapter that reads all modalities, and answers with a picture."""
    adapter = senses_of(dropout=0.0).model.adapter.eval()
    loud(adapter, next(text for text in adapter.tokens.config.strings if "IMG" in text.upper()))
    return open_page({"any": adapter}, limits=LIMITS)


@pytest.fixture
def page(open_page: Any) -> Served:
    return open_page(limits=LIMITS)


def examples(image_of: Any) -> dict[str, list[Example]]:
    return {"a": [Example(ASK, (("image", encoded(image_of(number))),)) for number in (1, 2)]}


def answer(page: Served, image: Any, model: str = "a") -> str:
    return page.ask(shown(image), model, max_tokens=8).text


def test_a_question_about_a_picture_is_answered(look: Any, page: Served, image_of: Any) -> None:
    seen = look(page, "picture")
    assert seen["words"] == [answer(page, image_of(1))]
    assert seen["kinds"] == ["image_url", "text"]
    assert seen["words"][0] in seen["spoken"]


def test_an_example_fills_the_form(look: Any, open_page: Any, image_of: Any) -> None:
    page = open_page(limits=LIMITS, examples=examples(image_of))
    seen = look(page, "example")
    assert seen["text"] == ASK
    assert seen["words"] == [answer(page, image_of(2))]
    assert seen["thumbnails"] == [True, True]


def test_a_sound_is_heard(look: Any, senses: Served) -> None:
    assert look(senses, "sound")["kinds"] == ["audio_url", "text"]


def test_microphone_and_camera_give_media_that_the_server_reads(look: Any, senses: Served) -> None:
    pytest.importorskip("soundfile", reason="needs inlay[audio]")
    pytest.importorskip("av", reason="needs inlay[video]")
    seen = look(senses, "devices")
    assert seen["kinds"] == ["audio_url", "image_url", "video_url"]
    assert [start.split(";")[0] for start in seen["starts"][:2]] == ["data:audio/wav", "data:image/jpeg"]
    assert seen["starts"][2].startswith("data:video/")
    assert seen["active"] is None
    assert len(seen["words"]) == 1


def test_a_generated_picture_is_shown_and_the_conversation_goes_on(look: Any, senses: Served) -> None:
    seen = look(senses, "draw")
    assert seen["first"]
    assert all(alt.startswith("generated picture") and width > 0 for alt, width in seen["first"])
    assert (seen["trouble"], seen["count"] > len(seen["first"])) == (False, True)


def test_settings_are_those_of_the_adapter_and_reach_the_request(look: Any, senses: Served) -> None:
    seen = look(senses, "settings")
    assert {"temperature", "image.steps", "audio.steps", "video.guidance_scale"} <= set(seen["names"])
    settings = {"max_tokens": 3, "seed": 5, "num_beams": 2, "generation": {"image": {"steps": 4}}}
    assert seen["fields"].items() >= settings.items()
    assert seen["trouble"].startswith("Tokens of an answer")
    assert seen["focus"] == "max_tokens"


def test_an_adapter_without_generators_has_no_settings_for_them(look: Any, page: Served) -> None:
    assert look(page, "settings")["names"] == ["max_tokens", "temperature", "seed", "num_beams"]


@pytest.mark.parametrize("how", ["button", "escape"])
def test_an_answer_is_stopped_while_it_is_written(look: Any, page: Served, gate: threading.Event, how: str) -> None:
    seen = look(page, "stop", how)
    gate.set()
    assert seen["busy"] == {"ask": False, "stop": True}
    assert (seen["note"], seen["ask"]) == ("stopped", True)
    assert seen["words"][0]
    page.until(lambda: page.held == 0)


def test_two_users_get_their_own_answers(look: Any, page: Served, image_of: Any) -> None:
    assert look(page, "users")["words"] == [answer(page, image_of(number)) for number in (1, 2)]


def test_a_damaged_file_is_an_error_that_loses_nothing(look: Any, page: Served, image_of: Any) -> None:
    seen = look(page, "damaged", problems=True)  # the browser reports the status 400
    assert "messages[0].content[0]" in seen["first"]
    assert seen["kept"] == {"text": ASK, "media": 1, "turns": 0}
    assert "the adapter reads pictures" in seen["second"]
    assert seen["words"] == [answer(page, image_of(1))]


def test_pictures_are_pasted_and_dropped(look: Any, page: Served) -> None:
    assert look(page, "given")["kinds"] == ["image_url", "image_url", "text"]


def test_a_blind_answer_is_made_without_the_media(look: Any, page: Served) -> None:
    seen = look(page, "blind")
    assert seen["first"] == [[{"type": "text", "text": ASK}]]
    assert (seen["before"], seen["mark"], seen["second"]) == (False, "blind", 3)
    assert seen["words"][0] == page.ask([{"type": "text", "text": ASK}], max_tokens=8).text


def test_two_adapters_answer_side_by_side_and_each_remembers_its_own_answer(
    look: Any, page: Served, image_of: Any
) -> None:
    seen = look(page, "compare")
    first = {name: answer(page, image_of(1), name) for name in "ab"}
    assert seen["words"][:2] == list(first.values())
    assert seen["said"] == first
    assert (seen["beside"], seen["names"]) == (True, ["a", "b", "a", "b"])


def test_a_turn_is_edited_text_stays_text_and_the_conversation_is_cleared(look: Any, page: Served) -> None:
    seen = look(page, "edit")
    assert seen["back"] == {"turns": 0, "text": ASK, "media": [True]}
    assert seen["injected"] == [False, 0]
    assert seen["text"].startswith("<img src=x")
    assert (seen["after"], seen["hint"]) == (0, True)


def test_the_keyboard_is_enough(look: Any, page: Served) -> None:
    seen = look(page, "keyboard")
    assert seen["order"][:10] == [
        *("Skip to the question", "model", "other", "reset", "log", "text", "pick", "camera", "send"),
        seen["order"][9],
    ]
    assert seen["typed"] == f"{ASK}\nnow"
    assert seen["focus"] == "text"
    assert seen["edited"] == {"text": f"{ASK}\nnow", "turns": 0, "focus": "text"}
    assert (seen["back"], seen["outline"]) == ("camera", "solid")


def test_it_fits_screens_of_360_and_1440_pixels_light_and_dark_and_axe_finds_nothing_serious(
    look: Any, open_page: Any, image_of: Any
) -> None:
    seen = look(open_page(limits=LIMITS, examples=examples(image_of)), "looks")
    seen.pop("problems")
    for name, found in seen.items():
        assert (found["overflow"], found["serious"], found["dialog"]) == (0, [], []), name
    assert seen["small"]["ground"] == seen["large"]["ground"] != seen["large-dark"]["ground"]


def test_a_key_opens_the_page_and_signing_out_closes_it(look: Any, open_page: Any) -> None:
    page = open_page(limits=LIMITS, key=KEY)
    seen = look(page, "login", KEY)
    assert seen["first"]["address"].endswith("/login")
    assert (seen["first"]["serious"], seen["first"]["overflow"]) == ([], 0)
    assert (seen["wrong"], seen["cookie"]) == ("This is not the key.", "")
    assert seen["last"].endswith("/login")
