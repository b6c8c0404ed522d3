"""Loading a tokenizer from a Hub id or a folder, in any of the published file formats.

``tokenizer.json`` is read by transformers alone; ``tokenizer.model`` and ``spiece.model`` need sentencepiece, and
``tiktoken.model`` needs tiktoken.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from inlay.adapters.loading.files.checkpoint import stored_file
from inlay.adapters.loading.files.errors import BackboneError, reason_of
from inlay.adapters.loading.files.exact_tokenizer import TokenizerWarning, exact_tokenizer
from inlay.adapters.loading.files.gguf import sentencepiece_of

__all__ = ["load_tokenizer"]

_SENTENCEPIECE = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
_LARGEST_CONFIG = 1 << 24


def load_tokenizer(source: str | Path, options: Mapping[str, Any]) -> Any:
    """Load a tokenizer that encodes exactly by its files, see :mod:`inlay.adapters.loading.files.exact_tokenizer`.

    Args:
        source: Hub id or folder.
        options: ``revision``, ``local_files_only``, ``gguf_file``.

    Raises:
        BackboneError: there are no files of a tokenizer, they are damaged, or the library to read them is missing.
    """
    if "gguf_file" in options:
        return _of_gguf(source, options)
    published = stored_file(source, "tokenizer.json", options)
    model = next((path for name in _SENTENCEPIECE if (path := stored_file(source, name, options))), None)
    if published is None:
        _check_reader(source, model, options)
    tokenizer = _loaded(source, options)
    try:
        return exact_tokenizer(tokenizer, model, published, _is_legacy(source, options), str(source))
    except Exception as error:  # tokenizers raises plain exceptions
        raise BackboneError(f"{source}: no tokenizer could be loaded: {reason_of(error)}") from error


def _of_gguf(source: str | Path, options: Mapping[str, Any]) -> Any:
    """The tokenizer of a GGUF file; one of sentencepiece's kind puts a space after special tokens, as in llama.cpp."""
    tokenizer = _loaded(source, options)
    try:
        model = sentencepiece_of(Path(source) / str(options["gguf_file"]))
        return tokenizer if model is None else exact_tokenizer(tokenizer, model, None, True, str(source))
    except (ImportError, RuntimeError) as error:
        reason = "is not installed (pip install sentencepiece protobuf)"
        if isinstance(error, RuntimeError):
            reason = f"does not accept this vocabulary ({reason_of(error)})"
        warnings.warn(
            f"{source}: the tokenizer was not compared with sentencepiece, which {reason}; it may encode texts that "
            "begin with a space differently",
            TokenizerWarning,
            stacklevel=2,
        )
        return tokenizer


def _loaded(source: str | Path, options: Mapping[str, Any]) -> Any:
    load: Any = AutoTokenizer.from_pretrained
    try:
        tokenizer = load(source, trust_remote_code=False, **options)
    except Exception as error:
        raise BackboneError(
            f"{source}: no tokenizer could be loaded: {reason_of(error)} (expected tokenizer.json and "
            "tokenizer_config.json, or tokenizer.model, next to config.json)"
        ) from error
    # Without files transformers builds an empty tokenizer of the model's class, which encodes nothing.
    if not len(tokenizer("a b").input_ids) or tokenizer("a b").input_ids == tokenizer("").input_ids:
        raise BackboneError(
            f"{source}: the tokenizer encodes no text; expected tokenizer.json or tokenizer.model next to config.json, "
            "as AutoTokenizer.save_pretrained writes it"
        )
    return tokenizer


def _check_reader(source: str | Path, model: Path | None, options: Mapping[str, Any]) -> None:
    """Check that the library that reads the tokenizer's file is installed."""
    if model is not None and find_spec("sentencepiece") is None:
        raise BackboneError(
            f"{source}: reading {model.name} needs sentencepiece, which is not installed: pip install sentencepiece"
        )
    if model is None and stored_file(source, "tiktoken.model", options) and find_spec("tiktoken") is None:
        raise BackboneError(
            f"{source}: reading tiktoken.model needs tiktoken, which is not installed: pip install 'inlay[tiktoken]'"
        )


def _is_legacy(source: str | Path, options: Mapping[str, Any]) -> bool:
    """``legacy`` of tokenizer_config.json; true if it is missing, as in transformers 4."""
    path = stored_file(source, "tokenizer_config.json", options)
    if path is None or path.stat().st_size > _LARGEST_CONFIG:
        return True
    held = json.loads(path.read_text(encoding="utf-8"))
    return not isinstance(held, dict) or held.get("legacy") in (None, True)
