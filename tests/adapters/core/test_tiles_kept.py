"""Tiled pictures in bundles, caches, rankings and batches of several adapters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiled import RULES, asked, picture, tiled

from inlay.adapters import Adapter, Backbone
from inlay.adapters.bundles.bundle_io import from_bundle
from inlay.adapters.chat.kv_cache import PrefixCache
from inlay.adapters.chat.rank_answers import rank_answers
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import Message, TextPart
from inlay.adapters.llm_parts.lora import LoraConfig
from inlay.hub.errors import BundleError

pytestmark = pytest.mark.usefixtures("no_gradients")


def test_without_tiling_ids_and_logits_are_those_of_a_layout_that_knows_no_tiling(
    backbone_of: Any, image_of: Any
) -> None:
    backbone = backbone_of()
    plain = tiled(backbone, None)
    model = plain.attach(backbone)
    batch = model.batch([asked(picture(image_of(1, (70, 9))), "what?")])
    assert int(batch.slots.sum()) == model.tokens["image"]
    assert not batch.tiles
    assert plain.newline is None
    assert "tiling" not in plain.layout.spec.model_dump()


@pytest.mark.parametrize("rule", RULES)
def test_cached_features_give_the_same_embeddings(long_backbone_of: Any, image_of: Any, rule: str) -> None:
    backbone = long_backbone_of()
    model = tiled(backbone, rule).attach(backbone)
    parts = [picture(image_of(1, (60, 17))), picture(image_of(2, (20, 20)))]
    encoder, tiler = backbone.encoder("image"), model.tilers()["image"]
    squares = {id(part): tiler.rule.cut(part.source, 16, tiler.grid(part.source)) for part in parts}
    held = {key: encoder.encode(encoder.preprocess(own, "squash")) for key, own in squares.items()}
    rows = [model.encode(asked(*parts, "what?"))]
    cached = model.collate(rows, features=lambda part: held[id(part)])
    assert not cached.inputs
    torch.testing.assert_close(model.embeddings(cached), model.embeddings(model.collate(rows)), atol=1e-6, rtol=0)


@pytest.mark.parametrize("rule", RULES)
def test_a_saved_adapter_tiles_alike(backbone_of: Any, image_of: Any, tmp_path: Path, rule: str) -> None:
    backbone = backbone_of()
    adapter = tiled(backbone, rule, lora=LoraConfig(r=2, targets=("q_proj",)))
    rows = [asked(picture(image_of(1, (60, 17))), "what?")]
    adapter.attach(backbone)
    adapter.save_pretrained(tmp_path / "bundle")
    adapter.detach()
    again = Adapter.from_pretrained(tmp_path / "bundle")
    assert again.layout == adapter.layout
    names = [part.name for part in again.parts()]
    assert ("inputs.image.newline" in names) == (rule == "anyres")
    before = _logits(adapter, backbone, rows)
    assert torch.equal(_logits(again, backbone, rows), before)  # its canary is checked too


def _logits(adapter: Adapter, backbone: Backbone, rows: Any) -> Any:
    model = adapter.attach(backbone)
    try:
        return model(model.batch(rows), logits="all").logits
    finally:
        adapter.detach()


@pytest.mark.parametrize("rule", RULES)
def test_a_second_question_reuses_the_picture_and_gets_the_same_answer(
    long_backbone_of: Any, image_of: Any, rule: str
) -> None:
    backbone = long_backbone_of()
    model = tiled(backbone, rule).eval().attach(backbone)
    first = asked(picture(image_of(1, (60, 17))), "what?", answer=None)
    more = (*asked(picture(image_of(1, (60, 17))), "what?"), *asked(picture(image_of(2, (9, 50))), "and?", answer=None))
    plain = [model.replies([row], max_new_tokens=6)[0].text for row in (first, more)]
    model.prefixes = PrefixCache()
    cached = [model.chat(list(row), max_new_tokens=6).text for row in (first, more)]
    assert cached == plain
    assert model.prefixes.reused > int(model.encode(first, generation=True).slots.sum())


def test_another_tiling_does_not_reuse_the_picture(backbone_of: Any, image_of: Any) -> None:
    backbone = backbone_of()
    model = tiled(backbone, "tiles:1-4").eval().attach(backbone)
    row = asked(picture(image_of(1, (60, 17))), "what?", answer=None)
    prefixes = PrefixCache()
    for rule in ("tiles:1-4", "tiles:4-4"):
        layout = Layout(template="vicuna_v1", tiling=rule)
        encoded = model.encode(row, layout=layout, generation=True)
        prefixes.write(model, encoded, layout, max_new_tokens=2)
    assert prefixes.reused <= int((~encoded.slots).nonzero()[0]) + int(encoded.slots.nonzero()[0])


def test_ranked_answers_are_those_of_whole_batches(backbone_of: Any, image_of: Any) -> None:
    backbone = backbone_of()
    model = tiled(backbone, "anyres").eval().attach(backbone)
    question = asked(picture(image_of(1, (60, 17))), picture(image_of(2, (9, 50))), "what?", answer=None)
    answers = ("red", "a blue star")
    ranked = rank_answers(model, [question], answers)[0]
    batches = [model.batch([(*question, Message("assistant", (TextPart(text),)))]) for text in answers]
    expected = {text: -float(model(batch).loss) for text, batch in zip(answers, batches, strict=True)}
    assert {item.text: item.score for item in ranked} == pytest.approx(expected, abs=1e-5)


def test_adapters_of_one_batch_tile_each_by_its_own_layout(backbone_of: Any, image_of: Any) -> None:
    backbone = backbone_of()
    adapters = [tiled(backbone, rule, seed).eval() for seed, rule in enumerate(("anyres", "tiles:1-4", None))]
    rows = [asked(picture(image_of(n, (60, 17))), "what?", answer=None) for n in range(3)]
    alone = []
    for adapter, row in zip(adapters, rows, strict=True):
        alone += adapter.attach(backbone).answer([row], max_new_tokens=5)
        adapter.detach()
    model = adapters[0].attach(backbone)
    assert model.answer(rows, adapters=adapters, max_new_tokens=5) == alone


@pytest.mark.parametrize("change", [{"tiling": "mosaic"}, {"tiling": None}, {"tiling": "tiles:1-12"}])
def test_a_bundle_whose_tiling_does_not_fit_its_parts_is_refused(backbone_of: Any, change: dict[str, Any]) -> None:
    bundle = tiled(backbone_of(), "anyres").bundle("float32")
    layout = bundle.manifest.layout.model_copy(update=change)
    object.__setattr__(bundle, "manifest", bundle.manifest.model_copy(update={"layout": layout}))
    with pytest.raises(BundleError, match="tiling"):
        from_bundle(bundle, Adapter)
