"""The body of ``POST /v1/chat/completions``, checked.

https://platform.openai.com/docs/api-reference/chat/create. Fields that would change the answer and that are not
implemented are refused unless they have their neutral value; fields without influence on the answer are ignored.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from inlay.hub.errors import BundleError
from inlay.hub.safety.strict_json import read_object
from inlay.recipes.serve.errors import ApiError

__all__ = ["AudioData", "ChatRequest", "GenerationSettings", "InputMessage", "InputPart", "read_request"]

_KEYS = 100_000
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "reasoning_effort": ("none",),
    "web_search_options": (),
}
"""Fields that are not implemented -> values with which they change nothing; null is one of them."""
_IGNORED = (
    "metadata",
    "parallel_tool_calls",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "store",
    "user",
)
_TAGS = {"one text", "parts", "text", "image_url", "input_audio", "audio_url", "video_url"}


class _Checked(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Url(_Checked):
    """Where a medium is."""

    url: str
    detail: Literal["auto", "low", "high"] | None = None
    """Ignored: the adapter's layout decides about tiles."""


class AudioData(_Checked):
    """An encoded sound."""

    data: str
    """Base64."""
    format: Literal["wav", "mp3", "flac", "ogg"] = "wav"
    """Not trusted: the decoder goes by the first bytes."""


class InputPart(_Checked):
    """A part of a message; the field of its type is given and no other."""

    type: Literal["text", "image_url", "input_audio", "audio_url", "video_url"]
    text: str | None = None
    image_url: Url | None = None
    audio_url: Url | None = None
    video_url: Url | None = None
    input_audio: AudioData | None = None

    @property
    def value(self) -> Any:
        """The text, the address or the sound."""
        return getattr(self, self.type)


def _kind(content: object) -> str | None:
    if isinstance(content, str):
        return "one text"
    return "parts" if isinstance(content, list) else None


Content: TypeAlias = Annotated[
    Annotated[str, Tag("one text")] | Annotated[list[InputPart], Tag("parts")], Discriminator(_kind)
]


class InputMessage(BaseModel):
    """One message; fields that a client sends back with an assistant's answer are ignored, except its media."""

    model_config = ConfigDict(extra="ignore", strict=True)

    role: Literal["system", "developer", "user", "assistant"]
    content: Content | None = None
    media: list[InputPart] | None = None


class StreamOptions(_Checked):
    """How an answer is streamed."""

    include_usage: bool = False
    include_obfuscation: bool | None = None
    """Ignored: nothing is padded."""


class GenerationSettings(_Checked):
    """How media of one modality are generated; options that are not given are those of the adapter's recipe."""

    steps: Annotated[int, Field(ge=1)] | None = None
    """Steps of the denoising loop."""
    guidance_scale: Annotated[float, Field(ge=0, le=100)] | None = None


class ChatRequest(_Checked):
    """A request for an answer."""

    model: str
    messages: Annotated[list[InputMessage], Field(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    n: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    num_beams: Annotated[int, Field(ge=1)] | None = None
    """Beams of beam search, as transformers names it; not a field of OpenAI."""
    generation: dict[Literal["image", "audio", "video"], GenerationSettings] | None = None
    """Modality -> how its media are generated; not a field of OpenAI."""

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts that end the answer."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(text for text in given if text)


def read_request(body: bytes) -> ChatRequest:
    """Check a request's body.

    Raises:
        ApiError: 400, names the field, the expected value and the given one.

    Example:
        >>> read_request(b'{"model": "a", "messages": [{"role": "user", "content": "hello"}], "top_k": 3}')
        Traceback (most recent call last):
        ...
        inlay.recipes.serve.errors.ApiError: Unknown parameter: 'top_k'.
    """
    try:
        document = read_object(body, "request body", max_bytes=len(body), max_keys=_KEYS)
    except BundleError as error:
        raise ApiError(f"We could not parse the JSON body of your request: {error}") from None
    for name in _IGNORED:
        document.pop(name, None)
    for name, neutral in _NEUTRAL.items():
        value = document.pop(name, None)
        if value is not None and value not in neutral:
            raise ApiError(
                f"{name}: this server does not implement it; leave it out", param=name, code="unsupported_parameter"
            )
    try:
        request = ChatRequest.model_validate(document)
    except ValidationError as error:
        raise _refusal(error) from None
    if request.top_logprobs is not None and not request.logprobs:
        raise ApiError("top_logprobs: expected logprobs to be true", param="top_logprobs")
    if request.stream_options is not None and not request.stream:
        raise ApiError("stream_options: expected stream to be true", param="stream_options")
    _check_parts(request)
    return request


def _check_parts(request: ChatRequest) -> None:
    """Check that each part has the field of its type and no other."""
    for number, message in enumerate(request.messages):
        parts = message.content if isinstance(message.content, list) else []
        for place, part in enumerate(parts):
            given = part.model_fields_set - {"type"}
            if given != {part.type} or part.value is None:
                where, other = f"messages[{number}].content[{place}]", ", ".join(sorted(given)) or "none"
                raise ApiError(
                    f"{where}: expected the field {part.type!r} beside 'type', got {other}",
                    param=where,
                )


def _refusal(error: ValidationError) -> ApiError:
    """The first problem, as OpenAI words it where it does."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    field = found[0]["loc"][:1]
    # A list that is too long fails as a text first.
    first = next((one for one in found if one["loc"][:1] == field and one["type"] == "too_long"), found[0])
    where = ""
    for step in first["loc"]:
        if isinstance(step, int):
            where += f"[{step}]"
        elif re.fullmatch(r"[\w-]+", step) and not (step in {"str"} or (step in _TAGS and step == "parts")):
            where += f".{step}" if where else step
    if first["type"] == "extra_forbidden":
        return ApiError(f"Unknown parameter: '{where}'.", param=where, code="unknown_parameter")
    if first["type"] == "missing":
        return ApiError(f"Missing required parameter: '{where}'.", param=where, code="missing_required_parameter")
    return ApiError(f"Invalid value for '{where}': {first['msg'].lower()}.", param=where, code="invalid_value")
