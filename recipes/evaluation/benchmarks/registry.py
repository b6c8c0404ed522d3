"""The registry of benchmarks.

``register_benchmark(Benchmark(name="signs", ...))`` adds one to ``inlay evaluate --benchmark``. Imports nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import cast

from inlay.adapters.parts.registration import IMPORT_OWN, check_function, register
from inlay.recipes.evaluation.benchmarks.benchmark import Benchmark
from inlay.recipes.evaluation.benchmarks.official_files import OfficialFiles, Published
from inlay.recipes.evaluation.benchmarks.published import PUBLISHED
from inlay.recipes.evaluation.errors import BenchmarkError

__all__ = ["BENCHMARKS", "benchmark_named", "benchmark_names", "files_of", "register_benchmark"]

BENCHMARKS: dict[str, Benchmark] = {}
"""Name -> registered benchmark."""
_HERE = "inlay.recipes.evaluation.benchmarks"
_MODULES = {
    **dict.fromkeys(("pope", "vqav2", "gqa", "textvqa", "mme", "amber_exact"), "questions"),
    **dict.fromkeys(("scienceqa", "mmbench", "seed"), "choice"),
    **dict.fromkeys(("coco", "nocaps", "audiocaps", "clotho", "msrvtt", "chair"), "captions"),
}
"""Built-in name -> folder of its module, which is imported on first use."""


def register_benchmark(benchmark: Benchmark) -> None:
    """Register a benchmark for ``--benchmark NAME``; registering the same reader again replaces it.

    Args:
        benchmark: the benchmark, whose name has letters, digits, ``_``, ``-`` and ``.``.

    Raises:
        RegistrationError: functions that take other arguments, not a name, or the name of another benchmark.
        BenchmarkError: the name of a built-in benchmark, or fewer than one token.
    """
    if benchmark.name in _MODULES:
        raise BenchmarkError(f"benchmark {benchmark.name}: a built-in benchmark has this name; choose another name")
    if benchmark.tokens < 1:
        raise BenchmarkError(f"benchmark {benchmark.name}: tokens: expected at least 1, got {benchmark.tokens}")
    check_function(f"benchmark {benchmark.name!r}: read", benchmark.read, "files", "instruction")
    check_function(f"benchmark {benchmark.name!r}: score", benchmark.score, "items", "answers")
    register(BENCHMARKS, benchmark.name, benchmark, "benchmark", by="read")


def benchmark_names() -> list[str]:
    """The values of ``--benchmark``."""
    return [*_MODULES, *BENCHMARKS]


def files_of(
    name: str, root: Path, images: Path | None = None, *, links: bool = False, downscale: bool = False
) -> OfficialFiles:
    """The official files of a benchmark below a folder.

    Args:
        name: the name of the benchmark.
        root: the folder.
        images: another folder of the media.
        links: see :class:`OfficialFiles`.
        downscale: see :class:`OfficialFiles`.

    Raises:
        BenchmarkError: an unknown benchmark, or missing files.
    """
    return OfficialFiles(name, _published(name), root, images, links, downscale)


def _published(name: str) -> Published:
    if name in BENCHMARKS:
        return BENCHMARKS[name].published
    if name not in _MODULES:
        raise BenchmarkError(f"benchmark: expected one of {', '.join(benchmark_names())}, got {name!r}; {IMPORT_OWN}")
    return PUBLISHED[name]


def benchmark_named(name: str) -> Benchmark:
    """The benchmark with this name.

    Raises:
        BenchmarkError: an unknown benchmark.
    """
    _published(name)
    if name in BENCHMARKS:
        return BENCHMARKS[name]
    return cast(Benchmark, import_module(f"{_HERE}.{_MODULES[name]}.{name}").BENCHMARK)
