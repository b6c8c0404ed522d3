"""The registry of benchmarks."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from inlay.adapters.parts.registration import RegistrationError
from inlay.recipes import register_benchmark
from inlay.recipes.evaluation.benchmarks.questions import pope, vqav2
from inlay.recipes.evaluation.benchmarks.registry import benchmark_named, benchmark_names, files_of
from inlay.recipes.evaluation.errors import BenchmarkError

pytestmark = pytest.mark.usefixtures("own_registrations")


def test_a_registered_benchmark_is_found() -> None:
    own = replace(pope.BENCHMARK, name="own")
    register_benchmark(own)
    register_benchmark(own)
    assert benchmark_named("own") is own
    assert "own" in benchmark_names()


def test_every_built_in_name_has_its_benchmark() -> None:
    assert len(benchmark_names()) == 15
    for name in benchmark_names():
        benchmark = benchmark_named(name)
        assert (benchmark.name, benchmark.better in ("higher", "lower")) == (name, True)


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"expected one of pope, vqav2, .*, got 'popo'"):
        files_of("popo", tmp_path)


def test_another_benchmark_of_a_taken_name_is_refused() -> None:
    register_benchmark(replace(pope.BENCHMARK, name="own"))
    with pytest.raises(RegistrationError, match="already registered"):
        register_benchmark(replace(vqav2.BENCHMARK, name="own"))
    with pytest.raises(BenchmarkError, match="built-in"):
        register_benchmark(vqav2.BENCHMARK)
    with pytest.raises(BenchmarkError, match="tokens"):
        register_benchmark(replace(vqav2.BENCHMARK, name="other", tokens=0))


def test_the_registry_imports_nothing_heavy() -> None:
    code = "import sys, inlay.recipes.evaluation.benchmarks.registry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("field", ["read", "score"])
def test_a_benchmark_with_a_function_of_other_arguments_is_refused(field: str) -> None:
    with pytest.raises(RegistrationError, match=f"benchmark 'mine': {field}: expected a function of"):
        register_benchmark(replace(pope.BENCHMARK, name="mine", **{field: list}))
