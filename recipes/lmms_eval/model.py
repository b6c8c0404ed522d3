"""The model ``inlay`` of lmms-eval 0.7: ``lmms-eval --model inlay --model_args pretrained=runs/llava --tasks pope``.

Only lmms-eval imports this file, so lmms-eval is not a dependency. It runs in one process; on several GPUs start
``inlay serve`` and use lmms-eval's model ``openai``, see the page "Evaluation" of the documentation.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import torch
from lmms_eval.api.model import lmms

from inlay.adapters.conversation.messages import Message, TextPart
from inlay.recipes.lmms_eval.requests import RequestError, conversation, cut_at, options_of, question
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.run import BackboneSettings
from inlay.recipes.training.load_model import load_model

__all__ = ["InlayChat", "InlaySimple"]


class InlaySimple(lmms):  # type: ignore[misc]  # lmms-eval may not be installed
    """An adapter on its frozen models, for tasks that give a text and media.

    Args:
        pretrained: a run folder, a bundle, or a repository on the Hub.
        batch_size: conversations in one batch.
        max_batch_size: not used; lmms-eval passes it.
        device: such as ``cuda``; a GPU if there is one and none is named.
        models: fields of ``BackboneSettings``, such as ``llm=models/vicuna``, for models in another folder than the
            bundle names.

    Raises:
        SettingsError: several processes, or an unknown argument.
        InlayError: the adapter or its models cannot be loaded.
    """

    is_simple = True

    def __init__(
        self,
        pretrained: str,
        batch_size: int | str | None = 1,
        max_batch_size: int | None = None,
        device: str | None = None,
        **models: Any,
    ) -> None:
        super().__init__()
        if int(os.environ.get("WORLD_SIZE", 1)) > 1:
            raise SettingsError(
                "the model inlay runs in one process; start `inlay serve` on each GPU, and use lmms-eval's openai model"
            )
        if unknown := sorted(set(models) - set(BackboneSettings.__dataclass_fields__)):
            raise SettingsError(
                f"model_args: expected pretrained, batch_size, device, or one of "
                f"{', '.join(BackboneSettings.__dataclass_fields__)}; got {unknown[0]}"
            )
        self.model = load_model(pretrained, backbone=BackboneSettings(**models))
        chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.model.backbone.to(torch.device(chosen))
        size = str(batch_size)
        self.batch_size = max(1, int(size)) if size.isdigit() else 1
        self._told: set[str] = set()

    @property
    def device(self) -> torch.device:
        """The device of the frozen models."""
        return self.model.backbone.device

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """The answer to each request, in their order."""
        asked = [(place, *self._asked(request.args)) for place, request in enumerate(requests)]
        said: dict[int, str] = {}
        for options, own in _by_options(asked):
            settings, stop, without = options_of(options)
            self._tell(without)
            for start in range(0, len(own), self.batch_size):
                part = own[start : start + self.batch_size]
                replies = self.model.replies([messages for _, messages, _ in part], **settings)
                for (place, _, given), reply in zip(part, replies, strict=True):
                    said[place] = cut_at(reply.text, stop)
                    key = (requests[place].args[0], dict(given))
                    self.cache_hook.add_partial("generate_until", key, said[place])
        return [said[place] for place in range(len(requests))]

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """The mean loss per token of each request's continuation, and whether it is the most likely answer.

        lmms-eval's own models return the loss, and its metrics take the smallest one. The end of the answer is
        included.
        """
        found = []
        for request in requests:
            messages, target = self._continued(request.args)
            answer = Message("assistant", (TextPart(target.strip()),))
            with self.model.inference():
                output: Any = self.model(self.model.batch([(*messages, answer)]), logits="labelled")
            likely = output.logits.argmax(-1) == output.targets
            found.append((float(output.loss), bool(likely.all())))
        return found

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        """Not supported.

        Raises:
            RequestError: always.
        """
        raise RequestError("tasks of several rounds: use `inlay serve` and lmms-eval's model openai")

    def _asked(self, args: Sequence[Any]) -> tuple[tuple[Message, ...], Mapping[str, Any]]:
        """Conversation and generation options of a request."""
        text, options, visuals, row, task, split = args
        return question(text, _media(visuals(self.task_dict[task][split][row]))), options

    def _continued(self, args: Sequence[Any]) -> tuple[tuple[Message, ...], str]:
        """Conversation and continuation of a request."""
        text, target, visuals, row, task, split = args
        document = self.task_dict[task][split][row]
        said = target if isinstance(target, str) else target(document)
        return question(text, _media(visuals(document))), str(said)

    def _tell(self, names: Iterable[str]) -> None:
        for name in set(names) - self._told:
            self._told.add(name)
            print(f"inlay: generation option {name} of the task has no effect")


class InlayChat(InlaySimple):
    """:class:`InlaySimple` for tasks with chat messages; lmms-eval uses this class by default."""

    is_simple = False

    def _asked(self, args: Sequence[Any]) -> tuple[tuple[Message, ...], Mapping[str, Any]]:
        _, messages, options, row, task, split = args
        return conversation(messages(self.task_dict[task][split][row])), options


def _media(held: Any) -> list[Any]:
    """The media of a row; tasks without media give None or an empty list."""
    return [] if held is None else list(held)


def _by_options(
    asked: Iterable[tuple[int, tuple[Message, ...], Mapping[str, Any]]],
) -> Iterator[tuple[Mapping[str, Any], list[tuple[int, tuple[Message, ...], Mapping[str, Any]]]]]:
    """Group requests by equal generation options."""
    ordered = sorted(asked, key=lambda item: repr(sorted(item[2].items())))
    for _, group in groupby(ordered, key=lambda item: repr(sorted(item[2].items()))):
        own = list(group)
        yield own[0][2], own
