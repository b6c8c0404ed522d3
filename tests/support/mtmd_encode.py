"""The image embeddings that llama.cpp's own multimodal library computes from a mmproj file."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["mtmd_embeddings"]


def mtmd_embeddings(mmproj: Path, base: Path, pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Embeddings ``[tokens, width]`` of one picture.

    Args:
        mmproj: encoder and projector.
        base: a language model of the same width.
        pixels: ``[height, width, 3]`` in uint8.
    """
    from llama_cpp import llama_cpp as api
    from llama_cpp import mtmd_cpp as mtmd

    quiet = api.llama_log_callback(lambda *_: None)
    for name in ("mtmd_log_set", "mtmd_helper_log_set"):
        if (silence := getattr(mtmd, name, None)) is not None:
            silence(quiet, ctypes.c_void_p(0))
    model = api.llama_model_load_from_file(bytes(base), api.llama_model_default_params())
    params = mtmd.mtmd_context_params_default()
    params.use_gpu, params.warmup, params.n_threads, params.flash_attn_type = False, False, 1, 0
    context = mtmd.mtmd_init_from_file(bytes(mmproj), model, params)
    assert context, "llama.cpp cannot read the file"
    height, width, _ = pixels.shape
    data = np.ascontiguousarray(pixels, dtype=np.uint8)
    bitmap = mtmd.mtmd_bitmap_init(width, height, data.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8)))
    part = mtmd.mtmd_input_part(None, bitmap)
    parts = (ctypes.POINTER(mtmd.mtmd_input_part) * 1)(ctypes.pointer(part))
    chunks = mtmd.mtmd_input_chunks_init()
    assert mtmd.mtmd_tokenize_from_parts(context, chunks, parts, 1, False) == 0
    (chunk,) = [
        held
        for index in range(mtmd.mtmd_input_chunks_size(chunks))
        if mtmd.mtmd_input_chunk_get_type(held := mtmd.mtmd_input_chunks_get(chunks, index)) == 1
    ]
    assert mtmd.mtmd_encode_chunk(context, chunk) == 0
    shape = (mtmd.mtmd_input_chunk_get_n_tokens(chunk), api.llama_model_n_embd(model))
    found = np.ctypeslib.as_array(mtmd.mtmd_get_output_embd(context), shape).copy()
    mtmd.mtmd_input_chunks_free(chunks)
    mtmd.mtmd_bitmap_free(bitmap)
    mtmd.mtmd_free(context)
    api.llama_model_free(model)
    return found
