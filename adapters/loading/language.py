"""Loading a language model, or a tokenizer alone, from a Hub id or a folder in the standard transformers layout."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, PretrainedConfig
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
)

from inlay.adapters.language.model import LanguageModel, LanguageModelError
from inlay.adapters.language.prompt_tokenizer import PromptTokenizer
from inlay.adapters.language.wiring.embeddings_check import check_embeddings
from inlay.adapters.loading.dtype import chosen_dtype, computable
from inlay.adapters.loading.files.gguf import gguf_file
from inlay.adapters.loading.files.tokenizer import load_tokenizer
from inlay.adapters.loading.language_part import NAMES_INSIDE, NAMES_INSIDE_ENCODER_DECODER, language_part
from inlay.adapters.loading.pretrained import (
    BackboneError,
    commit_of,
    given,
    load_weights,
    loading,
    source_name,
)
from inlay.adapters.loading.quantisation import check_stored, quantised_options

__all__ = ["load_language", "load_prompt_tokenizer"]


def load_language(
    source: str | Path,
    *,
    revision: str | None = None,
    dtype: str | torch.dtype = "auto",
    device: str | torch.device | None = None,
    local_files_only: bool = False,
    name: str | None = None,
    quantise: str | None = None,
) -> LanguageModel:
    """Load a language model with its tokenizer from a Hub id or a folder.

    Args:
        source: Hub id or folder of a causal language model or a text encoder-decoder; a folder may have one GGUF file
            instead of config.json and weights, and the path of such a file is a source too.
        revision: commit, branch or tag.
        dtype: the dtype of the weights in memory; for ``"auto"`` see :func:`inlay.adapters.loading.dtype.chosen_dtype`.
        device: where the model is put; the CPU if not given.
        local_files_only: send no request to the Hub.
        name: the name that bundles store instead of a folder's.
        quantise: ``"nf4"`` or ``"int8"``, see :mod:`inlay.adapters.loading.quantisation`.

    Raises:
        BackboneError: the files cannot be loaded, a tensor is missing, the model is not a generative language model
            (BERT), it does not accept embeddings instead of ids (XLNet), or its decoder begins with a language code
            (mBART).
        LanguageModelError: the tokenizer gives no offsets.
    """
    options = given(revision=revision, local_files_only=local_files_only)
    kind = chosen_dtype(dtype, device)
    with loading(source, "language model"):
        held = source
        if (file := gguf_file(source)) is not None:
            held, options["gguf_file"] = file.parent, file.name
        config = AutoConfig.from_pretrained(held, trust_remote_code=False, **options)
        further: dict[str, Any] = {}
        if (inner := language_part(config, source)) is not config:
            names = NAMES_INSIDE_ENCODER_DECODER if inner.is_encoder_decoder else NAMES_INSIDE
            further = {"config": inner, "key_mapping": dict(names)}
            config = inner
        model_class = _model_class(config, source)
        check_stored(config, quantise, source)
        if quantise is not None:
            further |= quantised_options(quantise, dtype, device)
            kind = further.pop("dtype")
        tokenizer = load_tokenizer(held, options)
        model = load_weights(model_class, held, kind, {**options, **further}, layers=_layers(config))
        _check_ends(model, source)
    language = LanguageModel(
        computable(model, kind, device),
        tokenizer,
        source=name or source_name(source),
        revision=commit_of(model, source),
    )
    language = language if device is None else language.to(device)
    try:
        check_embeddings(language.model)
    except LanguageModelError as error:
        raise BackboneError(f"{source}: {error}") from error
    return language


def load_prompt_tokenizer(
    source: str | Path,
    *,
    revision: str | None = None,
    local_files_only: bool = False,
    name: str | None = None,
) -> PromptTokenizer:
    """Load the tokenizer for projectors that read the prompt, from a Hub id or a folder.

    Args:
        source: Hub id or folder.
        revision: commit, branch or tag; stored in bundles if it is a commit.
        local_files_only: send no request to the Hub.
        name: the name that bundles store instead of a folder's.

    Raises:
        BackboneError: the files cannot be loaded.
    """
    with loading(source, "tokenizer"):
        tokenizer = load_tokenizer(source, given(revision=revision, local_files_only=local_files_only))
    commit = revision if revision is not None and re.fullmatch("[0-9a-f]{40}", revision) else None
    return PromptTokenizer(tokenizer, source=name or source_name(source), revision=commit)


def _model_class(config: PretrainedConfig, source: str | Path) -> Any:
    """The auto class of a causal language model or a text encoder-decoder."""
    kind = str(config.model_type)
    if getattr(config, "is_encoder_decoder", False):
        if kind in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
            _check_start(config, source)
            return AutoModelForSeq2SeqLM
    elif kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        # transformers also loads BERT and its relatives as causal models, with bidirectional attention.
        if kind not in MODEL_FOR_MASKED_LM_MAPPING_NAMES or getattr(config, "is_decoder", False):
            return AutoModelForCausalLM
        raise BackboneError(
            f"{source}: expected a causal language model or an encoder-decoder, got the masked language model "
            f"{kind!r} (is_decoder is not true in config.json), which cannot generate text"
        )
    raise BackboneError(
        f"{source}: expected a causal language model or a text encoder-decoder, got a model of type {kind!r}, which "
        "transformers has no such class for"
    )


def _check_start(config: PretrainedConfig, source: str | Path) -> None:
    """Check that the decoder begins with the start token of the config.

    In mBART and PLBart it begins with the language code at the end of the target, and the source ends with one too.
    """
    model_class = MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING[type(config)]
    shift = getattr(sys.modules[model_class.__module__], "shift_tokens_right", None)
    if shift is not None and "decoder_start_token_id" not in inspect.signature(shift).parameters:
        raise BackboneError(
            f"{source}: a decoder of type {config.model_type!r} begins with the language code of its target, which a "
            "conversation does not have; choose an encoder-decoder with one start token (T5, Flan-T5, BART)"
        )


def _layers(config: PretrainedConfig) -> int:
    """Number of layers of the deepest stack."""
    text = config.get_text_config()
    names = ("num_hidden_layers", "num_layers", "num_decoder_layers", "encoder_layers", "decoder_layers")
    return max((int(getattr(text, name, None) or 0) for name in names), default=0)


def _check_ends(model: Any, source: str | Path) -> None:
    """Check the tokens that end a generation, if generation_config.json names any."""
    ends = getattr(model.generation_config, "eos_token_id", None)
    if not all(type(end) is int for end in (ends if isinstance(ends, list) else [] if ends is None else [ends])):
        raise BackboneError(f"{source}: generation_config.json: eos_token_id: expected token ids, got {ends!r}")
