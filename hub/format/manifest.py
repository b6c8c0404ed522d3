"""The manifest ``inlay.json``: an adapter's parts, interface, files and provenance.

A closed schema: every field is named here, typed and bounded; unknown fields are refused. No field names code. The
``source`` of a port is text that is displayed and compared: reading a bundle never downloads it.
"""

from __future__ import annotations

import datetime
import hashlib
import math
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    PlainSerializer,
    PlainValidator,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from inlay.hub.errors import BundleError
from inlay.hub.format.migrations import FORMAT_VERSION, migrate
from inlay.hub.safety.strict_json import dump_object, read_object
from inlay.hub.safety.text import forbidden_character, shown

__all__ = [
    "FORMAT_VERSION",
    "MANIFEST_NAME",
    "CanarySpec",
    "FileSpec",
    "Geometry",
    "LayoutSpec",
    "Manifest",
    "OriginSpec",
    "PartSpec",
    "PortSpec",
    "Scalar",
    "TrainingSpec",
]

MANIFEST_NAME = "inlay.json"
Scalar: TypeAlias = str | int | float | bool | None
Geometry: TypeAlias = Literal["squash", "pad", "crop"]
"""How a picture becomes a square."""

_MAX_TEXT = 8192
_MAX_KEYS = 4096
_MAX_INTEGER = (1 << 53) - 1
"""Largest integer that every JSON reader keeps exactly."""
_MAX_TOLERANCE = 0.05
"""Upper bound of a canary's tolerance, relative to its largest logit. Saving stores 2 % of the logits' standard
deviation, which is smaller."""
_OF_VERSION_2 = ("date", "arguments", "tiling")
"""Fields of the layout that version 1 does not have; they are written only if they are set."""
_ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def _line(text: str) -> str:
    if bad := forbidden_character(text):
        raise ValueError(f"expected one line of plain text, got the character {bad}")
    return text


def _text(text: str) -> str:
    if bad := forbidden_character(text, newlines=True):
        raise ValueError(f"expected plain text, got the character {bad}")
    return text


def _day(text: str) -> str:
    datetime.date.fromisoformat(text)
    return text


def _scalar(value: object) -> Scalar:
    if isinstance(value, str):
        if len(value) > _MAX_TEXT:
            raise ValueError(f"expected at most {_MAX_TEXT} characters, got {len(value)}")
        return _text(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("expected a finite number")
    if isinstance(value, int) and abs(value) > _MAX_INTEGER:
        raise ValueError(f"expected an integer up to {_MAX_INTEGER}")
    if value is None or isinstance(value, (bool, int, float)):
        return value
    raise ValueError("expected text, a number, true, false or null")


def _config_value(value: object) -> Scalar | tuple[Scalar, ...]:
    if isinstance(value, (list, tuple)):
        if len(value) > 256:
            raise ValueError(f"expected at most 256 items, got {len(value)}")
        return tuple(_scalar(item) for item in value)
    return _scalar(value)


def _one_placeholder(text: str) -> str:
    if text.count("{}") > 1:
        raise ValueError(f"expected '{{}}' at most once, got it {text.count('{}')} times")
    return text


def _plain(value: Scalar | tuple[Scalar, ...]) -> Any:
    return list(value) if isinstance(value, tuple) else value


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]*$", max_length=128)]
Line = Annotated[str, Field(max_length=512), AfterValidator(_line)]
Text = Annotated[str, Field(max_length=_MAX_TEXT), AfterValidator(_text)]
Day = Annotated[str, Field(pattern=r"^[12]\d{3}-\d{2}-\d{2}$"), AfterValidator(_day)]
StopText = Annotated[str, Field(min_length=1, max_length=_MAX_TEXT), AfterValidator(_text)]
TilingText = Annotated[str, Field(pattern=r"^[a-z0-9_]+(:[a-z0-9_,.\-]+)?$", max_length=512)]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
Count = Annotated[int, Field(ge=1, le=1 << 24)]
Number = Annotated[float, Field(ge=-1e30, le=1e30)]
# FailFast: only the first error is reported, and thousands of them would cost kilobytes each.
Numbers = Annotated[tuple[Number, ...], Field(min_length=1, max_length=4096), FailFast()]
Position = Annotated[int, Field(ge=-4096, le=4095)]
TokenId = Annotated[int, Field(ge=0, lt=1 << 24)]
Setting = Annotated[Scalar, PlainValidator(_scalar)]
# Any to the serializer: pydantic's own one for this union warns about every tuple.
ConfigValue = Annotated[
    Scalar | tuple[Scalar, ...], PlainValidator(_config_value), PlainSerializer(_plain, return_type=Any)
]


