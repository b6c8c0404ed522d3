"""The unmodified ``openai`` client against the server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from serve_client import Served, shown

openai = pytest.importorskip("openai", reason="needs the package openai")


@pytest.fixture
def client(served: Served) -> Any:
    with openai.OpenAI(base_url=served.url, api_key="unused", max_retries=0) as made:
        yield made


def asked(content: Any, model: str = "a", **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": content}], "max_tokens": 8} | fields


def test_models_are_listed(client: Any) -> None:
    assert [model.id for model in client.models.list()] == ["a", "b"]


def test_a_completion_has_its_typed_form(client: Any, image_of: Any) -> None:
    made = client.chat.completions.create(**asked(shown(image_of(1)), logprobs=True, top_logprobs=2, seed=1))
    (choice,) = made.choices
    assert made.object == "chat.completion"
    assert choice.finish_reason == "length"
    assert choice.message.role == "assistant"
    assert made.usage.total_tokens == made.usage.prompt_tokens + made.usage.completion_tokens
    assert len(choice.logprobs.content[0].top_logprobs) == 2


def test_a_stream_gives_the_completion(client: Any, image_of: Any) -> None:
    whole = client.chat.completions.create(**asked(shown(image_of(1)), max_tokens=16)).choices[0].message.content
    fields = asked(shown(image_of(1)), max_tokens=16, stream_options={"include_usage": True})
    chunks = list(client.chat.completions.create(stream=True, **fields))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == whole
    assert chunks[-1].usage.completion_tokens == 16


def test_the_clients_own_collector_reads_the_stream(client: Any) -> None:
    fields = asked("what is shown ?", stop=" ")  # the collector raises where an answer is cut off
    with client.chat.completions.stream(**fields) as stream:
        final = stream.get_final_completion()
    whole = client.chat.completions.create(**fields)
    assert final.choices[0].message.content == whole.choices[0].message.content
    assert final.choices[0].finish_reason == "stop"


def test_a_message_that_is_sent_back_continues_the_conversation(client: Any) -> None:
    first = client.chat.completions.create(**asked("what is shown ?")).choices[0].message
    messages = [{"role": "user", "content": "what is shown ?"}, first, {"role": "user", "content": "and now ?"}]
    assert client.chat.completions.create(**asked("", messages=messages)).usage.prompt_tokens > 12


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"model": "gone"}, "NotFoundError"),
        ({"stop": list("abcde")}, "BadRequestError"),
        ({"extra_body": {"top_k": 3}}, "BadRequestError"),
        ({"messages": []}, "BadRequestError"),
    ],
)
def test_errors_are_those_of_the_client(client: Any, fields: dict[str, Any], error: str) -> None:
    with pytest.raises(getattr(openai, error)) as raised:
        client.chat.completions.create(**asked("hello") | fields)
    assert raised.value.body["message"]


def test_a_wrong_key_is_an_authentication_error(serve: Any, adapters: Any) -> None:
    url = serve(adapters, key="a-key-of-sixteen-characters").url
    with openai.OpenAI(base_url=url, api_key="wrong", max_retries=0) as made, pytest.raises(openai.AuthenticationError):
        made.models.list()
    with openai.OpenAI(base_url=url, api_key="a-key-of-sixteen-characters", max_retries=0) as made:
        assert len(made.models.list().data) == 2


def test_thirty_two_streams_at_once_equal_one(client: Any, image_of: Any) -> None:
    def text(number: int) -> str:
        fields = asked(shown(image_of(number % 4)), "ab"[number % 2])
        chunks = client.chat.completions.create(stream=True, **fields)
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    with ThreadPoolExecutor(32) as pool:
        together = list(pool.map(text, range(32)))
    assert together == [text(number) for number in range(4)] * 8


def test_leaving_a_stream_frees_its_place(client: Any, served: Served) -> None:
    chunks = client.chat.completions.create(stream=True, **asked("what is shown ?", max_tokens=400))
    next(iter(chunks))
    chunks.close()
    served.until(lambda: served.held == 0)
