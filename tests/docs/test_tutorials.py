"""The notebooks of docs/tutorials, from the first cell to the last, in a kernel and a folder of their own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGES = sorted(
    page
    for page in (Path(__file__).parents[2] / "docs" / "tutorials").glob("*.md")
    if page.read_text(encoding="utf-8").startswith("---\nfile_format: mystnb\n")
)
CELL = re.compile(r"^```\{code-cell\} ipython3\n(?:(?::[^\n]*\n)+\n)?(.*?)^```$", re.MULTILINE | re.DOTALL)


def cells(page: Path) -> list[str]:
    """The code of a notebook."""
    return CELL.findall(page.read_text(encoding="utf-8"))


def test_every_tutorial_of_the_index_is_a_notebook_or_tested_elsewhere() -> None:
    index = (PAGES[0].parent / "index.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"\]\(([\w-]+)\.md\)", index))
    assert listed == {page.stem for page in PAGES} | {"blip2-vqa"}  # test_blip2_vqa.py
    assert len(PAGES) == 5


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_cell_compiles(page: Path) -> None:
    for code in cells(page):
        compile(code, page.name, "exec")


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_tutorial_runs_from_the_first_cell_to_the_last(page: Path, tmp_path: Path) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in cells(page)])
    place = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=3600, kernel_name="python3", resources=place).execute()
    assert all(cell.execution_count for cell in notebook.cells)
