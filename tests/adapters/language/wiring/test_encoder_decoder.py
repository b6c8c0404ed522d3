"""Encoder-decoder language models: source and target, logits, loss, folders, LoRA, and who may attach."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BartConfig, BartForConditionalGeneration, T5ForConditionalGeneration

from inlay.adapters.adapter import Adapter
from inlay.adapters.backbone import Backbone
from inlay.adapters.compatibility.verdict import IncompatibleBackbone
from inlay.adapters.conversation.layout import Layout, LayoutError
from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.core.batch import collate
from inlay.adapters.core.encode import encode
from inlay.adapters.inputs import LinearConfig
from inlay.adapters.language.labels import IGNORE
from inlay.adapters.language.model import LanguageModel, LanguageModelError
from inlay.adapters.llm_parts.lora import LoraConfig, LoraPart

IMAGE = MediaPart("image", "x.png")
BLIP2 = Layout.published("blip2")


def turns(*texts: str) -> tuple[Message, ...]:
    roles = ("user", "assistant")
    return tuple(Message(roles[index % 2], (TextPart(text),)) for index, text in enumerate(texts))


@pytest.mark.parametrize("template", ["blip2", "instructblip", "minigpt4", "vicuna_v1"])
def test_target_is_the_last_answer_and_eos_whatever_the_template(llm_of: Any, template: str) -> None:
    llm = llm_of("t5")
    row = encode(turns("what?", "red", "sure?", "yes of course"), Layout.published(template), llm, {})
    assert row.target.tolist() == llm.tokenizer("yes of course").input_ids
    assert row.target[-1] == llm.tokenizer.eos_token_id


def test_source_is_everything_before_the_last_answer_with_the_tokenizers_own_eos(llm_of: Any) -> None:
    llm = llm_of("t5")
    row = encode(turns("what?", "red", "sure?", "yes"), BLIP2, llm, {})
    assert row.ids.tolist() == llm.tokenizer("what? red\nsure?").input_ids
    assert (row.labels == IGNORE).all()


def test_media_go_to_the_source_in_front_of_the_text(llm_of: Any) -> None:
    llm = llm_of("t5")
    messages = (Message("user", (IMAGE, TextPart("what?"))), Message("assistant", (TextPart("red"),)))
    row = encode(messages, BLIP2, llm, {"image": 3})
    assert row.slots.tolist() == [True] * 3 + [False] * (len(row.ids) - 3)
    assert row.ids[3:].tolist() == llm.tokenizer("what?").input_ids


def test_a_prompt_alone_is_the_whole_source_of_a_generation(llm_of: Any) -> None:
    llm = llm_of("t5")
    row = encode(turns("what?", "red", "sure?"), BLIP2, llm, {}, generation=True)
    assert row.ids.tolist() == llm.tokenizer("what? red\nsure?").input_ids
    assert row.target is None


def test_a_decoder_only_model_has_no_target(llm_of: Any) -> None:
    llm = llm_of("opt")
    row = encode(turns("what?", "red"), BLIP2, llm, {})
    assert row.target is None
    assert collate([row], llm.pad_id).target is None


def test_logits_and_loss_equal_the_models_own_on_a_ragged_batch(llm_of: Any) -> None:
    llm = llm_of("t5")
    rows = [encode(turns("what?", "red"), BLIP2, llm, {}), encode(turns("how many?", "two of them"), BLIP2, llm, {})]
    batch = collate(rows, llm.pad_id)
    theirs = llm.model(input_ids=batch.ids, attention_mask=batch.mask, labels=batch.target)
    embeddings = llm.embed(batch.ids)
    kept, targets = llm.supervised(batch.labels, batch.target)
    everything = llm.logits(embeddings, batch.mask, target=batch.target)
    torch.testing.assert_close(everything, theirs.logits, atol=1e-6, rtol=0)
    labelled = llm.logits(embeddings, batch.mask, kept, batch.target)
    torch.testing.assert_close(labelled, everything[kept], atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.nn.functional.cross_entropy(labelled, targets), theirs.loss)


def test_without_a_target_the_logits_are_those_of_the_first_step(llm_of: Any) -> None:
    llm = llm_of("t5")
    ids = llm.tokenizer("how many squares are there?", return_tensors="pt").input_ids
    first = llm.logits(llm.embed(ids), torch.ones_like(ids))
    start = torch.tensor([[llm.model.config.decoder_start_token_id]])
    torch.testing.assert_close(first, llm.model(input_ids=ids, decoder_input_ids=start).logits)


def test_a_decoder_without_a_start_token_is_refused(llm_of: Any) -> None:
    llm = llm_of("t5")
    llm.model.config.decoder_start_token_id = None
    with pytest.raises(LanguageModelError, match="decoder_start_token_id"):
        llm.logits(torch.zeros(1, 2, 32), torch.ones(1, 2, dtype=torch.long))


def test_a_target_needs_an_eos(llm_of: Any) -> None:
    llm = llm_of("t5")
    llm.tokenizer.eos_token = None
    with pytest.raises(LanguageModelError, match="EOS"):
        encode(turns("what?", "red"), BLIP2, llm, {})


def test_bart_s_bias_behind_the_head_is_part_of_the_loss(llm_of: Any) -> None:
    torch.manual_seed(0)
    sizes = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "max_position_embeddings": 64}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48}
    tokenizer = llm_of("t5").tokenizer
    bart = BartForConditionalGeneration(BartConfig(vocab_size=len(tokenizer), pad_token_id=2, **sizes, **heads))
    torch.nn.init.normal_(bart.final_logits_bias)
    llm = LanguageModel(bart, tokenizer)
    batch = collate([encode(turns("what?", "red"), BLIP2, llm, {})], llm.pad_id)
    embeddings = llm.embed(batch.ids)
    theirs = bart(inputs_embeds=embeddings, attention_mask=batch.mask, labels=batch.target).loss
    ours = llm.loss(embeddings, batch.mask, llm.plan(batch.labels, batch.mask, batch.target), batch.target)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)


def test_relative_positions_set_no_limit_to_the_text(llm_of: Any) -> None:
    row = encode(turns("why? " * 300, "no"), BLIP2, llm_of("t5"), {})
    assert len(row.ids) > 256


def test_an_answer_longer_than_the_context_is_refused_too(llm_of: Any) -> None:
    with pytest.raises(LayoutError, match=r"card-7: \d+ positions .*context of 256"):
        encode(turns("why?", "no " * 300), BLIP2, llm_of("opt"), {}, name="card-7")


def test_batch_knows_which_samples_have_labels_on_either_side(llm_of: Any) -> None:
    for family in ("opt", "t5"):
        llm = llm_of(family)
        batch = collate([encode(turns("what?", "red"), BLIP2, llm, {})], llm.pad_id)
        assert batch.supervised.tolist() == [True]
    assert collate([encode(turns("what?"), BLIP2, llm, {}, generation=True)], 0).supervised.tolist() == [False]


def test_port_names_the_family_and_the_depth_of_both_stacks(llm_of: Any) -> None:
    port = llm_of("t5", num_decoder_layers=3).port
    assert (port.family, port.width) == ("t5", 32)
    assert port.settings == {"layers": 2, "decoder_layers": 3, "vocabulary": 378}


def test_folder_loads_through_from_pretrained(tmp_path: Path, llm_of: Any) -> None:
    llm = llm_of("t5")
    llm.model.save_pretrained(tmp_path)
    llm.tokenizer.save_pretrained(tmp_path)
    loaded = Backbone.from_pretrained(tmp_path, dtype="float32").llm
    assert isinstance(loaded.model, T5ForConditionalGeneration)
    assert loaded.port.weights == llm.port.weights
    assert loaded.port.tokenizer == llm.port.tokenizer


def test_lora_attaches_to_both_stacks_and_comes_off(llm_of: Any) -> None:
    llm = llm_of("t5")
    part = LoraPart.for_model(llm.model, LoraConfig(r=2, targets=("q", "v")))
    assert {name.split(".")[0] for name in part.targets} == {"encoder", "decoder"}
    embeddings, mask = torch.randn(1, 5, 32), torch.ones(1, 5, dtype=torch.long)
    with torch.no_grad():
        before = llm.logits(embeddings, mask)
        for parameter in part.parameters():
            torch.nn.init.normal_(parameter)
        attachment = part.attach(llm.model)
        assert not torch.allclose(llm.logits(embeddings, mask), before)
        attachment.close()
        assert torch.equal(llm.logits(embeddings, mask), before)


def test_gradients_reach_the_projector_and_nothing_else(backbone_of: Any, image_of: Any) -> None:
    backbone = backbone_of("t5")
    adapter = plain_adapter(backbone)
    user = Message("user", (MediaPart("image", image_of()), TextPart("what?")))
    model = adapter.attach(backbone)
    model(model.batch([(user, Message("assistant", (TextPart("red"),)))])).loss.backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in adapter.parameters())
    assert all(parameter.grad is None for parameter in backbone.parameters())


@pytest.mark.parametrize(("trained_on", "other"), [("opt", "t5"), ("t5", "opt")])
def test_adapter_of_one_family_refuses_the_other_with_a_table(backbone_of: Any, trained_on: str, other: str) -> None:
    adapter = plain_adapter(backbone_of(trained_on))
    with pytest.raises(IncompatibleBackbone) as caught:
        adapter.attach(backbone_of(other))
    rows = {(row.port, row.field): (row.expected, row.found) for row in caught.value.report.rows}
    assert rows["llm", "family"] == (trained_on, other)
    assert ("llm", "decoder_layers") in rows


def plain_adapter(backbone: Any) -> Adapter:
    return Adapter.for_backbone(backbone, system="blip2", name="tiny", layout=BLIP2, inputs={"image": LinearConfig()})
