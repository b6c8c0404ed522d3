"""Language models in GGUF files (llama.cpp), which transformers dequantises when it reads them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from inlay.adapters.loading.files.errors import BackboneError

__all__ = ["gguf_file"]


def gguf_file(source: str | Path) -> Path | None:
    """The GGUF file of a source: the file itself, or the only one in a folder without config.json.

    Args:
        source: a path, or a Hub id, which has no such file.

    Raises:
        BackboneError: the folder has several, or the package ``gguf`` is missing.
    """
    place = Path(source)
    if place.is_file() and place.suffix == ".gguf":
        found = place
    elif place.is_dir() and not (place / "config.json").exists() and (files := sorted(place.glob("*.gguf"))):
        if len(files) > 1:
            raise BackboneError(
                f"{source}: expected one GGUF file, got {', '.join(path.name for path in files)}; name the file itself"
            )
        found = files[0]
    else:
        return None
    if find_spec("gguf") is None:
        raise BackboneError(
            f"{source}: {found.name} is read by gguf, which is not installed: pip install 'inlay[gguf]'"
        )
    return found
