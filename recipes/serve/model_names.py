"""The model names of served runs, which requests give in ``model``. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from inlay.hub.remote.address import Repository, locate
from inlay.recipes.serve.errors import ServeError

__all__ = ["named_runs"]


def named_runs(runs: Sequence[str]) -> dict[str, str]:
    """Model name -> run, from ``RUN`` or ``NAME=RUN``; without a name it is that of the run folder or repository.

    Raises:
        ServeError: two models with one name, or an empty name.

    Example:
        >>> named_runs(["runs/llava/bundle", "mine=runs/other", "hf://me/llava-vqa@v1"])
        {'llava': 'runs/llava/bundle', 'mine': 'runs/other', 'me/llava-vqa': 'hf://me/llava-vqa@v1'}
    """
    found: dict[str, str] = {}
    for text in runs:
        name, equals, run = text.partition("=")
        if not equals or Path(text).exists():
            name, run = _name_of(text), text
        if not name or not run:
            raise ServeError(f"expected RUN or NAME=RUN, got {text!r}")
        if name in found:
            raise ServeError(
                f"two models have the name {name!r}: {found[name]} and {run}; give one another name: NAME={run}"
            )
        found[name] = run
    return found


def _name_of(run: str) -> str:
    place = locate(run)
    if isinstance(place, Repository):
        return place.repo_id
    folder = place.absolute()
    return folder.parent.name if folder.name == "bundle" else folder.name
