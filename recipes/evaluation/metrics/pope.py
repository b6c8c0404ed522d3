"""POPE: object hallucination (Li et al., 2023, https://arxiv.org/abs/2305.10355).

Every question asks for an object and has the answer yes or no. Generated answers are parsed as in the official
evaluation: the text before the first period, without commas, split at spaces; *no* if one of the words is ``No``,
``no`` or ``not``, otherwise *yes*. So an answer with neither word counts as yes, and so does ``NO``. ``unclear`` is the
share of answers with neither word; if it is large, the other figures are meaningless.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from inlay.hub.safety.text import shown
from inlay.recipes.evaluation.errors import MetricError

__all__ = ["Pope", "says_yes"]

_NO = frozenset({"No", "no", "not"})
_EITHER = re.compile(r"\b(?:yes|no|not)\b", re.IGNORECASE)


def says_yes(answer: str) -> bool:
    """Whether an answer counts as yes in the official evaluation.

    Example:
        >>> [says_yes(text) for text in ("Yes, there is.", "No", "There is not a dog. Yes.", "NO", "a dog")]
        [True, False, False, True, True]
    """
    return _NO.isdisjoint(answer.partition(".")[0].replace(",", "").split(" "))


class Pope(Metric):
    """Accuracy, precision, recall and F1 of *yes*, the ratio of yes, and the share of unclear answers, each 0..1.

    Use one metric for each of POPE's three sets (random, popular, adversarial). Precision without a yes answer and
    recall without a yes label are 0.

    Example:
        >>> metric = Pope()
        >>> metric.update(["Yes.", "No, there is none.", "Yes", "no"], ["yes", "no", "no", "yes"])
        >>> {name: value.item() for name, value in metric.compute().items()}
        {'accuracy': 0.5, 'precision': 0.5, 'recall': 0.5, 'f1': 0.5, 'yes_ratio': 0.5, 'unclear': 0.0}
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = True
    table: Tensor
    unclear: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("table", torch.zeros(2, 2, dtype=torch.int64), dist_reduce_fx="sum")  # [truth, said]
        self.add_state("unclear", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, predictions: Sequence[str], labels: Sequence[str]) -> None:
        """Add answers.

        Args:
            predictions: the model's answers, free text.
            labels: ``yes`` or ``no``.

        Raises:
            MetricError: different lengths, or a label other than yes and no.
        """
        if isinstance(predictions, str) or len(predictions) != len(labels):
            raise MetricError(f"expected a label for each answer, got {len(predictions)} and {len(labels)}")
        if wrong := [label for label in labels if label not in ("yes", "no")]:
            raise MetricError(f"labels: expected 'yes' or 'no', got {shown(wrong[0])}")
        table = torch.zeros_like(self.table)
        for said, label in zip(predictions, labels, strict=True):
            table[int(label == "yes"), int(says_yes(said))] += 1
        self.table = self.table + table
        self.unclear = self.unclear + sum(_EITHER.search(said) is None for said in predictions)

    def compute(self) -> dict[str, Tensor]:
        """The figures as float64; nan before the first update."""
        (true_no, false_yes), (false_no, true_yes) = self.table.tolist()
        total = true_no + false_yes + false_no + true_yes
        figures = {
            "accuracy": _share(true_yes + true_no, total),
            "precision": _share(true_yes, true_yes + false_yes),
            "recall": _share(true_yes, true_yes + false_no),
            "f1": _share(2 * true_yes, 2 * true_yes + false_yes + false_no),
            "yes_ratio": _share(true_yes + false_yes, total),
            "unclear": _share(int(self.unclear), total),
        }
        return {
            name: torch.tensor(value if total else torch.nan, dtype=torch.float64) for name, value in figures.items()
        }


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
