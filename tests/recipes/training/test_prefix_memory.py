"""``--prefix_mib`` of ``inlay chat``: how much of what was read is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inlay.recipes.cli import main
from inlay.recipes.commands import conversation
from inlay.recipes.commands.conversation import Conversation
from inlay.recipes.settings.run import BackboneSettings
from inlay.recipes.systems import llava
from inlay.recipes.systems.load_backbone import backbone_from


@pytest.fixture
def places(folders: dict[str, Path], tmp_path: Path) -> list[str]:
    """A bundle of a tiny LLaVA, and its backbone."""
    settings = BackboneSettings(llm=str(folders["llama"]), image=str(folders["eva"]))
    backbone = backbone_from(settings, llava.recipe().sources)
    llava.recipe().adapter(backbone, "tiny").save_pretrained(tmp_path / "bundle")
    return [str(tmp_path / "bundle"), f"--backbone.llm={folders['llama']}", f"--backbone.image={folders['eva']}"]


@pytest.mark.parametrize(
    ("given", "kept"), [([], 512 << 20), (["--prefix_mib=3"], 3 << 20), (["--prefix_mib=0"], None)]
)
def test_memory_is_as_asked_for(
    places: list[str], given: list[str], kept: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def look(*found: Any) -> int:
        seen.append(found[0].model)
        return 0

    monkeypatch.setattr(conversation, "converse", look)
    assert main(["chat", *places, *given]) == 0
    (model,) = seen
    assert not model.adapter.training  # dropout would answer otherwise each time, and nothing could be kept
    assert (None if model.prefixes is None else model.prefixes.max_bytes) == kept


def test_a_conversation_reads_its_picture_once(places: list[str], folders: dict[str, Path], monkeypatch: Any) -> None:
    talks: list[Conversation] = []

    def look(talk: Conversation) -> int:
        talks.append(talk)
        return 0

    monkeypatch.setattr(conversation, "converse", look)
    assert main(["chat", *places]) == 0
    (talk,) = talks
    calls: list[int] = []
    encoder = talk.model.backbone.encoder("image")
    encode = encoder.encode

    def counted(inputs: Any) -> Any:
        calls.append(1)
        return encode(inputs)

    monkeypatch.setattr(encoder, "encode", counted)
    talk.show(next(iter(sorted((folders["data"] / "images").iterdir()))))
    for question in ("what is shown?", "how many circles?", "where?"):
        talk.ask(question)
    assert len(calls) == 1
    assert talk.model.prefixes is not None
    assert talk.model.prefixes.reused > 4
