"""Media of a request: untrusted text becomes pictures, sounds and clips in memory, within the limits of one request.

A source is a ``data:`` URI, a file below the allowed folder (a path relative to it, or a ``file://`` URI), or, if URLs
are allowed, an ``http(s)`` URL, which is fetched as :mod:`inlay.recipes.data.rows.remote` describes: public addresses
only, bounded in bytes and time. A fetched file is deleted when it has been decoded.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from inlay.adapters.media.audio import load_audio
from inlay.adapters.media.budget import BUDGET, Budget
from inlay.adapters.media.image import load_image
from inlay.adapters.media.modality import Modality
from inlay.adapters.media.sources import EncodedMedium, MediaBytes, from_base64
from inlay.adapters.media.video import load_video
from inlay.hub.errors import InlayError
from inlay.recipes.data.rows.media_values import MediaRules, medium
from inlay.recipes.data.rows.remote import RemoteMedium, is_url
from inlay.recipes.serve.errors import ApiError
from inlay.recipes.serve.limits import Limits
from inlay.recipes.serve.request.schema import AudioData

__all__ = ["MediaAccess", "MediaReader"]


@dataclass(frozen=True)
class MediaAccess:
    """The sources that requests may name."""

    folder: Path | None = None
    """Absolute; None if requests may not name files."""
    urls: bool = False
    """Whether media are fetched from URLs."""


@dataclass
class MediaReader:
    """Reads the media of one request; its budgets shrink with every medium."""

    access: MediaAccess
    limits: Limits
    video: object = None
    """The encoder of clips, which may pick the frames that it reads."""
    count: int = field(default=0, init=False)
    size: int = field(default=0, init=False)
    pixels: int = field(default=0, init=False)

    def read(self, modality: Modality, value: str | AudioData, where: str) -> Any:
        """A medium as an object in memory.

        Args:
            modality: of the medium.
            value: the ``url`` of the part, or its sound in base64.
            where: the place in the request, for errors.

        Raises:
            ApiError: 400 for a source that is refused or cannot be read; 413 for too many media or bytes.
        """
        self.count += 1
        if self.count > self.limits.parts:
            raise ApiError(f"{where}: more than {self.limits.parts} media in a request", status=413, param=where)
        try:
            if isinstance(value, AudioData):
                return self._decoded(modality, from_base64(value.data, where), where)
            self._check_allowed(value, where)
            if not is_url(value):
                return self._decoded(modality, medium(value, modality, MediaRules(self.access.folder), where), where)
            with TemporaryDirectory(prefix="inlay-serve-") as cache:
                with RemoteMedium.of(value, Path(cache), where).open() as file:
                    data = file.read()
                return self._decoded(modality, MediaBytes(data, where), where)
        except ApiError:
            raise
        except InlayError as error:
            raise ApiError(self._without_folder(str(error), where), param=where, code="invalid_media") from None

    def _check_allowed(self, value: str, where: str) -> None:
        if is_url(value):
            if not self.access.urls:
                raise ApiError(
                    f"{where}: expected a data: URI, got an http(s) URL; this server fetches nothing from a network "
                    "(--allow_urls true allows it)",
                    param=where,
                    code="urls_not_allowed",
                )
        elif value[:5].lower() != "data:" and self.access.folder is None:
            raise ApiError(
                f"{where}: expected a data: URI; this server reads no files (--media FOLDER allows a folder)",
                param=where,
                code="files_not_allowed",
            )

    def _decoded(self, modality: Modality, source: Path | EncodedMedium, where: str) -> Any:
        """Decode within the rest of the request's limits."""
        folder = None if isinstance(source, EncodedMedium) else self.access.folder
        if isinstance(source, MediaBytes):
            self.size += len(source.data)
        elif isinstance(source, Path) and source.is_file():
            self.size += source.stat().st_size
        if self.size > self.limits.request_bytes:
            raise ApiError(
                f"{where}: the media of a request have more than {self.limits.request_bytes:,} bytes",
                status=413,
                param=where,
            )
        if modality == "image":
            picture = load_image(source, root=folder, budget=self._budget(self.limits.pixels - self.pixels))
            self.pixels += picture.width * picture.height
            return picture
        budget = self._budget(self.limits.pixels)
        if modality == "audio":
            return load_audio(source, root=folder, budget=budget)
        picks = getattr(self.video, "picks", None)
        return load_video(source, root=folder, budget=budget, picks=picks)

    def _budget(self, pixels: int) -> Budget:
        return replace(
            BUDGET,
            file_bytes=self.limits.request_bytes,
            pixels=max(0, pixels),
            clip_pixels=min(BUDGET.clip_pixels, self.limits.pixels),
            seconds=float(self.limits.seconds),
        )

    def _without_folder(self, message: str, where: str) -> str:
        """An error text without the server's paths and options of other commands."""
        if self.access.folder is not None:
            for name in {str(self.access.folder), str(self.access.folder.resolve())}:
                message = message.replace(f"the folder {name}", "the media folder").replace(name, "the media folder")
        message = message.replace(", or have it downscaled (--data.downscale true)", "")
        message = message.partition("; name a folder that")[0]
        return message if message.startswith(where) else f"{where}: {message}"
