"""The code of docs/extending.md runs, and what it registers is trained, saved and loaded."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from inlay.adapters import Adapter, Layout, parse_messages
from inlay.adapters.conversation.templates.registry import TEMPLATES
from inlay.adapters.generators.registry import GENERATORS
from inlay.adapters.inputs import PROJECTORS
from inlay.adapters.outputs import OUTPUTS
from inlay.recipes.data.rows.sample import Question
from inlay.recipes.evaluation.answering import Answered
from inlay.recipes.evaluation.metric_registry import METRICS
from inlay.recipes.evaluation.metrics import choose_metric
from inlay.recipes.evaluation.scores import score

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The blocks of the page as one module; its registrations end with the test."""
    registries: list[dict[Any, Any]] = [TEMPLATES, GENERATORS, PROJECTORS, OUTPUTS, METRICS]
    before = [dict(registry) for registry in registries]
    file = tmp_path / "extending_page.py"
    file.write_text("from __future__ import annotations\n\n" + "\n\n".join(blocks()))
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("extending_page")
    sys.modules.pop("extending_page")
    for registry, known in zip(registries, before, strict=True):
        registry.clear()
        registry.update(known)


def test_every_block_is_short(page: Any) -> None:
    assert len(blocks()) == 5
    assert max(block.count("\n") for block in blocks()) < 60
    assert {"bottleneck", "mean", "alpaca", "MyPipeline"} <= {*PROJECTORS, *OUTPUTS, *TEMPLATES, *GENERATORS}
    assert "mentions" in METRICS


def test_the_metric_of_the_page_scores_answers(page: Any) -> None:
    asked = [Question(parse_messages([{"role": "user", "content": "what?"}]), "red", ("red",), "") for _ in range(2)]
    metric = choose_metric("mentions", asked)
    assert metric is not None
    answered = [Answered(question, said) for question, said in zip(asked, ("A red disc.", "blue"), strict=True)]
    assert score(metric, answered).overall == 0.5


def test_projector_and_template_of_the_page_train_and_come_back(
    page: Any, backbone_of: Any, image_of: Any, tmp_path: Path
) -> None:
    backbone = backbone_of()
    layout, config = Layout(template="alpaca"), page.BottleneckConfig(hidden=8)
    adapter = Adapter.for_backbone(backbone, system="own", name="own", layout=layout, inputs={"image": config})
    model = adapter.attach(backbone)
    content = [{"type": "image", "image": image_of()}, {"type": "text", "text": "what?"}]
    asked = {"role": "user", "content": content}
    batch = model.batch([parse_messages([asked, {"role": "assistant", "content": "a star"}])])
    loss = model(batch).loss
    loss.backward()
    assert all(parameter.grad is not None for parameter in adapter.parameters())
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter -= 0.1 * parameter.grad
    assert model(batch).loss < loss
    adapter.save_pretrained(tmp_path / "bundle")
    adapter.detach()
    loaded = Adapter.from_pretrained(tmp_path / "bundle")
    reply = loaded.attach(backbone, strict=True).chat([asked], max_new_tokens=4)
    assert reply.finish_reason in ("stop", "length")
    assert loaded.inputs["image"].config == adapter.inputs["image"].config
    assert loaded.layout == layout


def test_the_output_projector_of_the_page_gives_the_generators_shape(page: Any) -> None:
    config = page.MeanOutputConfig(width_in=6, signals=4, tokens=3, width_out=5)
    assert page.MeanOutput(config)(torch.zeros(2, 4, 6)).shape == (2, 3, 5)
