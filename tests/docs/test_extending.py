"""docs/howto/extending.md lists every registry, and its code is that of the tested examples (tests/examples)."""

from __future__ import annotations

import re
from pathlib import Path

import inlay.adapters
import inlay.recipes

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "howto" / "extending.md").read_text(encoding="utf-8")


def test_the_table_has_every_registry_and_an_example_of_each() -> None:
    exported = {*inlay.adapters.__all__, *inlay.recipes.__all__}
    rows = dict(re.findall(r"^\| [a-z ]+ \| `(register_\w+)\(.*\]\((?:\.\./)+(.*?)\) \|$", PAGE, re.MULTILINE))
    assert set(rows) == {name for name in exported if name.startswith("register_")}
    for registry, example in rows.items():
        assert f"\n{registry}(" in (ROOT / example).read_text(encoding="utf-8"), example


def test_the_code_is_cut_out_of_the_examples() -> None:
    blocks = re.findall(r"\]\((?:\.\./)+(examples/extend/\w+\.py)\):\n\n```python\n(.*?)\n```", PAGE, re.DOTALL)
    assert len(blocks) == PAGE.count("```python") == 16
    for example, code in blocks:
        assert code in (ROOT / example).read_text(encoding="utf-8"), f"{example} was edited; edit the page too"
