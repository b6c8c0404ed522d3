from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from inlay.hub import (
    Bundle,
    BundleError,
    CanarySpec,
    LayoutSpec,
    Manifest,
    OriginSpec,
    PartSpec,
    PortSpec,
    TrainingSpec,
)
from inlay.hub.format.manifest import FileSpec
from inlay.hub.format.migrations import FORMAT_VERSION

DIGEST = "sha256:" + "ab" * 32
Setter = Callable[[dict[str, Any]], object]


@pytest.fixture
def raw(bundle: Bundle) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(bundle.manifest.to_json())
    return value


def _read(raw: object) -> Manifest:
    return Manifest.from_json(json.dumps(raw).encode())


# name: (change, field that must be named, words that must be said)
HOSTILE: dict[str, tuple[Setter, str, str]] = {
    "unknown field": (lambda m: m.update(colour="red"), "colour", "unknown field"),
    "unknown deep field": (lambda m: m["interface"]["llm"].update(code="os"), "interface.llm.code", "unknown field"),
    "missing field": (lambda m: m.pop("layout"), "layout", "required"),
    "text for a number": (lambda m: m["interface"]["llm"].update(width="64"), "interface.llm.width", "'64'"),
    "bool for a number": (lambda m: m["interface"]["llm"].update(width=True), "interface.llm.width", "True"),
    "float for a number": (lambda m: m["interface"]["llm"].update(width=64.0), "interface.llm.width", "64.0"),
    "zero width": (lambda m: m["interface"]["llm"].update(width=0), "interface.llm.width", "0"),
    "huge width": (lambda m: m["interface"]["llm"].update(width=10**12), "interface.llm.width", "1000000000000"),
    "list for object": (lambda m: m.update(parts=[]), "parts", "object"),
    "object for list": (lambda m: m.update(files={}), "files", "array"),
    "unknown kind": (lambda m: m["interface"]["llm"].update(kind="shell"), "interface.llm.kind", "shell"),
    "short revision": (lambda m: m["interface"]["llm"].update(revision="main"), "interface.llm.revision", "main"),
    "bad digest": (lambda m: m["interface"]["llm"].update(weights="md5:00"), "interface.llm.weights", "md5:00"),
    "long source": (lambda m: m["interface"]["llm"].update(source="x" * 10_000), "interface.llm.source", "512"),
    "escape in name": (lambda m: m.update(name="a\x1b[31mred"), "name", "U+001B"),
    "newline in name": (lambda m: m.update(name="a\nb"), "name", "U+000A"),
    "bidi in name": (lambda m: m.update(name="a\u202egpj"), "name", "U+202E"),
    "escape in system text": (lambda m: m["layout"].update(system="\x07"), "layout.system", "U+0007"),
    "escape in a setting": (
        lambda m: m["interface"]["llm"]["settings"].update(x="\x1b"),
        "interface.llm.settings.x",
        "U+001B",
    ),
    "object as a setting": (
        lambda m: m["interface"]["llm"]["settings"].update(x={}),
        "interface.llm.settings.x",
        "expected text, a number",
    ),
    "path as a part": (lambda m: m["parts"].update({"../x": m["parts"]["lora"]}), "parts.'../x'", "match pattern"),
    "long config list": (
        lambda m: m["parts"]["lora"]["config"].update(x=[1] * 300),
        "parts.lora.config.x",
        "at most 256",
    ),
    "nested config list": (lambda m: m["parts"]["lora"]["config"].update(x=[[1]]), "parts.lora.config.x", "number"),
    "too many parts": (
        lambda m: m["parts"].update({f"p{i}": m["parts"]["lora"] for i in range(99)}),
        "parts",
        "at most 64",
    ),
    "unknown geometry": (lambda m: m["layout"].update(geometry={"image": "padd"}), "layout.geometry.image", "'padd'"),
    "tiling with spaces": (
        lambda m: (m.update(format_version=2), m["layout"].update(tiling="any res")),
        "layout.tiling",
        "match pattern",
    ),
    "empty stop text": (lambda m: m["layout"].update(stop=["###", ""]), "layout.stop[1]", "at least 1"),
    "many placeholders": (lambda m: m["layout"].update(prompt="{}" * 4096), "layout.prompt", "at most once"),
    "huge setting": (
        lambda m: m["interface"]["llm"]["settings"].update(layer=10**18),
        "interface.llm.settings.layer",
        "expected an integer up to",
    ),
    "huge value in a config": (
        lambda m: m["parts"]["lora"]["config"].update(x=[-(10**18)]),
        "parts.lora.config.x",
        "up to",
    ),
    "wide dtype": (lambda m: m["parts"]["lora"].update(dtype="float64"), "parts.lora.dtype", "float64"),
}


