"""``python -m benchmarks.report benchmarks/results/*.json``: tables and plots of the suites' results.

The table is printed and put between the markers of docs/results/benchmarks.md; plots go to docs/results/benchmarks/.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.suite import FORMAT, figure

__all__ = ["BEGIN", "END", "ReportError", "draw", "main", "read", "refresh", "table"]

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
HEAD = "| measure | opponent | figure | target | met | spread |\n|---|---|---|---|---|---|"


class ReportError(ValueError):
    """A file is not the result of a suite, or a page has no markers."""


def read(path: Path) -> dict[str, Any]:
    """Read the JSON of a suite.

    Raises:
        ReportError: the file is not the result of a suite.
    """
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ReportError(f"{path}: expected the JSON of `python -m benchmarks`: {error}") from error
    if not isinstance(said, dict) or said.get("format") != FORMAT or "measures" not in said:
        raise ReportError(f"{path}: expected format {FORMAT} of `python -m benchmarks`; run the suite again")
    return said


def table(said: Mapping[str, Any]) -> str:
    """Markdown: a line about the run, then a table with one row per comparison."""
    here, versions = said["machine"], said["versions"]
    isa = ", ".join(name for name, has in here["isa"].items() if has) or "no vector instructions named"
    made = ", ".join(f"{name} {version}" for name, version in versions.items())
    about = (
        f"{said['date'][:10]}, {here['gpu'] or here['cpu']}, {here['cores']} cores, {here['threads']} threads, {isa}; "
        f"load at the start {here['load']}; `{said['command']}`, {said['seconds']:.0f} s. {made}."
    )
    rows = [row for name, found in said["measures"].items() for row in _rows(name, found)]
    tiny = [] if said["size"] == "full" else ["", "**Tiny sizes: these figures are not meaningful for speed.**"]
    return "\n".join([about, *tiny, "", HEAD, *rows])


def _rows(name: str, found: Mapping[str, Any]) -> Iterator[str]:
    if not found["comparisons"]:
        yield f"| {name} | – | {found['status']}: {found['why']} | – | – | – |"
    for one in found["comparisons"]:
        sign = {"higher": "≥", "lower": "≤"}[one["better"]]
        wanted = "–" if one["target"] is None else f"{sign} {one['target']:g}"
        met = {True: "yes", False: "**no**", None: "–"}[one["met"]]
        spread = "–" if one["spread"] is None else f"{one['spread']:.0%}"
        shown = f"void: {found['why']}" if one["ratio"] is None else figure(one)
        yield (
            f"| {found['title'] or name} | *{one['opponent']}*: {one['what']} | {shown} | {wanted} | {met} | {spread} |"
        )


def draw(said: Mapping[str, Any], target: Path) -> None:
    """Draw two plots of one run, side by side: ratios over their targets, and utilisation.

    Args:
        said: the result of :func:`read`.
        target: the PNG file to write.

    Raises:
        ReportError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ReportError("the plots need matplotlib: pip install 'inlay[plots]'") from error
    aimed = [
        (f"{name}, {one['opponent']}", _reached(one), one["met"])
        for name, found in said["measures"].items()
        for one in found["comparisons"]
        if one["ratio"] is not None and one["target"] is not None
    ]
    rates = [
        (f"{name}, {who}", share)
        for name, found in said["measures"].items()
        for who, share in _utilisations(found["comparisons"])
    ]
    picture = Figure(figsize=(13, 1.5 + 0.3 * max(len(aimed), len(rates), 3)), layout="constrained")
    left, right = picture.subplots(1, 2)
    left.barh(
        [name for name, _, _ in aimed],
        [value for _, value, _ in aimed],
        color=["seagreen" if met else "firebrick" for _, _, met in aimed],
    )
    left.axvline(1.0, color="black")
    left.set(xscale="log", xlabel="share of the target (1: met)", title="figures over targets")
    left.invert_yaxis()
    right.barh([name for name, _ in rates], [100 * share for _, share in rates], color="steelblue")
    right.set(xlabel="% of a matrix product measured in the run", title="necessary-FLOP utilisation")
    right.invert_yaxis()
    target.parent.mkdir(parents=True, exist_ok=True)
    picture.savefig(target, dpi=90)


def _reached(one: Mapping[str, Any]) -> float:
    share: float = one["ratio"] / one["target"]
    return share if one["better"] == "higher" else 1 / share


def _utilisations(comparisons: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, float]]:
    for one in comparisons:
        for who, side in ((one["opponent"], one["theirs"]), ("ours", one["ours"])):
            shares = {kind: share for kind, share in side.get("utilisation", {}).items() if share is not None}
            # Ours occurs with every opponent, and is drawn once.
            if shares and (who != "ours" or one["opponent"] == "tuned"):
                yield who, shares.get("bfloat16", shares.get("float32", 0.0))


def refresh(page: Path, text: str) -> None:
    """Replace the text between the markers of a page.

    Raises:
        ReportError: the page does not have each marker exactly once.
    """
    whole = page.read_text(encoding="utf-8")
    if whole.count(BEGIN) != 1 or whole.count(END) != 1 or whole.index(BEGIN) > whole.index(END):
        raise ReportError(f"{page}: expected the lines {BEGIN} and {END} once each, in this order")
    before, after = whole.split(BEGIN)[0], whole.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def main(argv: Sequence[str]) -> int:
    """Print the tables, draw the plots and update the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("results", type=Path, nargs="+", help="JSON of a suite")
    parser.add_argument("--page", type=Path, default=Path("docs/results/benchmarks.md"), help="page with the markers")
    parser.add_argument("--plots", type=Path, default=Path("docs/results/benchmarks"), help="folder of the plots")
    parsed = parser.parse_args(list(argv))
    parts = []
    try:
        for path in parsed.results:
            said = read(path)
            draw(said, parsed.plots / f"{path.stem}.png")
            image = f"![{path.stem}]({parsed.plots.name}/{path.stem}.png)"
            parts.append(f"### {path.stem.upper()}\n\n{table(said)}\n\n{image}")
        refresh(parsed.page, "\n\n".join(parts))
    except ReportError as error:
        print(error, file=sys.stderr)
        return 2
    print("\n\n".join(parts))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
