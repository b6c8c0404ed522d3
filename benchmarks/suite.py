"""Running a list of measures, each in a separate process; prints results at once and writes every raw number.

A measure that fails or is void does not affect the others.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.child import in_child
from benchmarks.machine import machine, versions
from benchmarks.outcome import Outcome
from benchmarks.setting import Setting

__all__ = ["FORMAT", "Measures", "figure", "main", "run_suite"]

FORMAT = 1
"""Version of the format of the JSON."""
Measures = Mapping[str, Callable[[Setting], Outcome]]


def run_suite(
    measures: Measures,
    setting: Setting,
    *,
    only: Sequence[str] = (),
    limit: int = 0,
    budget: float = float("inf"),
    show: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Run all measures, or selected ones.

    Args:
        measures: name -> function that returns its outcome.
        setting: settings of all measures; each measure gets its own folder.
        only: names of measures to run; all if empty.
        limit: seconds that one measure may take; 0 for no limit.
        budget: seconds after which no further measure is started.
        show: prints a line.

    Returns:
        The content of the JSON.

    Raises:
        ValueError: a name is not that of a measure.
    """
    if unknown := sorted(set(only) - set(measures)):
        raise ValueError(f"expected names among {', '.join(measures)}, got {', '.join(unknown)}")
    started, found = time.perf_counter(), dict[str, Any]()
    here = in_child(partial(machine, setting.device))
    isa = " ".join(name for name, has in here["isa"].items() if has)
    show(f"{here['gpu'] or here['cpu']}, {here['cores']} cores, {here['threads']} threads, {isa}, load {here['load']}")
    for name, measure in measures.items():
        if only and name not in only:
            continue
        begun = time.perf_counter()
        if begun - started > budget:
            found[name] = _empty("skipped", f"no time left of {budget:.0f} s")
        else:
            found[name] = _one(measure, setting, limit)
        found[name]["seconds"] = round(time.perf_counter() - begun, 1)
        for line in lines_of(name, found[name]):
            show(line)
    return {
        "format": FORMAT,
        "command": shlex.join(["python", "-m", _module(), *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": here,
        "versions": versions(),
        "rounds": setting.rounds,
        "size": setting.size,
        "seconds": round(time.perf_counter() - started, 1),
        "measures": found,
    }


def lines_of(name: str, found: Mapping[str, Any]) -> list[str]:
    """Lines to print about one measure."""
    head = f"{name} ({found['seconds']:.0f} s)"
    if not found["comparisons"]:
        return [f"{head}: {found['status']}: {found['why']}"]
    lines = [f"{head}: {found['title']}" + (f": void, {found['why']}" if found["status"] == "void" else "")]
    for one in found["comparisons"]:
        verdict = {True: "met", False: "missed", None: ""}[one["met"]]
        wanted = "" if one["target"] is None else f"target {_sign(one)} {one['target']:g}"
        spread = "" if one["spread"] is None else f"spread {one['spread']:.0%}"
        lines.append(f"  {one['opponent'][:52]:52s} {figure(one):34s} {wanted:16s} {verdict:7s} {spread}")
    return lines


def figure(one: Mapping[str, Any]) -> str:
    """The ratio as text."""
    if one["ratio"] is None:
        return "void"
    value = one["ratio"]
    if one["unit"] == "necessary-FLOP utilisation":
        return f"{value:.1%} {one['unit']}"
    digits = 0 if value >= 100 else 3 if one["better"] == "lower" else 2
    return f"{value:,.{digits}f} {one['unit']}"


def main(
    measures: Measures, output: Path, device: torch.device, *, about: str, limit: int = 0, budget: float = float("inf")
) -> int:
    """The command line of a suite.

    Args:
        measures: all measures of the suite.
        output: default path of the JSON.
        device: device of both sides.
        about: a line for ``--help``.
        limit: see :func:`run_suite`.
        budget: see :func:`run_suite`.

    Returns:
        The exit status, 1 if a measure failed.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument(
        "--only", action="append", default=[], choices=tuple(measures), help="a measure; may be repeated"
    )
    parser.add_argument("--rounds", type=int, default=2, help="rounds A B B A; each gives two repetitions per side")
    parser.add_argument("--output", type=Path, default=output, help="JSON to write")
    parser.add_argument(
        "--size", choices=("full", "tiny"), default="full", help="tiny: for tests; the times are not meaningful"
    )
    chosen = parser.parse_args()
    if chosen.rounds < 1:
        parser.error(f"--rounds: expected at least 1, got {chosen.rounds}")
    with tempfile.TemporaryDirectory() as place:
        setting = Setting(place=Path(place), rounds=chosen.rounds, size=chosen.size, device=device)
        show = partial(print, flush=True)
        said = run_suite(measures, setting, only=chosen.only, limit=limit, budget=budget, show=show)
    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    chosen.output.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    print(f"{said['seconds']:.0f} s, {chosen.output}")
    return int(any(found["status"] == "failed" for found in said["measures"].values()))


def _one(measure: Callable[[Setting], Outcome], setting: Setting, limit: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=setting.place) as own:
        try:
            return in_child(partial(_outcome, measure, replace(setting, place=Path(own))), limit=limit)
        except ChildProcessError as error:
            return _empty("failed", str(error))


def _outcome(measure: Callable[[Setting], Outcome], setting: Setting) -> dict[str, Any]:
    warnings.simplefilter("ignore")
    return measure(setting).as_json()


def _empty(status: str, why: str) -> dict[str, Any]:
    return {"title": "", "status": status, "why": why, "comparisons": [], "checks": None, "facts": {}}


def _module() -> str:
    """Name of the module that was run."""
    name = Path(sys.argv[0]).stem
    return "benchmarks" if name == "__main__" else f"benchmarks.{name}"


def _sign(one: Mapping[str, Any]) -> str:
    return ">=" if one["better"] == "higher" else "<="
