"""llama.cpp as a library (``llama-cpp-python``): a GGUF model that is run from embeddings.

Encoder and projector stay in torch; their output and the embeddings of the text enter llama.cpp by
``llama_batch.embd``, so that every input system works, even if llama.cpp does not support its encoder. A base model in
float32 gives the logits of torch within 1e-4 if the KV cache is float32 too and flash attention is off.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch

from inlay.adapters.export.gguf.architectures import ARCHITECTURES
from inlay.adapters.export.gguf.gguf_file import Array
from inlay.hub.errors import InlayError

__all__ = ["LlamaCpp", "LlamaCppError", "has_llama_cpp", "llama_cpp_version"]

_CHUNK = 512
"""Positions of one call."""
_ROWS = 64
"""Most conversations at once."""
_ERROR = 4
"""Level of an error in llama.cpp's log."""
_CONTINUED = 5


class LlamaCppError(InlayError):
    """llama.cpp is not installed, or cannot run a model."""


def has_llama_cpp() -> bool:
    """Whether ``llama-cpp-python`` is installed."""
    return find_spec("llama_cpp") is not None


def llama_cpp_version() -> str:
    """The version of ``llama-cpp-python``."""
    return str(getattr(import_module("llama_cpp"), "__version__", "unknown"))


class LlamaCpp:
    """A model in llama.cpp with at most one LoRA. Not for several threads at once.

    Args:
        base: GGUF file of the language model, of any quantisation.
        lora: GGUF file of a LoRA for it.
        threads: of the CPU; as many as torch uses if not given.
        cache: data type of keys and values.

    Raises:
        LlamaCppError: the package is missing, or llama.cpp refuses a file; the text has its reason.
    """

    def __init__(
        self, base: Path, lora: Path | None = None, *, threads: int | None = None, cache: Literal["f32", "f16"] = "f32"
    ) -> None:
        self._api, self._log = _library()
        self._model: Any = None
        self._context: Any = None
        self._lora: Any = None
        self._uses_lora = lora is not None
        self._threads, self._cache = threads or torch.get_num_threads(), cache
        self._rows = self._length = 0
        self._lengths: list[int] = []
        self._read: list[Array] = []
        """Embeddings ``[n, width]`` whose keys and values the only row of the last call has; empty for several rows."""
        for path in (base, lora):
            if path is not None and not path.is_file():
                raise LlamaCppError(f"{path}: expected a GGUF file, got a missing file")
        self._log.clear()
        self._model = self._api.llama_model_load_from_file(bytes(base), self._api.llama_model_default_params())
        if not self._model:
            raise LlamaCppError(f"{base}: llama.cpp cannot load this model: {self._reason()}")
        if lora is not None:
            self._lora = self._api.llama_adapter_lora_init(self._model, bytes(lora))
            if not self._lora:
                reason = self._reason()
                self.close()
                raise LlamaCppError(f"{lora}: llama.cpp cannot add this LoRA to {base.name}: {reason}")
        self.width = int(self._api.llama_model_n_embd(self._model))
        self.layers = int(self._api.llama_model_n_layer(self._model))
        self.context = int(self._api.llama_model_n_ctx_train(self._model))
        self.vocabulary = int(self._api.llama_vocab_n_tokens(self._api.llama_model_get_vocab(self._model)))
        self.architecture = self.metadata("general.architecture") or ""
        scaled = any(known.scale and known.name == self.architecture for known in ARCHITECTURES.values())
        self._divisor = math.sqrt(self.width) if scaled else 1.0

    def metadata(self, key: str) -> str | None:
        """A value of the base model's header as text; None without such a key."""
        buffer = ctypes.create_string_buffer(1024)
        size = self._api.llama_model_meta_val_str(self._model, key.encode(), buffer, len(buffer))
        return buffer.value.decode(errors="replace") if size >= 0 else None

    def begin(self, rows: Sequence[Array], more: int = 0) -> Array:
        """Read prompts, one for each row, in the place of the rows before.

        A single prompt that begins like the conversation before it is read from the first difference on, so that a
        second question about a picture does not read the picture again.

        Args:
            rows: embeddings ``[T, width]`` of each prompt.
            more: positions that may follow each of them.

        Returns:
            Logits ``[rows, vocabulary]`` of the next token.

        Raises:
            LlamaCppError: more rows or positions than llama.cpp takes.
        """
        longest = max(len(row) for row in rows)
        if longest + more > self.context:
            raise LlamaCppError(
                f"expected at most {self.context} positions, which the context of the model has, got {longest} and "
                f"{more} new ones; shorten the text or max_new_tokens"
            )
        self._make_room(len(rows), longest + more)
        kept = self._keep(rows[0]) if len(rows) == 1 else 0
        if not kept:
            self._api.llama_memory_clear(self._api.llama_get_memory(self._context), True)
        self._lengths, self._read = [kept] + [0] * (len(rows) - 1), []
        found = np.empty((len(rows), self.vocabulary), np.float32)
        for number, row in enumerate(rows):
            for start in range(kept, len(row), _CHUNK):
                part = row[start : start + _CHUNK]
                found[number] = self._run(part, [number] * len(part), [len(part) - 1])[0]
        if len(rows) == 1:
            self._read = [rows[0]]
        return found

    def _keep(self, row: Array) -> int:
        """Positions of a prompt whose keys and values stay; all behind them are removed."""
        before = np.concatenate(self._read) if self._read else row[:0]
        # The last position is always computed: its logits give the next token.
        length = min(len(before), len(row) - 1)
        same = (before[:length] == row[:length]).all(axis=1)
        kept = length if bool(same.all()) else int(same.argmin())
        memory = self._api.llama_get_memory(self._context)
        return kept if kept and self._api.llama_memory_seq_rm(memory, 0, kept, -1) else 0

    def step(self, embeddings: Array) -> Array:
        """Read the next position of every row.

        Args:
            embeddings: ``[rows, width]``.

        Returns:
            Logits ``[rows, vocabulary]`` of the token after it.
        """
        rows = list(range(len(self._lengths)))
        found = self._run(embeddings, rows, rows)
        if self._read:
            self._read.append(np.array(embeddings))
        return found

    def use_lora(self, wanted: bool) -> None:
        """Compute with or without the LoRA, from the next prompts on."""
        if wanted != self._uses_lora:
            self._uses_lora, self._read = wanted, []
            self._set_lora()

    def close(self) -> None:
        """Free the memory; the model cannot be used afterwards."""
        if self._context is not None:
            self._api.llama_free(self._context)
        if self._model is not None:
            self._api.llama_model_free(self._model)  # frees its LoRA, too
        self._context = self._model = self._lora = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        with suppress(Exception):  # the interpreter may be closing down
            self.close()

    def _run(self, embeddings: Array, rows: Sequence[int], outputs: Sequence[int]) -> Array:
        """Logits ``[outputs, vocabulary]`` of some of the positions ``[n, width]``; ``rows`` has the row of each."""
        values = np.ascontiguousarray(embeddings / self._divisor, dtype=np.float32)
        if values.shape != (len(rows), self.width):
            raise LlamaCppError(f"expected embeddings [{len(rows)}, {self.width}], got {list(values.shape)}")
        batch = self._api.llama_batch_init(len(rows), self.width, 1)
        try:
            batch.n_tokens = len(rows)
            ctypes.memmove(batch.embd, values.ctypes.data, values.nbytes)
            for index, row in enumerate(rows):
                batch.pos[index] = self._lengths[row]
                batch.n_seq_id[index] = 1
                batch.seq_id[index][0] = row
                batch.logits[index] = index in outputs
                self._lengths[row] += 1
            self._log.clear()
            if (status := self._api.llama_decode(self._context, batch)) != 0:
                self._read = []
                raise LlamaCppError(f"llama.cpp failed with status {status}: {self._reason()}")
            pointers = [self._api.llama_get_logits_ith(self._context, index) for index in outputs]
            return np.stack([np.ctypeslib.as_array(pointer, (self.vocabulary,)).copy() for pointer in pointers])
        finally:
            self._api.llama_batch_free(batch)

    def _make_room(self, rows: int, length: int) -> None:
        """A context for so many rows of this length; the one before is used again if it is large enough."""
        if rows > _ROWS:
            raise LlamaCppError(f"expected at most {_ROWS} conversations at once, got {rows}; use smaller batches")
        if self._context is not None and rows <= self._rows and length <= self._length:
            return
        if self._context is not None:
            self._api.llama_free(self._context)
            self._context, self._read = None, []
        rows = max(rows, self._rows)
        length = min(self.context, -(-max(length, self._length) // 256) * 256)
        params = self._api.llama_context_default_params()
        params.n_ctx, params.n_seq_max = rows * length, rows
        params.n_batch = params.n_ubatch = _CHUNK
        params.kv_unified = False
        params.flash_attn_type = 0
        params.type_k = params.type_v = {"f32": 0, "f16": 1}[self._cache]
        params.n_threads = params.n_threads_batch = self._threads
        self._log.clear()
        self._context = self._api.llama_init_from_model(self._model, params)
        if not self._context:
            self._context = None
            raise LlamaCppError(
                f"llama.cpp has no room for {rows} conversations of {length} positions: {self._reason()}"
            )
        self._rows, self._length = rows, length
        self._set_lora()

    def _set_lora(self) -> None:
        if self._lora is None or self._context is None:
            return
        adapters = (self._api.llama_adapter_lora_p_ctypes * 1)(self._lora)
        count = 1 if self._uses_lora else 0
        if self._api.llama_set_adapters_lora(self._context, adapters, count, (ctypes.c_float * 1)(1.0)) != 0:
            raise LlamaCppError(f"llama.cpp cannot use this LoRA: {self._reason()}")

    def _reason(self) -> str:
        return " ".join("".join(self._log).split())[-400:] or "it gives no reason"


@cache
def _library() -> tuple[Any, list[str]]:
    """The functions of llama.cpp, and its error messages, which it would print otherwise.

    Raises:
        LlamaCppError: the package is missing, or its library cannot be loaded.
    """
    if not has_llama_cpp():
        raise LlamaCppError(
            "llama.cpp is not installed: pip install 'inlay[llamacpp]' (it compiles llama.cpp, which needs cmake and a "
            "C++ compiler)"
        )
    try:
        api: Any = import_module("llama_cpp.llama_cpp")
    except (ImportError, OSError, RuntimeError) as error:
        raise LlamaCppError(f"the library of llama-cpp-python cannot be loaded: {error}; install it again") from error
    messages: list[str] = []
    level = 0

    def listen(kind: int, text: bytes, _: Any) -> None:
        nonlocal level
        level = level if kind == _CONTINUED else kind
        if level == _ERROR:
            messages.append(text.decode(errors="replace"))

    api.listener = api.llama_log_callback(listen)  # kept, because llama.cpp holds only its address
    api.llama_log_set(api.listener, ctypes.c_void_p(0))
    api.llama_backend_init()
    return api, messages
