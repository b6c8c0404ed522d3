"""Positions of the LLM that pictures and texts of a stage take, shown before its first step.

A tiled picture takes a number of positions that depends on its size, so a sequence can be many times as long as with
one square a picture. Rows that do not fit are found by :mod:`inlay.recipes.data.row_check`; this line shows how near
the others come.
"""

from __future__ import annotations

from collections.abc import Sequence

from inlay.adapters.adapter import AttachedModel
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import media_of
from inlay.adapters.media.modality import Modality
from inlay.recipes.data.row_check import RowCheck
from inlay.recipes.data.rows.sample import Sample, conversations_of
from inlay.recipes.data.rows.tables.facts import MODALITIES
from inlay.recipes.data.rows.tables.samples import Samples
from inlay.recipes.data.rows.tables.sequences import Joined

__all__ = ["token_budget"]

_NAMES: dict[Modality, str] = {"image": "picture", "audio": "sound", "video": "clip", "features": "file of features"}


def token_budget(model: AttachedModel, layout: Layout, samples: Sequence[Sample]) -> str:
    """One line: positions of a medium of each modality, of the longest text, and of the context.

    Args:
        model: the attached model.
        layout: of the stage.
        samples: of the stage; only modalities that they contain are named.

    Example:
        ``a picture takes 576 to 2,928 (up to 5 tiles), at most 2 in a row; text at most 212; context 4,096``
    """
    tilers = model.tilers(layout)
    most = _most(samples)
    shares = []
    for modality in (name for name in model.modalities if name in most):
        if (tiler := tilers.get(modality)) is not None:
            least, largest = tiler.bounds()
            tiles = max(grid.tiles for grid in tiler.rule.grids())
            size = f"{least:,} to {largest:,} (up to {tiles} tiles)"
        else:
            size = f"{model.tokens[modality]:,}"
        shares.append(f"a {_NAMES[modality]} takes {size}, at most {most[modality]} in a row")
    context = model.backbone.llm.context
    text = RowCheck(model, layout).longest_text(samples)
    shares.append(f"text at most {text:,}")
    return f"{'; '.join(shares)}; context {'without limit' if context is None else format(context, ',')}"


def _most(samples: Sequence[Sample]) -> dict[Modality, int]:
    """The most media of a row, by modality; of files it is known from their check."""
    found: dict[Modality, int] = {}
    if isinstance(samples, Samples):
        counts = {name: samples.column(f"input_{name}") for name in MODALITIES}
        return {name: int(held.max()) for name, held in counts.items() if len(held) and held.any()}
    for part in samples.parts if isinstance(samples, Joined) else ():
        for name, count in _most(part).items():
            found[name] = max(found.get(name, 0), count)
    for sample in () if isinstance(samples, Joined) else samples:
        for messages in conversations_of(sample):
            held = [part.modality for part in media_of(messages)]
            for name in set(held):
                found[name] = max(found.get(name, 0), held.count(name))
    return found