@pytest.mark.parametrize(("change", "field", "told"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_field_is_refused_and_named(raw: dict[str, Any], change: Setter, field: str, told: str) -> None:
    change(raw)
    with pytest.raises(BundleError) as caught:
        _read(raw)
    assert caught.value.file == "inlay.json"
    assert (caught.value.field or "").startswith(field)
    assert told in str(caught.value)


PATHS = ["../x", "/etc/passwd", "C:\\x", "\\\\host\\x", "a/../../x", "~", "a\0b", "a\nb", "x" * 300, "", "README.md"]


@pytest.mark.parametrize("path", [*PATHS, "inlay.json", "Adapter.safetensors", "lora/adapter_model.bin", "setup.py"])
def test_only_the_files_of_the_format_can_be_listed(raw: dict[str, Any], path: str) -> None:
    raw["files"] = [{"path": path, "sha256": "0" * 64, "size": 1}]
    with pytest.raises(BundleError, match=r"files\[0\].path"):
        _read(raw)


def test_a_file_cannot_be_listed_twice(raw: dict[str, Any]) -> None:
    raw["files"] = [{"path": "adapter.safetensors", "sha256": "0" * 64, "size": 1}] * 2
    with pytest.raises(BundleError, match=r"once"):
        _read(raw)


def test_a_newer_version_says_upgrade_before_anything_else(raw: dict[str, Any]) -> None:
    raw |= {"format_version": FORMAT_VERSION + 1, "unknown": True, "parts": "another idea"}
    with pytest.raises(BundleError, match=r"format_version: .*upgrade inlay"):
        _read(raw)


@pytest.mark.parametrize("version", [0, -1, True, "1", 1.0, None])
def test_a_version_is_a_positive_integer(raw: dict[str, Any], version: object) -> None:
    with pytest.raises(BundleError, match=r"format_version"):
        _read(raw | {"format_version": version})


def test_another_format_is_refused(raw: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match=r"format: expected 'inlay', got 'peft'"):
        _read(raw | {"format": "peft"})


def test_several_problems_are_counted(raw: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match=r"and 1 more problem"):
        _read(raw | {"colour": 1, "taste": 2})


def _canary(**changed: object) -> dict[str, Any]:
    fields: dict[str, Any] = {"prompt": "x", "media": {}, "positions": [-1, -1], "token_ids": [1, 2]}
    return fields | {"logits": [0.5, -10.0], "tolerance": 0.2} | changed


def test_a_usual_canary_is_read(raw: dict[str, Any]) -> None:
    canary = _read(raw | {"canary": _canary()}).canary
    assert canary is not None
    assert canary.tolerance == 0.2


# name: (change of the canary, field that must be named)
CANARIES: dict[str, tuple[dict[str, Any], str]] = {
    "tolerance above any logit": ({"tolerance": 1e308}, "canary"),
    "tolerance of a tenth": ({"tolerance": 1.0}, "canary"),
    "far position": ({"positions": [-1, 10**6]}, "canary.positions[1]"),
    "negative token": ({"token_ids": [-1, 1]}, "canary.token_ids[0]"),
    "huge token": ({"token_ids": [1, 1 << 24]}, "canary.token_ids[1]"),
    "huge logit": ({"logits": [0.5, 1e300]}, "canary.logits[1]"),
    "huge conditioning": ({"conditioning": {"image": [1e300]}}, "canary.conditioning.image[0]"),
}


@pytest.mark.parametrize(("change", "field"), CANARIES.values(), ids=CANARIES)
def test_a_canary_has_bounded_numbers(raw: dict[str, Any], change: dict[str, Any], field: str) -> None:
    with pytest.raises(BundleError) as caught:
        _read(raw | {"canary": _canary(**change)})
    assert caught.value.field == field


def test_many_wrong_numbers_give_one_error_each_list(raw: dict[str, Any]) -> None:
    """Each error takes kilobytes, so a list is given up at its first one."""
    wrong = {"positions": [[]] * 4000, "token_ids": [[]] * 4000, "logits": [[]] * 4000}
    with pytest.raises(BundleError, match=r"canary.positions\[0\]: .* \(and \d more problems\)"):
        _read(raw | {"canary": _canary(**wrong)})


def test_more_keys_than_any_adapter_needs_are_refused_before_they_are_judged(raw: dict[str, Any]) -> None:
    raw["interface"] = {f"p{n}": {} for n in range(5000)}
    with pytest.raises(BundleError, match=r"inlay.json: expected at most 4096 keys"):
        _read(raw)


def test_a_canary_is_of_one_length(raw: dict[str, Any]) -> None:
    canary = {"prompt": "x", "media": {}, "positions": [0], "token_ids": [1, 2], "logits": [0.5, 1.0], "tolerance": 0.1}
    with pytest.raises(BundleError, match=r"canary: .*one length"):
        _read(raw | {"canary": canary})


def test_a_manifest_cannot_be_changed(bundle: Bundle) -> None:
    with pytest.raises(ValidationError, match=r"frozen"):
        bundle.manifest.name = "another"


_NAME = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,20}", fullmatch=True)
_LINE = st.text(st.characters(categories=("L", "N", "P", "S", "Zs")), max_size=40)
_REAL = st.floats(allow_nan=False, allow_infinity=False)
_NUMBER = st.floats(-1e30, 1e30)
_SCALAR = st.one_of(st.none(), st.booleans(), st.integers(-(10**15), 10**15), _REAL, _LINE)
_COUNT = st.integers(1, 1 << 24)
_PORT = st.builds(
    PortSpec,
    kind=st.sampled_from(["encoder", "llm", "generator"]),
    family=_NAME,
    width=_COUNT,
    tokens=st.none() | _COUNT,
    source=st.none() | _LINE,
    revision=st.none() | st.just("ab" * 20),
    tokenizer=st.none() | st.just(DIGEST),
    weights=st.just(DIGEST),
    settings=st.dictionaries(_NAME, _SCALAR, max_size=3),
)
_PART = st.builds(
    PartSpec,
    kind=_NAME,
    config=st.dictionaries(_NAME, _SCALAR | st.lists(_SCALAR, max_size=3).map(tuple), max_size=3),
    parameters=st.integers(0, 1 << 40),
    dtype=st.sampled_from(["float32", "bfloat16", "float16"]),
) | st.builds(PartSpec, kind=_NAME, parameters=st.integers(0, 1 << 40), dtype=st.just("int8"), bytes=st.integers(0, 9))
_MANIFEST = st.builds(
    Manifest,
    system=_NAME,
    name=_LINE,
    interface=st.dictionaries(_NAME, _PORT, max_size=3),
    layout=st.builds(
        LayoutSpec,
        template=_NAME,
        system=st.none() | _LINE,
        stop=st.tuples(_LINE.filter(bool)),
        date=st.none() | st.dates(datetime.date(1000, 1, 1), datetime.date(2999, 12, 31)).map(str),
    ),
    parts=st.dictionaries(_NAME, _PART, max_size=3),
    canary=st.none()
    | st.builds(
        CanarySpec,
        prompt=_LINE,
        positions=st.tuples(st.integers(-9, 9)),
        token_ids=st.tuples(st.integers(0, 9)),
        logits=st.tuples(_NUMBER),
        tolerance=st.floats(0, 1e-3),
    ),
    training=st.none()
    | st.builds(
        TrainingSpec,
        recipe=_NAME,
        stages=st.tuples(_NAME),
        data=_LINE,
        seed=st.integers(0, 2**31),
        metrics=st.dictionaries(_NAME, _NUMBER, max_size=3),
    ),
    license=st.none() | _LINE,
)


@settings(max_examples=20, deadline=None)
@given(_MANIFEST)
def test_every_manifest_is_read_back_as_written(manifest: Manifest) -> None:
    data = manifest.to_json()
    back = Manifest.from_json(data)
    assert back == manifest
    assert back.to_json() == data


_JSON = st.recursive(_SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAME, inner, max_size=3))


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(Manifest.model_fields)), _JSON)
def test_any_value_in_any_field_gives_a_manifest_or_a_bundle_error(field: str, value: object) -> None:
    base = Manifest(system="s", name="n", interface={}, layout=LayoutSpec(template="plain"), parts={})
    with contextlib.suppress(BundleError):
        assert isinstance(_read(json.loads(base.to_json()) | {field: value}), Manifest)


