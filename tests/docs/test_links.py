"""Every link between the Markdown files of the repository leads to a file, and to its heading if one is named."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from inlay_docs import expanded

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md")), ROOT / "pretraining" / "README.md"]
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]*))?\)")


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors of the headings of a page, as GitHub and MyST write them."""
    text = expanded(page.read_text(encoding="utf-8"))
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return frozenset(re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    wrong = []
    for target, anchor in LINK.findall(text):
        place = (page.parent / target).resolve() if target else page
        known = place.exists() and (not anchor or anchor in anchors(place))
        wrong += [] if known else [f"{target}#{anchor}".rstrip("#")]
    assert wrong == []


def test_a_missing_heading_is_found() -> None:
    page = ROOT / "docs" / "reference" / "commands.md"
    assert {"commands", "inlay-train"} <= anchors(page)
    assert "inlay-fly" not in anchors(page)
