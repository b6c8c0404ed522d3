from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inlay.hub.errors import BundleError
from inlay.hub.safety.strict_json import MAX_DEPTH, dump_object, read_object

HOSTILE = {
    "empty": (b"", "empty"),
    "only spaces": (b"  \n", "empty"),
    "not json": (b"hello", "line 1"),
    "trailing comma": (b'{"a": 1,}', "line 1"),
    "two objects": (b"{} {}", "line 1"),
    "a list": (b"[1]", "expected a JSON object, got list"),
    "utf-8 mark": (b"\xef\xbb\xbf{}", "byte-order mark"),
    "utf-16": ('{"a": 1}'.encode("utf-16"), "byte-order mark"),
    "utf-16 without mark": ('{"a": 1}'.encode("utf-16-le"), "line 1"),
    "latin-1": ('{"a": "é"}'.encode("latin-1"), "position 7"),
    "duplicate": (b'{"a": {"b": 1, "b": 1}}', "'b'"),
    "nan": (b'{"a": NaN}', "NaN"),
    "infinity": (b'{"a": -Infinity}', "-Infinity"),
    "overflow": (b'{"a": 1e999}', "1e999"),
    "long integer": (b'{"a": ' + b"9" * 100_000 + b"}", "19 digits"),
    "deep lists": (b'{"a": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "nesting"),
    "deep objects": (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "nesting"),
    "half a pair": (b'{"a": "\\ud800"}', "surrogate"),
    "too large": (b'{"a": "' + b"x" * (1 << 20) + b'"}', "at most 1048576 bytes"),
    "control character": (b'{"a": "\x01"}', "line 1"),
}


@pytest.mark.parametrize(("data", "told"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_json_is_refused_and_named(data: bytes, told: str) -> None:
    with pytest.raises(BundleError, match=r"x.json: ") as caught:
        read_object(data, "x.json")
    assert told in str(caught.value)


def test_a_duplicate_among_many_keys_is_found_in_linear_time() -> None:
    """A key is hashed a few times, however many others there are."""
    text = "{" + ",".join(f'"{n:05}":0' for n in range(100_000)) + ',"99999":0}'
    begun = time.process_time()
    with pytest.raises(BundleError, match=r"x: '99999': the same key occurs twice"):
        read_object(text.encode(), "x", max_bytes=2 << 20, max_keys=1 << 20)
    assert time.process_time() - begun < 2.0  # about 0.1 s; 73 s and more where every key was counted


def test_the_keys_of_all_objects_are_counted_together() -> None:
    data = json.dumps({"a": [{"b": 1}, {"b": 1}]}).encode()
    assert read_object(data, "x", max_keys=3)
    with pytest.raises(BundleError, match=r"x: expected at most 2 keys"):
        read_object(data, "x", max_keys=2)


def test_brackets_inside_strings_are_not_nesting() -> None:
    text = '"' + "[" * 100 + r"\"{" * 100
    assert read_object(json.dumps({"a": text}).encode(), "x") == {"a": text}


def test_nesting_up_to_the_limit_is_read() -> None:
    inside = "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1)
    assert read_object(f'{{"a": {inside}}}'.encode(), "x").keys() == {"a"}


_TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
_VALUE = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**18), 10**18), st.floats(allow_nan=False, allow_infinity=False), _TEXT
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(_TEXT, st.one_of(_VALUE, st.lists(_VALUE, max_size=4)), max_size=5))
def test_what_is_written_is_read_back(value: dict[str, object]) -> None:
    assert read_object(dump_object(value), "x") == value


def test_equal_objects_give_equal_bytes() -> None:
    assert dump_object({"a": 1, "b": 2}) == dump_object({"b": 2, "a": 1})
