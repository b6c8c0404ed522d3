"""The message names the wrong argument from the arguments themselves, independent of jsonargparse's wording."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

import pytest
from jsonargparse.typing import PositiveInt

from inlay.adapters.llm_parts.lora_config import LoraConfig
from inlay.hub.errors import InlayError
from inlay.recipes.commands.arguments.diagnosis import diagnose
from inlay.recipes.commands.arguments.parser import command_parser


@dataclass
class Inner:
    """Settings."""

    width: int = 1
    """A number."""
    kind: Literal["a", "b"] = "a"
    """A choice."""


@pytest.fixture
def parser() -> Any:
    made = command_parser("try", "Try.")
    made.add_argument("bundle", type=str)
    made.add_argument("--config", action="config")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--count", type=PositiveInt | None, default=None)
    made.add_argument("--rates", type=dict[str, float], default={})
    made.add_argument("--paths", type=tuple[Path, ...], default=())
    made.add_argument("--kind", type=Literal["x", "y"] | None, default=None)
    made.add_argument("--inner", type=LoraConfig | None, default=None)
    made.add_class_arguments(Inner, "nested")
    return made


CASES = [
    (["b", "--seed", "x"], "--seed: expected int, got x"),
    (["b", "--seed=1", "--kind=z"], "--kind: expected one of 'x', 'y', got z"),
    (["b", "--rates={a: x}"], "--rates: expected a mapping of str to float, got {a: x}"),
    (["b", "--paths", "3"], "--paths: expected a list of path, got 3"),
    (["b", "--nested.width=x"], "--nested.width: expected int, got x"),
    (["b", "--nested.widht=1"], "--nested.widht: unknown option; did you mean --nested.width?"),
    (["b", "--inner.r=x"], "--inner.r: expected int, got x"),
    (["b", "--inner.alpha", "c"], "--inner.alpha: expected float, got c"),
    (["b", "--inner.alphas=1"], "--inner.alphas: unknown option; did you mean --inner.alpha?"),
    (
        ["b", "--inner=some.Class"],
        "--inner: expected its fields, such as --inner.FIELD VALUE; settings are plain values",
    ),
    (["b", "--other.seed", "1"], "--other.seed: unknown option; did you mean --seed?"),
    (["b", "--elsewhere", "1"], "--elsewhere: unknown option\n"),
    (["b", "--see", "1"], "--see: unknown option; did you mean --seed?"),
    (["b", "--config=nosuch.yaml"], "--config: expected a YAML file of settings, got nosuch.yaml"),
    (["b", "--count=-3"], "--count: expected int above 0, got -3"),
    (["b", "my.yaml"], "my.yaml: expected an option in front of a file of settings; give it as --config my.yaml"),
    (["b", "--seed=1", "word"], "word: more arguments than expected; write an option in front of a value"),
]


def refused(parser: Any, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(arguments)
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.endswith("\n(all options: inlay try --help)\n")
    assert said.count("\n") == 2
    return said


@pytest.mark.parametrize(("arguments", "said"), CASES)
def test_the_wrong_option_is_named_with_what_it_takes(
    parser: Any, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert f"inlay try: {said}" in refused(parser, arguments, capsys)


@pytest.mark.parametrize(("arguments", "said"), CASES)
def test_the_wording_of_jsonargparse_does_not_matter(
    parser: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    error = type(parser).error

    def other_words(self: Any, message: str, ex: Exception | None = None) -> NoReturn:
        error(self, "quite\n  different words", ex)

    monkeypatch.setattr(type(parser), "error", other_words)
    assert f"inlay try: {said}" in refused(parser, arguments, capsys)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: x\n", "--seed: expected int, got x"),
        ("nested: {width: [1]}\n", "--nested.width: expected int, got [1]"),
        ("inner: {r: 2, alpha: c}\n", "--inner.alpha: expected float, got c"),
        ("elsewhere: 3\n", "--elsewhere: unknown option"),
    ],
)
def test_a_wrong_setting_of_a_file_is_named_with_the_file(
    parser: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    assert f"inlay try: {path}: {said}" in refused(parser, ["b", f"--config={path}"], capsys)


def test_a_missing_argument_and_a_missing_value_are_named(parser: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert "bundle" in refused(parser, [], capsys)
    parser.add_argument("--out_folder", type=str, required=True)
    assert "arguments are required: --out_folder" in refused(parser, ["b"], capsys)
    assert "inlay try: --seed: expected one argument" in refused(parser, ["b", "--seed"], capsys)


def test_an_error_of_a_settings_class_is_its_own_words(parser: Any) -> None:
    wrapped = TypeError("many\nlines")
    wrapped.__cause__ = InlayError("width: expected 1 or more, got 0")
    assert diagnose(parser, ["b"], wrapped) == "width: expected 1 or more, got 0"


def test_values_that_are_right_are_not_blamed(parser: Any) -> None:
    right = [
        "b",
        "--seed=3",
        "--rates",
        "{a: 1}",
        "--paths=[a, b]",
        "--kind",
        "x",
        "--inner.r=2",
        "--nested.kind=b",
    ]
    assert diagnose(parser, right, None) is None
    assert parser.parse_args(right).seed == 3
