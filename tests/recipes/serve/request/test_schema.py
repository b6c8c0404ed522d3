"""The request body: what is taken, what is refused and in which words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inlay.recipes.serve.errors import ApiError
from inlay.recipes.serve.request.schema import read_request

ASK = {"model": "a", "messages": [{"role": "user", "content": "hello"}]}


def refused(**fields: Any) -> ApiError:
    with pytest.raises(ApiError) as raised:
        read_request(json.dumps(ASK | fields).encode())
    return raised.value


def test_a_request_of_model_and_messages_is_enough() -> None:
    assert read_request(json.dumps(ASK).encode()).messages[0].content == "hello"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"model": "a", "model": "b"}', b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_json_object_is_refused_in_openais_words(body: bytes) -> None:
    with pytest.raises(ApiError, match="could not parse the JSON body") as raised:
        read_request(body)
    assert raised.value.status == 400


def test_an_unknown_parameter_is_refused_by_name() -> None:
    error = refused(top_k=3)
    assert (str(error), error.param, error.code) == ("Unknown parameter: 'top_k'.", "top_k", "unknown_parameter")


def test_a_missing_parameter_is_named() -> None:
    with pytest.raises(ApiError, match="Missing required parameter: 'messages'"):
        read_request(b'{"model": "a"}')


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"stop": list("abcde")}, "stop"),
        ({"temperature": 2.5}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": -1}, "top_p"),
        ({"n": 0}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"seed": 1.5}, "seed"),
        ({"messages": []}, "messages"),
        ({"top_logprobs": 21, "logprobs": True}, "top_logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
    ],
)
def test_a_value_out_of_range_names_its_field(fields: dict[str, Any], param: str) -> None:
    error = refused(**fields)
    assert error.status == 400
    assert str(error.param).startswith(param)


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"type": "function"}]},
        {"response_format": {"type": "json_object"}},
        {"logit_bias": {"5": 1}},
        {"frequency_penalty": 0.5},
        {"modalities": ["text", "audio"]},
    ],
)
def test_a_field_that_would_change_the_answer_is_refused(fields: dict[str, Any]) -> None:
    error = refused(**fields)
    assert (error.code, error.param) == ("unsupported_parameter", *fields)


def test_neutral_values_and_fields_without_influence_are_taken() -> None:
    neutral = {"frequency_penalty": 0.0, "tools": [], "response_format": {"type": "text"}, "logit_bias": None}
    read_request(json.dumps(ASK | neutral | {"user": "me", "store": False, "metadata": {"a": "b"}}).encode())


@pytest.mark.parametrize(
    "part",
    [
        {"type": "text"},
        {"type": "image_url", "text": "a"},
        {"type": "image_url", "image_url": {"url": "a"}, "text": "b"},
        {"type": "file", "file": {}},
        "text",
    ],
)
def test_a_part_without_the_field_of_its_type_is_refused(part: Any) -> None:
    error = refused(messages=[{"role": "user", "content": [part]}])
    assert error.status == 400
    assert "messages[0].content" in str(error)


def test_a_role_of_tools_is_refused() -> None:
    assert "messages[0].role" in str(refused(messages=[{"role": "tool", "content": "a"}]))


def test_one_stop_text_and_a_list_are_the_same() -> None:
    one, several = (read_request(json.dumps(ASK | {"stop": stop}).encode()) for stop in ("x", ["x"]))
    assert one.stops == several.stops == ("x",)
