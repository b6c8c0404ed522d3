"""The pages "Bring your own" list every registry, and their code is that of the tested examples (tests/examples)."""

from __future__ import annotations

import re
from pathlib import Path

import inlay.adapters
import inlay.recipes

ROOT = Path(__file__).parents[2]
HOWTO = ROOT / "docs" / "howto"
INDEX = (HOWTO / "extending.md").read_text(encoding="utf-8")
PAGES = {page: page.read_text(encoding="utf-8") for page in sorted((HOWTO / "extending").glob("*.md"))}
EXAMPLE = re.compile(r"\]\((?:\.\./)+(examples/extend/\w+\.py)\):\n\n```python\n(.*?)\n```", re.DOTALL)
"""The link to a file of the examples, with the code below it."""


def test_the_index_has_every_registry_and_the_page_of_each_an_example() -> None:
    exported = {*inlay.adapters.__all__, *inlay.recipes.__all__}
    rows = re.findall(r"^\| \[[\w ]+\]\((extending/[\w-]+\.md)\) \| .* \| `(register_\w+)` \|", INDEX, re.MULTILINE)
    assert {registry for _, registry in rows} == {name for name in exported if name.startswith("register_")}
    for page, registry in rows:
        [(example, _)] = EXAMPLE.findall(PAGES[HOWTO / page])
        assert f"\n{registry}(" in (ROOT / example).read_text(encoding="utf-8"), example
        assert f"`{registry}(" in PAGES[HOWTO / page]


def test_the_index_links_to_every_page() -> None:
    assert {page for page in PAGES if f"](extending/{page.name})" not in INDEX} == set()


def test_the_code_is_cut_out_of_the_examples() -> None:
    blocks = [block for text in PAGES.values() for block in EXAMPLE.findall(text)]
    assert len(blocks) == "".join(PAGES.values()).count("```python") == 16
    for example, code in blocks:
        assert code in (ROOT / example).read_text(encoding="utf-8"), f"{example} was edited; edit the page too"