class _Closed(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class PortSpec(_Closed):
    """The requirements of an adapter for one port of a backbone."""

    kind: Literal["encoder", "llm", "generator", "tokenizer"]
    family: Name
    """The architecture, such as ``llama`` or ``clip``."""
    width: Count
    """Size of the hidden states at the port; for a tokenizer, the size of its vocabulary."""
    tokens: Count | None = None
    """Feature vectors of one medium; None if the number varies."""
    source: Line | None = None
    """Hub id or folder name of the backbone that the adapter was trained on. Only displayed and compared."""
    revision: Commit | None = None
    """The commit of ``source``, 40 hex digits."""
    tokenizer: Digest | None = None
    weights: Digest
    settings: Annotated[dict[Name, Setting], Field(max_length=64)] = {}
    """Further settings that must agree: layer, class token, image size."""


class LayoutSpec(_Closed):
    """How text and media form one sequence."""

    template: Name
    system: Text | None = None
    geometry: Annotated[dict[Name, Geometry], Field(max_length=16)] = {}
    """Modality to the way a medium is resized, such as ``image: pad``."""
    stop: Annotated[tuple[StopText, ...], Field(max_length=16), FailFast()] = ()
    """Stop strings: texts that end a generated answer."""
    bos: Literal["first", "after_media", "none"] = "first"
    """Position of BOS, if the tokenizer has one."""
    prompt: Annotated[Text, AfterValidator(_one_placeholder)] = "{}"
    """Template of a user turn, in which ``{}`` is replaced by the user's text."""
    date: Day | None = None
    """The day that is passed to a chat template with a date, such as ``2024-07-26``; since version 2."""
    arguments: Annotated[dict[Name, Setting], Field(max_length=16)] = {}
    """Further variables of the LLM's chat template, such as ``enable_thinking``; since version 2."""
    tiling: TilingText | None = None
    """The rule that cuts a picture into tiles, such as ``anyres:1x2,2x2``; since version 2."""

    @model_serializer(mode="wrap")
    def _without_none(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Omitted if unset, so that versions of inlay without these fields can read the layout.
        fields: dict[str, Any] = plain(self)
        return {name: value for name, value in fields.items() if name not in _OF_VERSION_2 or value}


class PartSpec(_Closed):
    """One trained part; its tensors are named ``<part name>.<tensor name>``."""

    kind: Name
    config: Annotated[dict[Name, ConfigValue], Field(max_length=64)] = {}
    """The part's own settings; ``inlay.adapters`` checks them."""
    parameters: Annotated[int, Field(ge=0, le=1 << 40)]
    dtype: Literal["float32", "bfloat16", "float16", "int8"]
    """``int8``: matrices in int8 with a float32 scale a row, everything else in bfloat16, see
    :mod:`inlay.hub.format.int8`."""
    bytes: Annotated[int, Field(ge=0, le=1 << 40)] | None = None
    """Size on disk of an int8 part, scales included; None for other parts, whose size follows from the dtype."""

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self.parameters * _ITEM_BYTES[self.dtype] if self.bytes is None else self.bytes

    @model_serializer(mode="wrap")
    def _without_none(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Omitted if unset, so that versions without this field can read a part without int8.
        fields: dict[str, Any] = plain(self)
        return {name: value for name, value in fields.items() if name != "bytes" or value is not None}

    @model_validator(mode="after")
    def _bytes_only_with_int8(self) -> PartSpec:
        if (self.dtype == "int8") != (self.bytes is not None):
            raise ValueError("expected 'bytes' with dtype 'int8', and with no other dtype")
        return self


class FileSpec(_Closed):
    """One file of the bundle. The card is not listed, since it may be edited by hand; nor is the manifest itself."""

    path: Literal["adapter.safetensors", "lora/adapter_config.json", "lora/adapter_model.safetensors"]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=1, le=1 << 40)]
    """Bytes."""


class CanarySpec(_Closed):
    """A small stored input and the logits that it must give after attach."""

    prompt: Text
    media: Annotated[dict[Name, Name], Field(max_length=16)] = {}
    """Modality to the name of a pattern that is generated by code, such as ``image: gradient``."""
    positions: Annotated[tuple[Position, ...], Field(min_length=1, max_length=4096), FailFast()]
    token_ids: Annotated[tuple[TokenId, ...], Field(min_length=1, max_length=4096), FailFast()]
    logits: Numbers
    """``logits[i]`` is the logit of ``token_ids[i]`` at ``positions[i]``."""
    tolerance: Annotated[float, Field(ge=0)]
    """Largest allowed difference of a logit in float32."""
    conditioning: Annotated[dict[Name, Numbers], Field(max_length=16)] = {}
    """Modality to evenly spaced values of its output projector's conditioning, for an answer that asks for a medium."""

    @model_serializer(mode="wrap")
    def _without_nothing(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Omitted if empty, so that versions without this field can read an adapter without output projectors.
        fields: dict[str, Any] = plain(self)
        return {name: value for name, value in fields.items() if name != "conditioning" or value}

    @model_validator(mode="after")
    def _parallel(self) -> CanarySpec:
        if not len(self.positions) == len(self.token_ids) == len(self.logits):
            raise ValueError("expected positions, token_ids and logits of one length")
        return self

    @model_validator(mode="after")
    def _tolerance_is_small(self) -> CanarySpec:
        largest = _MAX_TOLERANCE * max(map(abs, self.logits)) + 1e-3
        if self.tolerance > largest:
            raise ValueError(f"expected a tolerance up to {largest:.3g} for these logits, got {self.tolerance:.3g}")
        return self


class OriginSpec(_Closed):
    """The adapter that a training began with, and whose answers were its reference."""

    name: Line
    digest: Digest
    """The digest of its weights, see :attr:`Manifest.digest`."""


class TrainingSpec(_Closed):
    """How the weights were trained."""

    recipe: Name
    stages: Annotated[tuple[Name, ...], Field(max_length=32), FailFast()]
    data: Text
    seed: Annotated[int, Field(ge=0, lt=1 << 63)]
    versions: Annotated[dict[Name, Line], Field(max_length=64)] = {}
    metrics: Annotated[dict[Name, Number], Field(max_length=256)] = {}
    derived_from: OriginSpec | None = None
    """The adapter before this training; None if it began with untrained parts. Since version 2."""

    @model_serializer(mode="wrap")
    def _without_none(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Omitted if unset, so that versions without this field can read an adapter that began with untrained parts.
        fields: dict[str, Any] = plain(self)
        return {name: value for name, value in fields.items() if name != "derived_from" or value is not None}


class Manifest(_Closed):
    """The whole of ``inlay.json``.

    Example:
        >>> layout = LayoutSpec(template="plain")
        >>> manifest = Manifest(system="llava", name="demo", interface={}, layout=layout, parts={})
        >>> Manifest.from_json(manifest.to_json()) == manifest
        True
    """

    format: Literal["inlay"] = "inlay"
    format_version: Literal[2] = 2
    """In memory always the newest version; on disk the oldest version that can express the content."""
    system: Name
    name: Line
    interface: Annotated[dict[Name, PortSpec], Field(max_length=16)]
    layout: LayoutSpec
    parts: Annotated[dict[Name, PartSpec], Field(max_length=64)]
    files: Annotated[tuple[FileSpec, ...], Field(max_length=8), FailFast()] = ()
    """Set when the bundle is written."""
    canary: CanarySpec | None = None
    training: TrainingSpec | None = None
    license: Line | None = None

    @model_serializer(mode="wrap")
    def _in_the_oldest_format(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = plain(self)
        later = any(getattr(self.layout, name) for name in _OF_VERSION_2)
        derived = self.training is not None and self.training.derived_from is not None
        newest = later or derived or any(part.dtype == "int8" for part in self.parts.values())
        written = 2 if newest else 1
        return fields | {name: written for name in fields if name == "format_version"}

    @property
    def digest(self) -> str:
        """Identifies the weights: ``sha256:`` over paths and SHA-256 of all files; the card does not count."""
        listed = "".join(f"{file.path} {file.sha256}\n" for file in sorted(self.files, key=lambda file: file.path))
        return f"sha256:{hashlib.sha256(listed.encode()).hexdigest()}"

    @model_validator(mode="after")
    def _each_file_once(self) -> Manifest:
        paths = [file.path for file in self.files]
        if len(set(paths)) != len(paths):
            raise ValueError("expected every file once in 'files'")
        return self

    @classmethod
    def from_json(cls, data: bytes, file: str = MANIFEST_NAME) -> Manifest:
        """Read a manifest of this or an earlier version; the version is checked before any other field.

        Raises:
            BundleError: names the first wrong field, with the expected and the given value.
        """
        # Every key can give up to five validation errors, so the number of keys bounds the work.
        raw = read_object(data, file, max_keys=_MAX_KEYS)
        if raw.get("format") != "inlay":
            raise BundleError(file, f"expected 'inlay', got {shown(raw.get('format'))}", field="format")
        raw = migrate(raw, file)
        try:
            # In JSON mode pydantic converts lists to tuples and is strict about everything else.
            return cls.model_validate_json(dump_object(raw))
        except ValidationError as error:
            raise manifest_error(error, file) from None

    def to_json(self) -> bytes:
        """The bytes of ``inlay.json``, in the oldest format that can express it; equal manifests give equal bytes."""
        return dump_object(self.model_dump(mode="json"))


def manifest_error(error: ValidationError, file: str) -> BundleError:
    problems: list[Any] = list(error.errors(include_url=False, include_context=False))
    first = problems[0]
    field = ""
    for step in first["loc"]:
        text = step if isinstance(step, int) or step.isidentifier() else shown(step)
        field += f"[{text}]" if isinstance(step, int) else f".{text}" if field else str(text)
    reason = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        reason = "unknown field; it is misspelt, or from a newer version of inlay"
    elif first["type"] != "missing" and not isinstance(first["input"], (dict, list, BaseModel)):
        reason += f", got {shown(first['input'])}"
    if len(problems) > 1:
        reason += f" (and {len(problems) - 1} more problems)"
    return BundleError(file, reason, field=field or None)
