"""One answer while it is generated: its tokens, the text that is certain so far, and its end."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

import numpy as np

from inlay.adapters.chat.reply import read
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import TextPart
from inlay.adapters.conversation.turn_end import TurnEnd
from inlay.adapters.language.generation.stopping import StopText, single_tokens
from inlay.adapters.language.model import LanguageModel
from inlay.adapters.llm_parts.signal_tokens import Signals
from inlay.recipes.serve.engine.job import Delta, Done, Job, TokenScore

__all__ = ["Row"]


class Row:
    """One answer of a job.

    Text is passed on as soon as later tokens cannot change it: half a character, white space at the end, and text that
    may be the beginning of a stop text wait. All pieces together are the text of
    :meth:`inlay.adapters.model.MultimodalModel.chat`. If the text is rewritten behind a point that was passed on, which
    templates with speaker names can cause, nothing more is passed on.

    Args:
        job: the job of the answer.
        index: of the answer among those of the job.
        llm: with the adapter attached.
        layout: of the answer.
        signals: of the adapter.
        end: of the turn.
        limit: new tokens at most.
    """

    def __init__(
        self, job: Job, index: int, llm: LanguageModel, layout: Layout, signals: Signals, end: TurnEnd, limit: int
    ) -> None:
        self.job, self.index, self.llm, self.layout, self.signals, self.limit = job, index, llm, layout, signals, limit
        self.stop = (*end.texts, *job.sampling.stop)
        self.ends: Collection[int] = {*llm.stop_ids, *end.ids, *single_tokens(llm.tokenizer, end.texts)}
        self.texts = StopText(llm.tokenizer, self.stop) if self.stop else None
        self.whole = bool(signals.ids) or layout.meta
        """Whether the engine sends the end, with media, after the batch."""
        # The stream of random numbers of `sample_groups`, so that both draw the same answers.
        self.random = np.random.default_rng([job.seed, 0, index])
        self.ids: list[int] = []
        self.reason: Literal["stop", "length"] | None = None
        self.sent = ""
        self._scores: list[TokenScore] = []
        self._decoded = ""

    @property
    def finished(self) -> bool:
        """Whether no further token is taken."""
        return self.reason is not None or self.job.cancelled

    def take(self, token: int, log_prob: float = 0.0, top: tuple[tuple[int, float], ...] = ()) -> None:
        """Take the next token, and pass on the text that later tokens cannot change.

        Args:
            token: its id.
            log_prob: its log-probability, if the job asks for it.
            top: ids of the most likely tokens, with their log-probabilities.
        """
        self.ids.append(token)
        if token in self.ends or (self.texts is not None and self.texts.ends(self.ids)):
            self.reason = "stop"
        elif len(self.ids) >= self.limit:
            self.reason = "length"
        if self.job.sampling.top_logprobs is not None and token not in self.ends:
            named = tuple((self._spelled(other), value) for other, value in top)
            self._scores.append(TokenScore(self._piece(), log_prob, named))
        self._pass_on()
        if self.reason is not None and not self.whole:
            self.job.emit(Done(self.index, self.reason, len(self.ids)))

    def take_all(self, tokens: Sequence[int]) -> None:
        """Take the tokens of a finished answer; the first that ends the answer is the last that is taken."""
        for token in tokens:
            if not self.finished:
                self.take(token)
        if not self.finished:  # beam search ended before the limit, at a context that is full
            self.reason = "length"
            self._pass_on()
            if not self.whole:
                self.job.emit(Done(self.index, self.reason, len(self.ids)))

    def _pass_on(self) -> None:
        text = self._certain()
        new = text[len(self.sent) :] if text.startswith(self.sent) else ""
        if new or (self.reason is not None and self._scores):
            self.sent += new
            self.job.emit(Delta(self.index, new, tuple(self._scores)))
            self._scores = []

    def _certain(self) -> str:
        """The text so far that later tokens do not change."""
        if self.layout.meta:
            return ""  # flags and labels are read as one; the reply brings the text
        runs = read(self.ids, self.llm, self.layout, self.signals, self.stop)
        text = " ".join(run.text for run in runs if isinstance(run, TextPart))
        if self.reason is not None:
            return text
        held = max((n for mark in self.stop for n in range(1, len(mark)) if text.endswith(mark[:n])), default=0)
        return text[: len(text) - held].removesuffix("\ufffd").rstrip()

    def _piece(self) -> str:
        """The text that the last token adds; empty for the first bytes of a character."""
        text = self.llm.tokenizer.decode(self.ids, skip_special_tokens=True)
        if text.endswith("\ufffd") or not text.startswith(self._decoded):
            return ""
        piece, self._decoded = text[len(self._decoded) :], text
        return str(piece)

    def _spelled(self, token: int) -> str:
        """A token that could have come next, as text."""
        before = self.ids[-9:-1]
        whole = self.llm.tokenizer.decode([*before, token], skip_special_tokens=False)
        head = self.llm.tokenizer.decode(before, skip_special_tokens=False) if before else ""
        return str(whole[len(head) :] if whole.startswith(head) else self.llm.tokenizer.decode([token]))
