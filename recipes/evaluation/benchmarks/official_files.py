"""Finding the official files and media of a benchmark below one folder.

An error names the missing or malformed file, its expected layout, and where its owner publishes it. Finding the files
imports nothing heavy, so that a wrong folder is reported at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inlay.hub.errors import InlayError
from inlay.recipes.evaluation.errors import BenchmarkError

if TYPE_CHECKING:
    from inlay.adapters.media.modality import Modality
    from inlay.recipes.evaluation.benchmarks.item import Item

__all__ = ["OfficialFile", "OfficialFiles", "Published"]


@dataclass(frozen=True, kw_only=True)
class OfficialFile:
    """One official file."""

    names: tuple[str, ...]
    """Possible names relative to the folder, in the order in which they are tried; ``*`` as in a shell."""
    layout: str
    """Its expected content, for errors."""
    optional: bool = False


@dataclass(frozen=True, kw_only=True)
class Published:
    """The files of a benchmark and where they are published."""

    title: str
    owner: str
    """Address of the page with the files."""
    files: Mapping[str, OfficialFile]
    media: tuple[str, ...] = (".",)
    """Folders of the media relative to the folder, in the order in which they are tried."""
    media_layout: str = ""
    """The expected folder of the media, for errors."""


@dataclass(frozen=True)
class OfficialFiles:
    """The official files below one folder.

    Raises:
        BenchmarkError: the folder or a file is missing.
    """

    name: str
    published: Published
    root: Path
    images: Path | None = None
    """The folder of the media, if it is another one."""
    links: bool = False
    """Whether symbolic links may lead out of the folder of the media."""
    downscale: bool = False
    """Whether pictures and clips above the default budget are downscaled instead of refused."""
    _found: dict[str, Path] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for folder, option in ((self.root, "--root"), (self.images, "--data.images")):
            if folder is not None and not folder.is_dir():
                raise BenchmarkError(f"{option}: {folder}: no such folder; {self._advice()}")
        for key, file in self.published.files.items():
            path = next((found for name in file.names for found in sorted(self.root.glob(name))), None)
            if path is not None:
                self._found[key] = path
            elif not file.optional:
                raise BenchmarkError(
                    f"{self.root / file.names[0]}: no such file"
                    + "".join(f", nor {name}" for name in file.names[1:])
                    + f"; expected {file.layout}. {self._advice()}"
                )

    def has(self, key: str) -> bool:
        """Whether an optional file exists."""
        return key in self._found

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files that exist."""
        return tuple(self._found.values())

    def path(self, key: str) -> Path:
        """The path of a file that exists."""
        return self._found[key]

    @contextmanager
    def reading(self, key: str) -> Iterator[Path]:
        """A context in which the file is read; an error in it is extended by the expected layout and the owner's page.

        Raises:
            BenchmarkError: the file is not in the official layout.
        """
        path = self.path(key)
        try:
            yield path
        except BenchmarkError:
            raise
        except (InlayError, KeyError, IndexError, TypeError, ValueError) as error:
            told = f"no field {error}" if isinstance(error, KeyError) else str(error)
            raise BenchmarkError(
                f"{told if str(path) in told else f'{path}: {told}'}; expected {self.published.files[key].layout}. "
                f"{self._advice()}"
            ) from error

    def document(self, key: str) -> dict[str, Any]:
        """A file's JSON object.

        Raises:
            BenchmarkError: another value, or an empty object.
        """
        found = self._parsed(key)
        with self.reading(key) as path:
            if not isinstance(found, dict) or not found:
                raise ValueError(f"{path}: expected a JSON object with at least one field")
        return dict(found)

    def rows(self, key: str) -> list[dict[str, Any]]:
        """A file's JSON list of objects.

        Raises:
            BenchmarkError: another value, or an empty list.
        """
        from inlay.recipes.data.rows.records import objects

        found = self._parsed(key)
        with self.reading(key) as path:
            if not isinstance(found, list) or not found:
                raise ValueError(f"{path}: expected a JSON list with at least one object")
            return objects(found, str(path))

    def _parsed(self, key: str) -> Any:
        from inlay.recipes.data.rows.fields import decode, file_bytes, parse

        with self.reading(key) as path:
            return parse(decode(file_bytes(path), str(path)), str(path))

    @property
    def media_root(self) -> Path:
        """The folder that contains all media."""
        return (self.images or self.root).absolute()

    def medium(self, modality: Modality, *names: str) -> Any:
        """The medium that exists under the first of these names; the first name if none exists.

        Args:
            modality: the modality of the medium.
            names: relative paths without ``..``.

        Raises:
            DataError: a name that leads out of the folder.
        """
        from inlay.recipes.data.rows.media_values import MediaRules, medium

        rules = MediaRules(folder=self.media_root, links=self.links, downscale=self.downscale)
        first = None
        for folder in self._media_folders:
            for name in names:
                path = medium((Path(folder) / name).as_posix(), modality, rules, name)
                if path.exists():
                    return path
                first = first or path
        return first

    @cached_property
    def _media_folders(self) -> tuple[str, ...]:
        """The folders in which media are looked for: those that exist, or the first one if none does."""
        if self.images is not None:
            return ("",)
        there = tuple(folder for folder in self.published.media if (self.root / folder).is_dir())
        return there or self.published.media[:1]

    def check_media(self, items: Sequence[Item]) -> None:
        """Check that the media of these items exist and have the right type.

        Raises:
            BenchmarkError: media cannot be used; names the first ones.
        """
        from inlay.recipes.data.rows.checks.media_check import check_media
        from inlay.recipes.data.rows.sample import DataError, Sample

        samples = [Sample(item.name, item.prompt, f"{self.name}, question {item.name}") for item in items]
        try:
            check_media(samples, self.media_root, links=self.links)
        except DataError as error:
            raise BenchmarkError(f"{error}\n{self._advice()}") from error

    def _advice(self) -> str:
        media = f" Media: {self.published.media_layout}." if self.published.media_layout else ""
        return f"{self.published.title} is published at {self.published.owner}.{media}"
