"""Show the labelled text of the first samples, and stop at a sample without labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from inlay.adapters.core.batch import Batch
from inlay.adapters.language.labels import IGNORE
from inlay.hub.errors import InlayError
from inlay.recipes.distributed.ranks import stop_together

__all__ = ["LabelAudit", "LabelAuditError", "joined", "mark_trained", "marked_pieces"]

SHOWN = 2


class LabelAuditError(InlayError):
    """A sample has no label."""


class LabelAudit(Callback):
    """Prints the first samples with their labelled text in ``[[`` ``]]``, and checks that every sample has labels.

    Args:
        tokenizer: to decode ids.
        show: prints a line for the user.
    """

    def __init__(self, tokenizer: Any, show: Callable[[str], None] = print) -> None:
        self.tokenizer, self.show, self.shown = tokenizer, show, False

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Check every batch, and print samples of the first."""
        if not isinstance(batch, Batch):
            return
        error = None
        if not batch.supervised.all():
            empty = [name for name, good in zip(batch.names, batch.supervised.tolist(), strict=True) if not good]
            error = LabelAuditError(
                f"no token has a label in sample {', '.join(empty)}: its answers are empty or masked"
            )
        stop_together(error)
        if not self.shown:
            self.shown = True
            for index in range(min(SHOWN, len(batch))):
                self.show(f"  {batch.names[index]}: {mark_trained(batch, index, self.tokenizer)}")


def mark_trained(batch: Batch, index: int, tokenizer: Any) -> str:
    """One sample as text, with ``<media xN>`` for its slots and ``[[`` ``]]`` around the labelled text.

    The target of an encoder-decoder follows its source.
    """
    return joined(marked_pieces(batch, index, tokenizer))


def joined(pieces: Iterable[tuple[str, bool]]) -> str:
    """Pieces on one line, ``[[`` ``]]`` around those that are labelled."""
    return "".join(f"[[{text}]]" if trained else text for text, trained in pieces).replace("\n", "\\n")


def marked_pieces(batch: Batch, index: int, tokenizer: Any) -> list[tuple[str, bool]]:
    """The text of one sample in pieces, each with whether it is labelled."""
    pieces: list[tuple[str, bool]] = []
    run: list[int] = []
    state = ""
    rows = zip(
        batch.ids[index].tolist(),
        batch.labels[index].tolist(),
        batch.slots[index].tolist(),
        batch.mask[index].tolist(),
        strict=True,
    )
    for token, label, slot, real in [*rows, (0, IGNORE, False, 0)]:
        kind = "" if not real else "media" if slot else "text" if label == IGNORE else "trained"
        if kind != state and run:
            text = f"<media x{len(run)}>" if state == "media" else tokenizer.decode(run)
            pieces.append((text, state == "trained"))
            run = []
        state = kind
        if kind:
            run.append(token)
    if batch.target is not None:
        written = [label for label in batch.target[index].tolist() if label != IGNORE]
        pieces += [(" -> ", False), (tokenizer.decode(written), True)]
    return pieces
