"""concepts/architecture.md names files and rooms that exist, and follows a sample in the order in which it travels."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from inlay.adapters import parse_messages

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "concepts" / "architecture.md").read_text(encoding="utf-8")
STEPS = [
    (file, calls.rpartition("`, `")[2].partition("(")[0].rpartition(".")[2])
    for file, calls in re.findall(r"^\| \d+ \| `([a-z_/]+)\.py` \| `(.*?)` \|", PAGE, re.MULTILINE)
]
"""File and function of each step of the table; of two functions the second."""


def test_every_file_and_room_of_the_page_exists() -> None:
    rooms = [ROOT / "recipes" / room for room in ("", "data", "evaluation", "training", "commands")]
    places = [ROOT, ROOT / "hub", ROOT / "adapters", *rooms, ROOT / "tests" / "packaging"]
    named = re.findall(r"`([a-z_/]+(?:\.py|/))`", PAGE)
    assert [name for name in named if not any((place / name).exists() for place in places)] == []


def test_a_sample_enters_the_files_in_the_order_of_the_page(backbone_of: Any, adapter_of: Any, image_of: Any) -> None:
    assert len(STEPS) == len(set(STEPS)) <= 14
    backbone = backbone_of()
    model = adapter_of(backbone).attach(backbone)
    content = [{"type": "image", "image": image_of()}, {"type": "text", "text": "what?"}]
    raw = [{"role": "user", "content": content}, {"role": "assistant", "content": "a star"}]
    model(model.batch([parse_messages(raw)]), logits="none")  # tests of fast paths run once
    entered: list[tuple[str, str]] = []

    def profile(frame: Any, event: str, _: Any) -> None:
        name = str(frame.f_globals.get("__name__", "")).removeprefix("inlay.adapters.").replace(".", "/")
        step = (name, frame.f_code.co_name)
        if event == "call" and step in STEPS and step not in entered:
            entered.append(step)

    sys.setprofile(profile)
    try:
        messages = parse_messages(raw)
        rows = [model.encode(messages)]
        batch = model.collate(rows)
        model.predict(model.embeddings(batch), batch, logits="none")
    finally:
        sys.setprofile(None)
    encode = ("core/encode", "encode")  # calls the two steps before it
    assert encode in entered
    assert [step for step in entered if step != encode] == [step for step in STEPS if step != encode]
