"""Media that were made: on a page, in files, in a conversation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from senses_models import CAPTIONS, caption_in

from inlay.adapters.chat.reply import Reply
from inlay.adapters.conversation.messages import MadePart, TextPart
from inlay.adapters.media.audio import Sound, load_audio
from inlay.adapters.media.video import Video, load_video
from inlay.recipes.commands.conversation import Conversation
from inlay.recipes.commands.gallery_page import held_out_prompts, write_gallery
from inlay.recipes.data.rows.sample import questions_of
from inlay.recipes.media_files.save import free_name, save_medium
from inlay.recipes.media_files.show import as_picture, film_strip, spectrogram
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.systems.generation_options import generation_options


def tone(hertz: float, rate: int = 8000) -> Sound:
    return Sound(np.sin(2 * np.pi * hertz * np.arange(rate) / rate).astype(np.float32), rate)


def test_a_spectrogram_is_bright_at_the_pitch() -> None:
    for hertz in (500.0, 3000.0):
        rows = np.asarray(spectrogram(tone(hertz)), dtype=float).sum(axis=(1, 2))
        assert abs((1 - rows.argmax() / len(rows)) * 4000 - hertz) < 100


def test_silence_and_nothing_are_pictures_too() -> None:
    assert np.asarray(as_picture(Sound(np.zeros(8000, np.float32), 8000))).max() < 8
    assert as_picture(Sound(np.zeros(0, np.float32), 8000)).mode == "RGB"


def test_a_film_strip_shows_the_frames_in_order() -> None:
    frames = tuple(Image.new("RGB", (8, 8), (20 * n, 0, 0)) for n in range(12))
    strip = film_strip(Video(frames, 4.0), gap=4, most=3)
    assert strip.size == (3 * 64 + 4 * 4, 72)
    assert [strip.getpixel((4 + n * 68 + 5, 10))[0] for n in range(3)] == [0, 120, 220]


def test_media_are_read_again_as_they_were_written(tmp_path: Path) -> None:
    picture = Image.new("RGB", (4, 4), (9, 8, 7))
    assert Image.open(save_medium(picture, tmp_path / "new", "a")).getpixel((0, 0)) == (9, 8, 7)
    sound = load_audio(save_medium(tone(440.0), tmp_path, "a"))
    np.testing.assert_allclose(sound.samples, tone(440.0).samples, atol=1e-4)
    frames = tuple(Image.new("RGB", (16, 16), colour) for colour in ("red", "lime", "blue"))
    clip = load_video(save_medium(Video(frames, 4.0), tmp_path, "a"))
    assert len(clip.frames) == 3
    assert clip.frames[1].getpixel((3, 3)) == (0, 255, 0)


def test_names_do_not_collide(tmp_path: Path) -> None:
    save_medium(Image.new("RGB", (2, 2)), tmp_path, "image-1")
    assert free_name(tmp_path, "image") == "image-2"
    assert free_name(tmp_path, "audio") == "audio-1"


def test_the_gallery_is_a_page_with_pictures(senses_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    senses = senses_of()
    asked = [questions_of(sample)[0] for sample in senses.samples]

    def made(*args: Any, **kwargs: Any) -> list[Reply]:
        media = [senses.model.backbone.generator(q.made[0].modality) for q in asked]
        sources = [g.generate(g.encode_text([q.made[0].caption]))[0] for g, q in zip(media, asked, strict=True)]
        parts = [MadePart(q.made[0].modality, source=source) for q, source in zip(asked, sources, strict=True)]
        return [Reply("Here | it is", media=(part.source,), parts=(part,)) for part in parts]

    monkeypatch.setattr(senses.model, "replies", made)
    monkeypatch.setattr("inlay.recipes.evaluation.generation.sorted", lambda numbers, key: list(numbers), raising=False)
    page = write_gallery(senses.model, asked, tmp_path / "page", title="# Made")
    text = page.read_text()
    assert [text.count(f"## {title}") for title in ("Pictures", "Sounds", "Clips")] == [1, 1, 1]
    linked = re.findall(r"\((\d\d-[a-z-]+\.[a-z]+)\)", text)
    assert len(linked) == 6 * 4
    assert all((page.parent / name).stat().st_size for name in linked)
    assert "Here \\| it is" in text


def test_a_run_without_instructions_says_so(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="has no held-out instructions"):
        held_out_prompts(tmp_path, 2)


def test_a_conversation_keeps_what_was_made(senses_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    senses = senses_of()
    generator = senses.model.backbone.generator("audio")
    beep = generator.generate(generator.encode_text([CAPTIONS[2]]))[0]
    asked: list[Any] = []

    def chat(messages: Any, **options: Any) -> Reply:
        asked.append(senses.model.encode(messages, generation=True))
        return Reply("Here.", parts=(TextPart("Here."), MadePart("audio", source=beep)), missing=("no clips",))

    monkeypatch.setattr(senses.model, "chat", chat)
    talk = Conversation(
        senses.model, 8, generation_options(senses.model.adapter, senses.model.backbone, 3), tmp_path / "kept"
    )
    talk.show(senses.media / "0.wav", "audio")
    assert talk.ask("again").splitlines() == ["Here.", f"(audio: {tmp_path / 'kept' / 'audio-1.wav'})", "(no clips)"]
    np.testing.assert_allclose(load_audio(tmp_path / "kept" / "audio-1.wav").samples, beep.samples, atol=1e-4)
    talk.ask("once more")
    assert caption_in(asked[1].made[0].source) == CAPTIONS[2]  # its own sound, as signal tokens
    assert (tmp_path / "kept" / "audio-2.wav").exists()


def test_generation_options_follow_the_system_and_the_generators(senses_of: Any) -> None:
    senses = senses_of()
    adapter, backbone = senses.model.adapter, senses.model.backbone
    assert generation_options(adapter, backbone, 7)["image"] == {"steps": 50, "guidance_scale": 7.5, "seed": 7}
    adapter.system = "own"
    assert generation_options(adapter, backbone) == {"image": {}, "audio": {}, "video": {}}
