"""The page of ``inlay check --page``: one file with tables, histograms, and samples with their media.

It needs nothing else: pictures are data URIs, histograms are SVG, and there is no script. All texts are escaped.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from inlay.adapters.media.features import Features
from inlay.adapters.media.load import load_medium
from inlay.adapters.media.modality import Modality
from inlay.hub.errors import InlayError
from inlay.recipes.media_files.show import as_picture
from inlay.recipes.runs.files import write_whole
from inlay.recipes.training.checks.check import CheckReport
from inlay.recipes.training.checks.data_report import MEASURED, SetFacts, StageFacts, quantiles

__all__ = ["check_page", "histogram", "write_page"]

SIDE = 192
"""The longer side of a thumbnail in pixels."""
BARS = 24
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a }
table { border-collapse: collapse; margin: .5rem 0 1rem }
th, td { border: 1px solid #ccc; padding: .25rem .6rem; text-align: left; vertical-align: top }
td.number { text-align: right }
figure { display: inline-block; margin: 0 1.5rem 1rem 0 }
figcaption { font-size: 13px; color: #555 }
.row { display: flex; gap: 1rem; border-top: 1px solid #ddd; padding: .75rem 0 }
.row img { max-width: 192px; max-height: 192px; display: block; margin-bottom: .25rem }
.row p { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font: 13px/1.5 ui-monospace, monospace }
mark { background: #c9f2c7 }
rect { fill: #4878a8 }
text { font: 11px system-ui, sans-serif; fill: #555 }
"""


def write_page(report: CheckReport, path: Path) -> None:
    """Write the page atomically.

    Raises:
        OSError: the file cannot be written.
    """
    write_whole(path, check_page(report))


def check_page(report: CheckReport) -> str:
    """The page as HTML."""
    title = f"inlay check: {escape(report.title)}"
    body = [f"<h1>{title}</h1>", "<h2>Data</h2>", _sets(report.sets)]
    for stage in report.stages:
        body += [f"<h2>Stage {escape(stage.name)}</h2>", f"<p>{escape(stage.amount)}</p>", *_tokens(stage)]
        body += [_example(*example) for example in stage.examples]
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    head = f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}"><title>{title}</title>'
    content = "\n".join(body)
    head += f"<style>{_STYLE}</style>"
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{content}\n</body></html>\n'


def histogram(values: Sequence[int], caption: str) -> str:
    """A histogram as SVG, with its smallest and largest value below it.

    Args:
        values: what is counted; for an empty sequence there is no histogram.
        caption: plain text.
    """
    if not values:
        return ""
    low, high = min(values), max(values)
    width = max(1, -(-(high - low + 1) // BARS))
    counts = [0] * ((high - low) // width + 1)
    for value in values:
        counts[(value - low) // width] += 1
    step, most = 320 / len(counts), max(counts)
    bars = "".join(
        f'<rect x="{place * step:.1f}" y="{100 - 96 * count / most:.1f}" width="{max(1, step - 1):.1f}" '
        f'height="{96 * count / most:.1f}"><title>{low + place * width}-{low + place * width + width - 1}: {count}'
        "</title></rect>"
        for place, count in enumerate(counts)
    )
    ends = f'<text x="0" y="114">{low}</text><text x="320" y="114" text-anchor="end">{high}</text>'
    middle = quantiles(values)[1]
    return (
        f'<figure><svg width="320" height="118" viewBox="0 0 320 118" role="img">{bars}{ends}</svg>'
        f"<figcaption>{escape(caption)}; median {middle}, most rows in a bar: {most}</figcaption></figure>"
    )


def _sets(sets: Sequence[SetFacts]) -> str:
    head = ("data", "stages", "file", "format", "rows", "media", "turns")
    rows = []
    for facts in sets:
        media = ", ".join(f"{count} {kind} ({unlike} different)" for kind, (count, unlike) in facts.media.items())
        turns = f"{min(facts.turns)}-{max(facts.turns)}" if facts.turns else ""
        rows.append((facts.name, facts.stages, facts.file, facts.format, facts.rows, media or "none", turns))
    figures = [
        histogram([side[place] for side in facts.sizes], f"{facts.name}: {what} of the pictures in pixels")
        for facts in sets
        for place, what in enumerate(("width", "height"))
    ]
    note = f"<p>Media, turns and sizes are those of at most {MEASURED} rows, evenly spaced.</p>"
    return _table(head, rows) + note + "".join(figures)


def _tokens(stage: StageFacts) -> list[str]:
    if stage.tokens is None:
        return []
    rows = [
        ("in a row", *quantiles(stage.tokens.lengths)),
        ("labelled", *quantiles(stage.tokens.labelled)),
    ]
    limit = "" if stage.tokens.context is None else f"<p>The LLM takes {stage.tokens.context} positions.</p>"
    return [
        _table(("tokens", "5 %", "50 %", "95 %", "longest"), rows) + limit,
        histogram(stage.tokens.lengths, "tokens in a row"),
        histogram(stage.tokens.labelled, "labelled tokens in a row"),
    ]


def _example(number: str, pieces: Iterable[tuple[str, bool]], media: Iterable[tuple[Modality, Any]]) -> str:
    """A sample with its media, the labelled text marked."""
    words = "".join(f"<mark>{escape(text)}</mark>" if trained else escape(text) for text, trained in pieces)
    shown = "".join(_thumbnail(modality, source) for modality, source in media)
    return f'<div class="row"><div>{shown}</div><div><b>{escape(number)}</b><p>{words}</p></div></div>'


def _thumbnail(modality: Modality, source: Any) -> str:
    """A picture, a spectrogram or a film strip; the reason in words if the medium cannot be read."""
    try:
        medium = load_medium(modality, source)
        if isinstance(medium, Features):
            return f"<span>features {escape(' x '.join(map(str, medium.values.shape)))}</span>"
        picture = as_picture(medium)
    except InlayError as error:
        return f"<span>{escape(str(error))}</span>"
    picture.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=80)
    name = escape(Path(source).name if isinstance(source, str | Path) else modality, quote=True)
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img alt="{name}" title="{name}" src="data:image/jpeg;base64,{data}">'


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    cells = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = "".join(
        "<tr>"
        + "".join(
            f'<td class="number">{cell}</td>' if isinstance(cell, int) else f"<td>{escape(str(cell))}</td>"
            for cell in row
        )
        + "</tr>"
        for row in rows
    )
    return f"<table><tr>{cells}</tr>{lines}</table>"