def test_a_layout_without_a_date_is_written_as_before(raw: dict[str, Any]) -> None:
    assert "date" not in raw["layout"]
    assert raw["format_version"] == 1


def test_a_layout_with_a_date_is_of_the_newest_version(raw: dict[str, Any]) -> None:
    raw["layout"]["date"] = "2024-07-26"
    raw["format_version"] = FORMAT_VERSION
    manifest = _read(raw)
    assert manifest.layout.date == "2024-07-26"
    assert json.loads(manifest.to_json()) == raw


@pytest.mark.parametrize("date", ["2024-07-26", None])
def test_version_one_has_no_date(raw: dict[str, Any], date: object) -> None:
    raw["layout"]["date"] = date
    with pytest.raises(BundleError, match="cannot be migrated from format 1 to 2"):
        _read(raw)


@pytest.mark.parametrize("date", ["26 Jul 2024", "2024-02-30", "0001-01-01", 20240726, "2024-07-26T00:00"])
def test_a_date_is_a_day_of_the_calendar(raw: dict[str, Any], date: object) -> None:
    raw["layout"]["date"] = date
    raw["format_version"] = FORMAT_VERSION
    with pytest.raises(BundleError, match=r"layout\.date"):
        _read(raw)


def test_a_layout_with_tiling_is_of_the_newest_version(raw: dict[str, Any]) -> None:
    raw["format_version"] = 2
    raw["layout"]["tiling"] = "anyres:1x2,2x2"
    manifest = _read(raw)
    assert manifest.layout.tiling == "anyres:1x2,2x2"
    assert json.loads(manifest.to_json())["format_version"] == 2


