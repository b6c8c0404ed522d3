"""Answers over HTTP equal those of the library: greedy, sampled, streamed, and of several adapters in one batch."""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import partial
from io import BytesIO
from typing import Any

import pytest
import torch
from loud_llm import loud
from PIL import Image
from serve_client import Served, data_url, png, shown

from inlay.adapters.adapter import Adapter
from inlay.adapters.chat.sample_groups import sample_groups
from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.media.errors import MediaError
from inlay.adapters.model import MultimodalModel
from inlay.recipes.serve.engine import batch

QUESTION = "what is shown ?"


def model_of(adapter: Adapter) -> Any:
    return MultimodalModel(adapter.attachment.backbone, adapter)


def turn(picture: Image.Image, text: str = QUESTION) -> list[Message]:
    return [Message("user", (MediaPart("image", picture), TextPart(text)))]


@pytest.fixture
def wanted(adapters: dict[str, Adapter], image_of: Any) -> Callable[..., Any]:
    """The reply of an adapter, as the library gives it before anything is served."""

    def chat(name: str, picture: int, text: str = QUESTION, **options: Any) -> Any:
        model = model_of(adapters["a"])
        if name != "a":
            model = model.swap(adapters[name])
        try:
            return model.chat(turn(image_of(picture), text), **({"max_new_tokens": 8} | options))
        finally:
            if name != "a":
                model.swap(adapters["a"])

    return chat


@pytest.mark.parametrize("name", ["a", "b"])
def test_an_answer_equals_that_of_chat(wanted: Any, serve: Any, adapters: Any, image_of: Any, name: str) -> None:
    reply = wanted(name, 1)
    answered = serve(adapters).ask(shown(image_of(1)), name)
    choice = answered.json["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == (reply.text, reply.finish_reason)
    assert answered.json["usage"]["completion_tokens"] == reply.tokens
    assert answered.json["model"] == name


def test_the_prompt_is_counted_with_the_positions_of_its_media(served: Served, adapters: Any, image_of: Any) -> None:
    text, picture = (served.ask(content).json["usage"]["prompt_tokens"] for content in (QUESTION, shown(image_of(1))))
    assert picture >= text + 4  # the features of the picture


def test_the_pieces_of_a_stream_are_the_whole_answer(served: Served, image_of: Any) -> None:
    whole = served.ask(shown(image_of(1)), max_tokens=24)
    events = served.stream(shown(image_of(1)), max_tokens=24, stream_options={"include_usage": True})
    *chunks, last, end = events
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert end == "[DONE]"
    assert deltas[0]["role"] == "assistant"
    assert len([delta for delta in deltas if delta.get("content")]) > 3
    assert "".join(delta.get("content", "") for delta in deltas) == whole.text
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks][-2:] == [None, "length"]
    assert (last["choices"], last["usage"]) == ([], whole.json["usage"])
    assert all(chunk["usage"] is None for chunk in chunks)


def test_a_stream_has_usage_only_where_it_is_asked_for(served: Served) -> None:
    assert all("usage" not in chunk for chunk in served.stream(QUESTION)[:-1])


