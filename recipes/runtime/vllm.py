"""The language model behind a vLLM server: prompts go there as embeddings, token ids come back.

One server of the bare language model serves every input system (Q-Former, sounds, several media), because encoder and
projector run here. The server samples, with its own random numbers; greedy answers depend on its arithmetic alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor

from inlay.adapters.language.generation.generate import MAX_NEW_TOKENS, Generation, token_limit
from inlay.adapters.language.generation.stopping import FinishReason, StopText, ended, single_tokens
from inlay.adapters.language.model import LanguageModelError
from inlay.hub.format.manifest import PortSpec
from inlay.recipes.runtime.embedding_table import EmbeddingTable
from inlay.recipes.runtime.headless import HeadlessLanguage, HeadlessModel
from inlay.recipes.runtime.vllm_client import Served, ServerError, VllmClient

__all__ = ["VllmLanguage", "served_names"]

_SAMPLED = ("temperature", "top_p", "top_k", "repetition_penalty")
_KNOWN = {"do_sample", "streamer", "num_beams", "num_return_sequences", "min_new_tokens", *_SAMPLED}


def served_names(models: Sequence[Served], wanted: str | None, has_lora: bool) -> tuple[str, str]:
    """The names of the adapter and of the language model without it.

    Args:
        models: of the server.
        wanted: the user's choice.
        has_lora: whether the adapter has a LoRA.

    Raises:
        ServerError: there is no such model, or no or several LoRA to choose from.
    """
    shown = ", ".join(f"{model.name} (LoRA)" if model.parent else model.name for model in models) or "none"
    loras = [model for model in models if model.parent]
    bases = [model for model in models if not model.parent]
    if wanted is not None:
        chosen = next((model for model in models if model.name == wanted), None)
        if chosen is None:
            raise ServerError(f"served_model: expected one of the server's models ({shown}), got {wanted!r}")
        if has_lora and not chosen.parent:
            raise ServerError(
                f"served_model: {wanted!r} is the language model without a LoRA, and the adapter has one; start the "
                "server with --enable-lora --lora-modules NAME=RUN/bundle/lora"
            )
        return chosen.name, chosen.parent or chosen.name
    if not has_lora and bases:
        return bases[0].name, bases[0].name
    if has_lora and len(loras) == 1:
        return loras[0].name, str(loras[0].parent)
    if has_lora and not loras:
        raise ServerError(
            f"the adapter has a LoRA, and the server has none (it has: {shown}); start it with --enable-lora "
            "--lora-modules NAME=RUN/bundle/lora"
        )
    raise ServerError(f"--served_model: expected the name of one of the server's models: {shown}")


class VllmLanguage(HeadlessLanguage):
    """The port for a language model behind a server.

    Args:
        kept: of the language model.
        client: of the server.
        names: of the adapter and of the language model without it, see :func:`served_names`.
        expected: see :class:`HeadlessLanguage`.
        source: the Hub id, or another name.
        revision: the commit on the Hub.
    """

    def __init__(
        self,
        kept: EmbeddingTable,
        client: VllmClient,
        names: tuple[str, str],
        *,
        expected: PortSpec | None = None,
        source: str | None = None,
        revision: str | None = None,
    ) -> None:
        model = HeadlessModel(kept)
        super().__init__(model, kept.tokenizer, expected=expected, source=source, revision=revision)
        self.client, self.names = client, names

    def logits(self, *_: Any, **__: Any) -> NoReturn:
        """Not available."""
        self.token_losses()

    def generate(
        self,
        embeddings: Tensor,
        mask: Tensor,
        *,
        stop: Sequence[str] = (),
        stop_ids: Sequence[int] = (),
        max_new_tokens: int | None = None,
        **options: Any,
    ) -> Generation:
        """See :meth:`inlay.adapters.language.model.LanguageModel.generate`; one request for each row.

        Raises:
            LanguageModelError: an option that vLLM does not have, or a prompt that fills the context.
            ServerError: the server does not answer, or refuses.
        """
        self.require_one_beam(options, "vLLM")
        if unknown := sorted(set(options) - _KNOWN):
            raise LanguageModelError(f"vllm: expected options among {', '.join(sorted(_KNOWN))}, got {unknown[0]}")
        streamer = options.pop("streamer", None)
        every = sorted({*self.stop_ids, *stop_ids, *single_tokens(self.tokenizer, stop)})
        texts = StopText(self.tokenizer, stop) if stop else None
        fields = {
            "model": self.names[0] if self.adapted else self.names[1],
            "n": int(options.get("num_return_sequences") or 1),
            "min_tokens": int(options.get("min_new_tokens") or 0),
            "stop": list(stop),
            "stop_token_ids": every,
            "return_token_ids": True,
            **self._sampling(options),
        }
        wanted = MAX_NEW_TOKENS if max_new_tokens is None else max_new_tokens
        rows: list[list[int]] = []
        finish: list[FinishReason] = []
        for number in range(len(mask)):
            prompt = embeddings[number][mask[number].bool()]
            fields["max_tokens"] = token_limit(wanted, self.model, self.wiring, mask[number : number + 1])
            for ids, why in self._answers(prompt, fields, streamer):
                row, end = ended(ids, every, texts)
                rows.append(row)
                # The server cuts off a stop text, which may have been the last token of the row.
                finish.append("stop" if why == "stop" else end)
        return Generation(rows, finish)

    def _sampling(self, options: dict[str, Any]) -> dict[str, Any]:
        """All of vLLM's fields, because it takes those that are missing from the model's generation config."""
        config = self.model.generation_config
        plain = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0}
        chosen = {
            name: value if (value := options.get(name, getattr(config, name, None))) is not None else plain[name]
            for name in _SAMPLED
        }
        if not options.get("do_sample"):
            chosen |= {"temperature": 0.0, "top_p": 1.0, "top_k": 0}
        else:
            chosen["seed"] = int(torch.randint(2**31, ()).item())  # torch.manual_seed decides about answers here too
        return {**chosen, "min_p": 0.0}

    def _answers(self, prompt: Tensor, fields: dict[str, Any], streamer: Any) -> list[tuple[list[int], str]]:
        """Token ids and the server's reason for each answer to one prompt."""
        if streamer is None:
            choices = self.client.complete(prompt, fields).get("choices") or []
            if len(choices) != fields["n"]:
                raise ServerError(f"{self.client.url}: expected {fields['n']} answers, got {len(choices)}")
            return [(_ids(choice, self.client.url), str(choice.get("finish_reason"))) for choice in choices]
        ids: list[int] = []
        why = ""
        for event in self.client.stream(prompt, fields):
            for choice in event.get("choices") or []:
                new = _ids(choice, self.client.url)
                why = choice.get("finish_reason") or why
                ids += new
                if new:
                    streamer.put(torch.tensor(new))
        streamer.end()
        return [(ids, why)]


def _ids(choice: Any, url: str) -> list[int]:
    found = choice.get("token_ids") if isinstance(choice, dict) else None
    if not isinstance(found, list) or not all(type(token) is int for token in found):
        raise ServerError(
            f"{url}: expected token ids (return_token_ids) in the answer, got {found!r:.100}; use vLLM 0.10.2 or newer"
        )
    return found