def test_a_layout_without_tiling_is_written_as_before(raw: dict[str, Any]) -> None:
    assert "tiling" not in json.loads(_read(raw).to_json())["layout"]


def test_version_one_has_no_tiling(raw: dict[str, Any]) -> None:
    raw["layout"]["tiling"] = "anyres"
    with pytest.raises(BundleError, match="cannot be migrated"):
        _read(raw)


def test_the_origin_of_an_aligned_adapter_is_of_version_two() -> None:
    training = TrainingSpec(recipe="align", stages=("prefer",), data="pairs", seed=0)
    origin = OriginSpec(name="sft", digest=DIGEST)
    base: dict[str, Any] = {"system": "s", "name": "n", "interface": {}, "layout": LayoutSpec(template="plain")}
    plain = Manifest(**base, parts={}, training=training)
    aligned = Manifest(**base, parts={}, training=training.model_copy(update={"derived_from": origin}))
    assert json.loads(plain.to_json())["format_version"] == 1
    raw = json.loads(aligned.to_json())
    assert raw["format_version"] == 2
    assert _read(raw) == aligned
    with pytest.raises(BundleError, match="cannot be migrated from format 1 to 2"):
        _read(raw | {"format_version": 1})


def test_a_digest_names_the_weights_alone(bundle: Bundle) -> None:
    file = FileSpec(path="adapter.safetensors", sha256="a" * 64, size=8)
    manifest = bundle.manifest.model_copy(update={"files": (file,)})
    assert manifest.digest == manifest.model_copy(update={"name": "other"}).digest
    changed = file.model_copy(update={"sha256": "0" * 64})
    assert manifest.digest != manifest.model_copy(update={"files": (changed,)}).digest
