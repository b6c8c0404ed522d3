"""Log-probabilities of preference pairs: the two pairs of the check values, and random ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from inlay.recipes.objectives.preference.losses.registry import PreferenceLoss
from inlay.recipes.objectives.preference.losses.streams import LogProbs, PairLogProbs, UnpairedLogProbs

STREAMS = ("chosen", "rejected", "chosen_other_image", "second_answer", "second_answer_other_image")


def checked_pairs(dtype: torch.dtype = torch.float64) -> PairLogProbs:
    """The two pairs for which the check values were computed (β 0.1)."""

    def row(*values: float) -> Tensor:
        return torch.tensor(values, dtype=dtype)

    return PairLogProbs(
        chosen=row(-12, -20),
        rejected=row(-15, -18),
        ref_chosen=row(-13, -19.5),
        ref_rejected=row(-14.5, -18.8),
        chosen_tokens=torch.tensor([6, 8]),
        rejected_tokens=torch.tensor([5, 9]),
        chosen_other_image=row(-16, -21),
        ref_chosen_other_image=row(-15.5, -20.5),
    )


def random_pairs(rows: int = 6, *, seed: int = 0, dtype: torch.dtype = torch.float64, **given: Any) -> PairLogProbs:
    """Pairs with all streams; those of the trained model require a gradient."""
    generator = torch.Generator().manual_seed(seed)

    def numbers(low: float, high: float) -> Tensor:
        return torch.empty(rows, dtype=dtype).uniform_(low, high, generator=generator)

    streams: dict[str, Any] = {}
    for name in STREAMS:
        streams[f"ref_{name}"] = numbers(-30, -5)
        streams[name] = (streams[f"ref_{name}"] + numbers(-3, 3)).requires_grad_()
    for name in ("chosen_tokens", "rejected_tokens"):
        streams[name] = torch.randint(3, 12, (rows,), generator=generator)
    return PairLogProbs(**(streams | given))


def random_answers(rows: int = 6, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> UnpairedLogProbs:
    """Single answers, every other one desirable."""
    pairs = random_pairs(rows, seed=seed, dtype=dtype)
    return UnpairedLogProbs(
        answer=pairs.chosen,
        ref_answer=pairs.ref_chosen,
        desirable=torch.arange(rows) % 2 == 0,
        kl=torch.tensor(0.3, dtype=dtype),
    )


def rows_for(loss: PreferenceLoss[Any], rows: int = 6, **options: Any) -> LogProbs:
    """Random rows of the class that a loss takes."""
    return (random_answers if loss.rows is UnpairedLogProbs else random_pairs)(rows, **options)


def untouched(rows: LogProbs) -> LogProbs:
    """The rows of a policy that equals the reference."""
    names = ("answer",) if isinstance(rows, UnpairedLogProbs) else STREAMS
    fields = vars(rows) | {name: getattr(rows, f"ref_{name}") for name in names}
    return type(rows)(**(fields | ({"kl": torch.zeros(())} if "kl" in fields else {})))
