"""The line that says how many positions pictures and texts take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inlay.adapters import Adapter
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.inputs import MlpConfig
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.data.token_budget import token_budget


def samples_of(*texts: str, pictures: int = 1) -> list[Sample]:
    shown = (MediaPart("image", Path("a.png")),) * pictures
    return [
        Sample(f"s{n}", (Message("user", (*shown, TextPart(text))), Message("assistant", (TextPart("red"),))), "rows")
        for n, text in enumerate(texts)
    ]


@pytest.fixture
def model_of(backbone_of: Any) -> Any:
    def make(tiling: str | None) -> Any:
        backbone = backbone_of()
        layout = Layout(template="vicuna_v1", tiling=tiling)
        inputs = {"image": MlpConfig()}
        return Adapter.for_backbone(backbone, system="llava", name="a", layout=layout, inputs=inputs).attach(backbone)

    return make


@pytest.mark.parametrize(
    ("tiling", "said"),
    [
        (None, "a picture takes 4, at most 2 in a row"),
        ("anyres", "a picture takes 4 to 24 (up to 5 tiles), at most 2 in a row"),
        ("tiles:1-6", "a picture takes 4 to 28 (up to 7 tiles), at most 2 in a row"),
        ("split:3", "a picture takes 16 to 40 (up to 10 tiles), at most 2 in a row"),
    ],
)
def test_it_names_the_bounds_of_a_picture(model_of: Any, tiling: str | None, said: str) -> None:
    model = model_of(tiling)
    line = token_budget(model, model.adapter.layout, samples_of("what?", pictures=2))
    assert line.startswith(f"{said}; text at most ")
    assert line.endswith("; context 256")


def test_the_longest_text_is_not_underestimated(model_of: Any) -> None:
    model = model_of(None)
    texts = ("what?", "how many squares are there? " * 5)
    line = token_budget(model, model.adapter.layout, samples_of(*texts))
    told = int(line.partition("text at most ")[2].partition(";")[0])
    messages = (Message("user", (TextPart(texts[1]),)), Message("assistant", (TextPart("red"),)))
    assert 0 <= told - len(model.encode(messages).ids) <= 8


def test_a_modality_without_media_is_not_named(model_of: Any) -> None:
    model = model_of("anyres")
    assert token_budget(model, model.adapter.layout, samples_of("a", pictures=0)).startswith("text at most")
