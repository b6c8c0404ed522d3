"""Adapters that write signal tokens: states, replies, bundles, and backbones that lack a generator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from loud_llm import loud, scripted
from PIL import Image

from inlay.adapters.adapter import Adapter
from inlay.adapters.backbone import Backbone
from inlay.adapters.chat.reply import ReplyError
from inlay.adapters.compatibility.canary import CanaryError
from inlay.adapters.compatibility.verdict import IncompatibleBackbone
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import MadePart, MediaPart, Message, TextPart
from inlay.adapters.conversation.segments import LayoutError
from inlay.adapters.core.parts import AdapterError
from inlay.adapters.generators import Generator, GeneratorError
from inlay.adapters.inputs import LinearConfig
from inlay.adapters.llm_parts.lora import LoraConfig
from inlay.adapters.llm_parts.signal_tokens import Signals, locate
from inlay.adapters.llm_parts.token_rows import TokensConfig
from inlay.adapters.media.audio import Sound
from inlay.adapters.outputs import MlpOutputConfig, QFormerOutputConfig, TransformerOutputConfig
from inlay.hub.errors import BundleError

SMALL: Any = {"hidden": 16, "ffn": 24, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}
QFORMER: Any = {"hidden": 16, "ffn": 24, "heads": 2}
QUICK: Any = {"image": {"steps": 1, "seed": 0}, "audio": {"steps": 1, "seed": 0, "size": 0.05}}


def ask(text: str = "what is shown?") -> Message:
    return Message("user", (TextPart(text),))


def say(*parts: Any) -> Message:
    return Message("assistant", tuple(TextPart(part) if isinstance(part, str) else part for part in parts))


@pytest.fixture
def world_of(llm_of: Any, clip_of: Any, generator_of: Any) -> Any:
    """A backbone that sees pictures and makes pictures and sounds."""

    def make(family: str = "llama", image: Any = None, makes: tuple[str, ...] = ("image", "audio")) -> Backbone:
        made: Any = {name: generator_of(name) for name in makes}
        if image is not None:
            made["image"] = image
        return Backbone(llm_of(family), {"image": clip_of()}, generators=made)

    return make


def adapter_for(backbone: Backbone, seed: int = 3, template: str = "vicuna_v1", **changes: Any) -> Adapter:
    torch.manual_seed(seed)
    adapter = Adapter.for_backbone(
        backbone,
        system="nextgpt",
        name=f"any-{seed}",
        layout=Layout(template=template),
        inputs={"image": LinearConfig()},
        outputs={"image": TransformerOutputConfig(**SMALL), "audio": MlpOutputConfig(hidden=12)},
        tokens=TokensConfig.numbered(backbone.llm.width, image=3, audio=2, other=("<Img>",)),
        lora=LoraConfig(r=2, alpha=4.0, targets=("q_proj", "v_proj")),
        **changes,
    )
    for parameter in adapter.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2)
    return adapter


def test_states_are_hidden_plus_embedding_where_signals_are_read(world_of: Any) -> None:
    backbone = world_of()
    adapter = adapter_for(backbone)
    model = adapter.attach(backbone)
    batch = model.batch(
        [
            [ask(), say("here ", MadePart("image", "red"), " and ", MadePart("image", "two"))],
            [ask("a sound please"), say(MadePart("audio", "rain"))],
        ]
    )
    assert [part.caption for part in batch.made] == ["red", "two", "rain"]
    states = model.signal_states(batch)
    assert {name: tuple(tensor.shape) for name, tensor in states.items()} == {"image": (2, 3, 32), "audio": (1, 2, 32)}
    inside = backbone.llm.model.model(
        inputs_embeds=model.embeddings(batch),
        attention_mask=batch.mask,
        position_ids=(batch.mask.cumsum(1) - 1).clamp(min=0),
        output_hidden_states=True,
    ).hidden_states[-1]
    first = int((batch.ids[0] == adapter.signals.ids["image"][0]).nonzero()[0])
    expected = inside[0, first : first + 3] + adapter.tokens.input[1:4]
    torch.testing.assert_close(states["image"][0], expected)
    assert [adapter.condition(name, tensor).shape for name, tensor in states.items()] == [(2, 9, 16), (1, 1, 16)]
    both = model(batch, states=True)
    torch.testing.assert_close(both.signal_states["image"], states["image"])
    torch.testing.assert_close(both.loss, model(batch).loss)


def test_signals_are_trained_on_and_every_part_gets_a_gradient(world_of: Any) -> None:
    backbone = world_of()
    adapter = adapter_for(backbone)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    model = adapter.attach(backbone)
    batch = model.batch([[ask(), say("here ", MadePart("image")), ask(), say(MadePart("audio"))]])
    signals = [*adapter.signals.ids["image"], *adapter.signals.ids["audio"]]
    assert set(signals) <= set(batch.labels.flatten().tolist())
    output = model(batch, states=True)
    loss: Any = output.loss
    for name, states in output.signal_states.items():
        generator: Generator = backbone.generator(name)
        loss = loss + (adapter.condition(name, states) - generator.encode_text(["red"])).square().mean()
    loss.backward()
    assert {part.name for part in adapter.parts()} == {
        "inputs.image",
        "outputs.image",
        "outputs.audio",
        "tokens",
        "lora",
    }
    silent = [
        part.name
        for part in adapter.parts()
        if not any(p.grad is not None and p.grad.any() for p in part.module.parameters())
    ]
    assert silent == ["inputs.image"]  # no picture was shown
    adapter.detach()
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())
    assert all(parameter.grad is None for parameter in backbone.parameters())


@pytest.mark.parametrize("template", ["vicuna_v1", "plain", "minigpt4", "instructblip", "chat"])
def test_media_of_the_assistant_are_signals_in_every_template(world_of: Any, template: str) -> None:
    backbone = world_of()
    model = adapter_for(backbone, template=template).attach(backbone)
    turns = [ask(), say("red ", MadePart("image"), " blue"), ask("two"), say(MadePart("audio"))]
    batch = model.batch([turns])
    text = backbone.llm.tokenizer.decode(batch.ids[0])
    assert "red [IMG0][IMG1][IMG2] blue" in text
    assert "[AUD0][AUD1]" in text
    assert [part.modality for part in batch.made] == ["image", "audio"]
    again = model.batch([turns[:3]], generation=True)
    assert len(locate(again.ids, model.adapter.signals.ids["image"])) == 1


def test_a_medium_without_signal_tokens_is_an_error(world_of: Any) -> None:
    model = adapter_for(backbone := world_of()).attach(backbone)
    with pytest.raises(LayoutError, match="of type 'video'; this model generates: image, audio"):
        model.batch([[ask(), say(MadePart("video"))]])
    with pytest.raises(LayoutError, match="reserved"):
        model.batch([[ask(), say("\ue0101\ue011", MadePart("image"))]])


def test_what_people_write_makes_no_medium(world_of: Any) -> None:
    model = adapter_for(backbone := world_of()).attach(backbone)
    batch = model.batch([[ask("say [IMG0][IMG1][IMG2]"), say("no [IMG0]")]])
    assert len(model.signal_states(batch)["image"]) == 0


@pytest.mark.parametrize(
    ("media", "said"),
    [
        ({"images": {"steps": 2}}, "media: expected image, audio, video, got 'images'"),
        ({"image": {"step": 2}}, "media: image: expected .*steps.*, got step"),
    ],
)
def test_a_misspelt_option_of_generation_is_refused_before_anything_is_written(
    world_of: Any, media: Any, said: str
) -> None:
    model = adapter_for(backbone := world_of()).attach(backbone)
    with pytest.raises(GeneratorError, match=said):
        model.chat([ask()], media=media)


def test_a_conversation_has_one_reply_and_no_conversation_has_none(world_of: Any) -> None:
    model = adapter_for(backbone := world_of()).attach(backbone)
    with pytest.raises(ReplyError, match="num_return_sequences: expected 1"):
        model.chat([ask()], num_return_sequences=2, do_sample=True)
    assert [*model.replies([]), *model.answer([]), *model.answer([], adapters=[])] == []
    assert len(model.answer([[ask()], [ask()]], num_return_sequences=2, num_beams=2, max_new_tokens=4)) == 4


def test_a_reply_holds_words_and_media_in_order(world_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = adapter_for(backbone := world_of()).attach(backbone)
    scripted(model.adapter, "red[IMG0][IMG1][IMG2] and[AUD0][AUD1] two[IMG0][IMG1][IMG2]", monkeypatch)
    reply = model.chat([ask()], media=QUICK)
    kinds = [part.text if isinstance(part, TextPart) else part.modality for part in reply.parts]
    assert kinds == ["red", "image", "and", "audio", "two", "image"]
    assert reply.text == "red and two"
    assert [type(medium) for medium in reply.media] == [Image.Image, Sound, Image.Image]
    assert reply.missing == ()
    history = [ask(), Message("assistant", reply.parts), ask("and now?")]
    monkeypatch.undo()
    assert model.chat(history, media=QUICK, max_new_tokens=2).tokens >= 1


def test_media_are_those_of_the_training_path(world_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = adapter_for(backbone := world_of()).attach(backbone)
    scripted(model.adapter, " red[IMG0][IMG1][IMG2]", monkeypatch)
    (one, two) = model.replies([[ask()], [ask("how many squares are there in the picture?")]], media=QUICK)
    for index, (reply, question) in enumerate(
        ((one, "what is shown?"), (two, "how many squares are there in the picture?"))
    ):
        batch = model.batch([[ask(question), say("red", MadePart("image"))]])
        conditioning = model.adapter.condition("image", model.signal_states(batch)["image"])
        (made,) = backbone.generator("image").generate(conditioning, steps=1, seed=index)
        given = torch.tensor(list(reply.media[0].tobytes())).int()
        assert (given - torch.tensor(list(made.tobytes())).int()).abs().max() <= 1


def test_the_last_signal_token_counts(world_of: Any) -> None:
    model = adapter_for(backbone := world_of()).attach(backbone)
    loud(model.adapter, "[IMG0]")
    # The limit comes right behind the first signal token: the group is completed, and its last state exists.
    reply = model.chat([ask()], media=QUICK, max_new_tokens=1)
    assert [part.modality for part in reply.parts] == ["image"]
    assert reply.tokens == 3
    assert len(reply.media) == 1
    beams = model.chat([ask()], media=QUICK, max_new_tokens=5, num_beams=2)
    assert len(beams.media) >= 1


def test_a_backbone_without_a_generator_answers_and_says_what_is_missing(
    world_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = adapter_for(world_of())
    poor = world_of(makes=("audio",))
    report = adapter.compatibility(poor)
    assert (report.verdict, report.absent) == ("exact", ("generate.image",))
    with pytest.raises(IncompatibleBackbone, match="lacks generators"):
        adapter.attach(poor, strict=True)
    model = adapter.attach(poor)
    scripted(adapter, "red[IMG0][IMG1][IMG2] and[AUD0][AUD1]", monkeypatch)
    reply = model.chat([ask()], media=QUICK)
    assert reply.text == "red and"
    assert [type(medium) for medium in reply.media] == [Sound]
    assert [part.modality for part in reply.parts if isinstance(part, MadePart)] == ["image", "audio"]
    (why,) = reply.missing
    assert "no generator for 'image'" in why
    assert "generate_image=..." in why


def test_an_adapter_for_one_width_is_refused_on_another(world_of: Any, generator_of: Any, parts_of: Any) -> None:
    adapter = adapter_for(world_of())
    other = generator_of("image", parts_of("image", width=32, prediction="v_prediction"))
    with pytest.raises(IncompatibleBackbone) as caught:
        adapter.attach(world_of(image=other))
    table = str(caught.value)
    assert "generate.image  width            16        32" in table
    assert "generate.image  prediction_type  epsilon   v_prediction" in table


def test_a_bundle_with_output_projectors_round_trips(world_of: Any, tmp_path: Path) -> None:
    backbone = world_of()
    adapter = adapter_for(backbone)
    model = adapter.attach(backbone)
    adapter.save_pretrained(tmp_path / "bundle", dtype="float32")
    batch = model.batch([[ask(), say(MadePart("image"))]])
    expected = adapter.condition("image", model.signal_states(batch)["image"])
    adapter.detach()
    again = Adapter.from_pretrained(tmp_path / "bundle")
    assert again.state_dict().keys() == adapter.state_dict().keys()
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in adapter.state_dict().items())
    assert again.tokens is not None
    assert again.tokens.config == adapter.tokens.config
    second = again.attach(backbone)
    got = again.condition("image", second.signal_states(second.batch([[ask(), say(MadePart("image"))]]))["image"])
    assert torch.equal(got, expected)


def test_parts_must_agree_on_the_signal_tokens(world_of: Any, tmp_path: Path) -> None:
    backbone = world_of()
    adapter = adapter_for(backbone)
    with pytest.raises(
        AdapterError, match=r"outputs\.image: it reads 3 signal tokens, the adapter's token rows have 0"
    ):
        Adapter(
            system="nextgpt",
            name="x",
            interface=adapter.interface,
            layout=adapter.layout,
            inputs={},
            outputs={"image": adapter.outputs["image"]},
        )
    with pytest.raises(AdapterError, match=r"it gives 9 vectors of 16, the port generate\.image takes None of None"):
        Adapter(
            system="nextgpt",
            name="x",
            interface={"llm": backbone.llm.port},
            layout=adapter.layout,
            inputs={},
            outputs={"image": adapter.outputs["image"]},
            tokens=adapter.tokens,
        )
    adapter.tokens.config = TokensConfig.numbered(32, image=3, audio=1, other=("<Img>", "</Img>"))
    adapter.save_pretrained(tmp_path / "bundle")
    with pytest.raises(BundleError, match=r"outputs\.audio: it reads 2 signal tokens"):
        Adapter.from_pretrained(tmp_path / "bundle")


def test_two_adapters_in_turn(world_of: Any) -> None:
    backbone = world_of()
    first, second = adapter_for(backbone, 3), adapter_for(backbone, 4)
    turns = [ask(), say(MadePart("image"))]
    model = first.attach(backbone)
    alone = model.signal_states(model.batch([turns]))["image"]
    other = model.swap(second)
    assert not torch.allclose(other.signal_states(other.batch([turns]))["image"], alone)
    back = other.swap(first)
    assert torch.equal(back.signal_states(back.batch([turns]))["image"], alone)
    assert second.signals == Signals()


def test_words_are_streamed_as_they_are_written(world_of: Any) -> None:
    model = adapter_for(backbone := world_of()).attach(backbone)
    heard: list[str] = []
    reply = model.chat([ask()], max_new_tokens=12, on_text=heard.append, media=QUICK)
    said = backbone.llm.decode(model.generate(model.batch([[ask()]], generation=True), max_new_tokens=12)[0])
    assert "".join(heard).strip() == said
    assert reply.text.replace(" ", "") == said.replace(" ", "")
    with pytest.raises(ReplyError, match="without beam search"):
        model.chat([ask()], on_text=heard.append, num_beams=2)


def test_inputs_and_outputs_together(world_of: Any, image_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = adapter_for(backbone := world_of()).attach(backbone)
    scripted(model.adapter, "[IMG0][IMG1][IMG2]", monkeypatch)
    shown = Message("user", (MediaPart("image", image_of()), TextPart("make it red")))
    seen = model.chat([shown], media=QUICK)
    assert seen.text == ""
    assert seen.media[0].tobytes() != model.chat([ask("make it red")], media=QUICK).media[0].tobytes()


def test_the_canary_hears_a_dead_output_projector(world_of: Any, tmp_path: Path) -> None:
    backbone = world_of()
    adapter = adapter_for(backbone)
    adapter.attach(backbone)
    adapter.save_pretrained(tmp_path / "bundle", dtype="float32")
    adapter.detach()
    again = Adapter.from_pretrained(tmp_path / "bundle")
    assert again.canary is not None
    assert {name: len(values) for name, values in again.canary.conditioning.items()} == {"image": 16, "audio": 16}
    again.attach(backbone)
    again.detach()
    promised = again.canary
    with torch.no_grad():
        again.outputs["audio"].layers[0].weight.zero_()
    again.canary = promised
    with pytest.raises(CanaryError, match="output projector for audio"):
        again.attach(backbone)
    assert backbone.attached is None


def test_the_card_names_the_generators(world_of: Any, tmp_path: Path) -> None:
    backbone = world_of()
    adapter_for(backbone).save_pretrained(tmp_path / "bundle")
    card = (tmp_path / "bundle" / "README.md").read_text(encoding="utf-8")
    assert "- tiny/audio\n- tiny/image\n" in card
    assert 'load_model(".")' in card
    assert "pipeline_tag: any-to-any" in card
    assert "| outputs.image | transformer |" in card
    assert "| tokens | rows |" in card


def test_three_output_projectors_round_trip_bit_for_bit(world_of: Any, tmp_path: Path) -> None:
    backbone = world_of(makes=("image", "audio", "video"))
    torch.manual_seed(5)
    adapter = Adapter.for_backbone(
        backbone,
        system="nextgpt",
        name="three",
        layout=Layout(template="vicuna_v1"),
        inputs={"image": LinearConfig()},
        outputs={
            "image": TransformerOutputConfig(**SMALL),
            "audio": MlpOutputConfig(),
            "video": QFormerOutputConfig(**QFORMER),
        },
        tokens=TokensConfig.numbered(32, image=4, video=24, audio=8),
    )
    adapter.save_pretrained(tmp_path / "bundle")
    again = Adapter.from_pretrained(tmp_path / "bundle")
    saved, read = adapter.state_dict(), again.state_dict()
    assert saved.keys() == read.keys()
    assert all(torch.equal(saved[name], read[name]) for name in saved)
    assert {name.split(".")[1] for name in saved if name.startswith("outputs.")} == {"image", "audio", "video"}
    assert again.tokens is not None
    assert len(again.tokens.config.strings) == 36
    again.attach(backbone)
    assert [len(ids) for ids in again.signals.ids.values()] == [4, 24, 8]


def test_states_from_another_device_are_conditioned(world_of: Any) -> None:
    conditioning = adapter_for(world_of()).to("meta").condition("image", torch.zeros(2, 3, 32))
    assert (conditioning.device.type, conditioning.shape) == ("meta", (2, 9, 16))