def test_a_stop_text_ends_the_answer_and_is_not_part_of_it(served: Served, image_of: Any) -> None:
    whole = served.ask(shown(image_of(1)), max_tokens=24).text
    stop = whole[len(whole) // 2 :][:4]
    answered = served.ask(shown(image_of(1)), max_tokens=24, stop=["never", stop])
    assert answered.text == whole.partition(stop)[0].rstrip()
    assert answered.json["choices"][0]["finish_reason"] == "stop"
    pieces = served.stream(shown(image_of(1)), max_tokens=24, stop=stop)[:-1]
    assert "".join(piece["choices"][0]["delta"].get("content", "") for piece in pieces) == answered.text


def test_sampled_answers_and_their_log_probabilities_are_those_of_sample_groups(
    serve: Any, adapters: Any, image_of: Any
) -> None:
    options = {"temperature": 0.9, "top_p": 0.95, "seed": 7}
    (group,) = sample_groups(model_of(adapters["a"]), [turn(image_of(1))], 3, max_new_tokens=8, **options)
    answered = serve(adapters).ask(shown(image_of(1)), n=3, logprobs=True, **options)
    choices = answered.json["choices"]
    assert [choice["message"]["content"] for choice in choices] == list(group.texts)
    for choice, values, reason in zip(choices, group.log_probs, group.finish_reasons, strict=True):
        scores = torch.tensor([token["logprob"] for token in choice["logprobs"]["content"]])
        torch.testing.assert_close(scores, values[: len(scores)], rtol=1e-4, atol=1e-4)
        assert choice["finish_reason"] == reason


def test_a_seed_gives_the_same_answer_alone_and_among_others(served: Served) -> None:
    options = {"temperature": 1.0, "seed": 3}
    alone = served.ask(QUESTION, **options).text
    others = [partial(served.ask, f"{QUESTION} {n}", temperature=1.0) for n in range(5)]
    *_, again = served.together(*others, partial(served.ask, QUESTION, **options))
    assert again.text == alone
    assert served.ask(QUESTION, temperature=1.0, seed=4).text != alone


def test_top_log_probabilities_begin_with_the_greedy_token(served: Served) -> None:
    (choice,) = served.ask(QUESTION, logprobs=True, top_logprobs=3).json["choices"]
    for token in choice["logprobs"]["content"]:
        assert len(token["top_logprobs"]) == 3
        assert token["top_logprobs"][0]["logprob"] == pytest.approx(token["logprob"], abs=1e-5)


def test_top_p_of_zero_is_greedy(served: Served) -> None:
    assert served.ask(QUESTION, temperature=1.0, top_p=0).text == served.ask(QUESTION).text


def test_two_adapters_in_one_batch_answer_as_one_after_the_other(
    serve: Any, adapters: Any, image_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve(adapters)
    asked = [(name, n) for n in range(4) for name in ("a", "b")]
    rows: list[int] = []
    monkeypatch.setattr(served.app.state.chat.engine, "observe", rows.append)
    calls = [partial(served.ask, shown(image_of(n)), name) for name, n in asked]
    together = [answered.text for answered in served.together(*calls)]
    assert rows == [1, 8]
    assert together == [call().text for call in calls]
    assert rows == [1, 8] + [1] * 8
    assert len(set(together)) > 2


def test_one_bad_request_in_a_batch_fails_alone(served: Served, capfd: pytest.CaptureFixture[str]) -> None:
    contents = (QUESTION, "long " * 2000, "hello")
    answered = served.together(*(partial(served.ask, content) for content in contents))
    assert [one.status for one in answered] == [200, 400, 200]
    assert answered[1].error["code"] == "context_length_exceeded"
    assert answered[1].error["message"].count("shorten") == 1
    assert "Token indices" not in capfd.readouterr().err


def test_a_fault_of_one_request_does_not_fail_its_batch(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = [served.ask(content).text for content in (QUESTION, "hello")]
    shortest = served.ask("hello").json["usage"]["prompt_tokens"]
    plain = batch.embed_rows

    def embed_rows(model: Any, rows: Any, chosen: Any) -> Any:
        if min(len(row.ids) for row in rows) < shortest:
            raise MediaError("cannot be read")
        return plain(model, rows, chosen)

    contents = (QUESTION, "a", "hello")
    calls = [partial(served.ask, content) for content in contents]
    with monkeypatch.context() as patch:
        patch.setattr(batch, "embed_rows", embed_rows)
        together = served.together(*calls)
    assert [one.status for one in together] == [200, 400, 200]
    assert [together[0].text, together[2].text] == alone


def test_a_long_prompt_and_a_long_answer_of_others_do_not_cut_each_other(served: Served, adapters: Any) -> None:
    context = adapters["a"].attachment.backbone.llm.context
    size = served.ask("hello", max_tokens=1).json["usage"]["prompt_tokens"]
    words = "what " * ((context - size) * 3 // 4)
    calls = [partial(served.ask, words, max_tokens=4), partial(served.ask, "hello", max_tokens=context // 2)]
    together = served.together(*calls)
    assert [one.json["usage"] for one in together] == [call().json["usage"] for call in calls]


def test_a_medium_that_the_adapter_does_not_read_is_the_clients_error(served: Served) -> None:
    sound = [{"type": "video_url", "video_url": {"url": data_url(b"GIF89a", "image/gif")}}]
    assert served.ask(sound).status == 400


@pytest.mark.parametrize("name", ["a", "b"])
def test_beam_search_gives_the_answer_of_chat(wanted: Any, serve: Any, adapters: Any, image_of: Any, name: str) -> None:
    reply = wanted(name, 1, num_beams=3)
    served = serve(adapters)
    answered = served.ask(shown(image_of(1)), name, num_beams=3)
    assert (answered.text, answered.json["usage"]["completion_tokens"]) == (reply.text, reply.tokens)
    pieces = served.stream(shown(image_of(1)), name, num_beams=3)[:-1]
    assert "".join(piece["choices"][0]["delta"].get("content", "") for piece in pieces) == reply.text


def test_requests_with_and_without_beams_at_once_get_their_own_answers(served: Served, image_of: Any) -> None:
    fields: list[dict[str, Any]] = [{}, {"num_beams": 3}, {"num_beams": 3}, {}, {"num_beams": 2}]
    calls = [partial(served.ask, shown(image_of(1)), "ab"[n % 2], **more) for n, more in enumerate(fields)]
    assert [one.text for one in served.together(*calls)] == [call().text for call in calls]


@pytest.mark.parametrize("more", [{"temperature": 0.5}, {"n": 2}, {"logprobs": True}])
def test_beam_search_is_not_sampled(served: Served, more: dict[str, Any]) -> None:
    answered = served.ask(QUESTION, num_beams=2, **more)
    assert (answered.status, answered.error["param"]) == (400, "num_beams")


def test_settings_of_generation_reach_the_generator(
    serve: Any, senses_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = senses_of(dropout=0.0).model
    model.adapter.eval()
    loud(model.adapter, next(text for text in model.adapter.tokens.config.strings if "IMG" in text.upper()))
    seen: list[dict[str, Any]] = []
    generator = model.backbone.generator("image")
    plain = generator.generate

    def generate(conditioning: Any, *, steps: int = 1, guidance_scale: float = 1.0, seed: Any = None) -> Any:
        seen.append({"steps": steps, "guidance_scale": guidance_scale, "seed": seed})
        return plain(conditioning, seed=seed)

    monkeypatch.setattr(generator, "generate", generate)
    served = serve({"any": model.adapter})
    settings = {"image": {"steps": 7, "guidance_scale": 2.5}}
    assert served.ask("what is shown?", "any", max_tokens=4, seed=5, generation=settings).status == 200
    assert seen == [{"steps": 7, "guidance_scale": 2.5, "seed": 5}]


@pytest.mark.parametrize(
    ("settings", "param"),
    [
        ({"image": {"steps": 0}}, "generation.image.steps"),
        ({"image": {"steps": 201}}, "generation.image.steps"),
        ({"image": {"guidance_scale": -1}}, "generation.image.guidance_scale"),
        ({"image": {"size": [9, 9]}}, "generation.image.size"),
    ],
)
def test_settings_of_generation_are_checked(serve: Any, senses_of: Any, settings: Any, param: str) -> None:
    answered = serve({"any": senses_of(dropout=0.0).model.adapter.eval()}).ask("draw it", "any", generation=settings)
    assert (answered.status, answered.error["param"]) == (400, param)


def test_an_adapter_that_makes_no_media_has_no_settings_of_generation(served: Served) -> None:
    answered = served.ask(QUESTION, generation={"image": {"steps": 2}})
    assert (answered.status, answered.error["param"]) == (400, "generation.image")


def test_generated_media_are_data_urls_and_continue_the_conversation(serve: Any, senses_of: Any) -> None:
    model = senses_of(dropout=0.0).model
    model.adapter.eval()
    loud(model.adapter, next(text for text in model.adapter.tokens.config.strings if "IMG" in text.upper()))
    asked = [Message("user", (TextPart("what is shown?"),))]
    reply = model.chat(asked, max_new_tokens=4, media={"image": {"seed": 5}})
    assert reply.media
    served = serve({"any": model.adapter})
    answered = served.ask("what is shown?", "any", max_tokens=4, seed=5)
    message = answered.json["choices"][0]["message"]
    assert message["content"] == reply.text
    assert [part["type"] for part in message["media"]] == ["image_url"] * len(reply.media)
    url = message["media"][0]["image_url"]["url"]
    picture = Image.open(BytesIO(base64.b64decode(url.removeprefix("data:image/png;base64,"))))
    assert picture.tobytes() == reply.media[0].tobytes()
    messages = [{"role": "user", "content": "what is shown?"}, message, {"role": "user", "content": "and now?"}]
    assert served.ask("", "any", messages=messages, max_tokens=4).status == 200
    deltas = [
        event["choices"][0]["delta"] for event in served.stream("what is shown?", "any", max_tokens=4, seed=5)[:-1]
    ]
    assert [delta["media"] for delta in deltas if "media" in delta] == [message["media"]]


def test_a_system_message_and_an_assistants_turn_reach_the_model(serve: Any, adapters: Any) -> None:
    turns = [("system", "Be brief."), ("user", "what ?"), ("assistant", "a circle"), ("user", "which ?")]
    messages = [Message(role, (TextPart(text),)) for role, text in turns]
    wanted = model_of(adapters["a"]).chat(messages, max_new_tokens=8).text
    served = serve(adapters)
    sent = [{"role": role.replace("system", "developer"), "content": text} for role, text in turns]
    assert served.ask("", messages=sent).text == wanted


def test_pictures_between_words_keep_their_places(serve: Any, adapters: Any, image_of: Any) -> None:
    pieces = ["look", image_of(1), "and", image_of(2), "what ?"]
    parts = [TextPart(one) if isinstance(one, str) else MediaPart("image", one) for one in pieces]
    wanted = model_of(adapters["a"]).chat([Message("user", tuple(parts))], max_new_tokens=8).text
    sent = [
        {"type": "text", "text": one}
        if isinstance(one, str)
        else {"type": "image_url", "image_url": {"url": data_url(png(one))}}
        for one in pieces
    ]
    assert serve(adapters).ask(sent).text == wanted
