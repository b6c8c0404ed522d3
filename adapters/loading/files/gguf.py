"""Language models in GGUF files (llama.cpp), which transformers dequantises while reading.

The vocabulary of LLaMA-like models in such a file is that of a sentencepiece model: pieces, scores and kinds. The
sentencepiece model is rebuilt from these, by the rules of llama.cpp, so that the tokenizer can be compared with it.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from inlay.adapters.loading.files.errors import BackboneError

__all__ = ["gguf_file", "sentencepiece_of"]

_BPE = 2
_BYTE = 6
"""Enumeration values of sentencepiece's format: the model type BPE, and the kind of a piece for one byte."""


def gguf_file(source: str | Path) -> Path | None:
    """The GGUF file of a source: the file itself, or the only one in a folder without config.json.

    Args:
        source: a path, or a Hub id, which has no such file.

    Raises:
        BackboneError: the folder has several, or the package ``gguf`` is missing.
    """
    place = Path(source)
    if place.is_file() and place.suffix == ".gguf":
        found = place
    elif place.is_dir() and not (place / "config.json").exists() and (files := sorted(place.glob("*.gguf"))):
        if len(files) > 1:
            raise BackboneError(
                f"{source}: expected one GGUF file, got {', '.join(path.name for path in files)}; name the file itself"
            )
        found = files[0]
    else:
        return None
    if find_spec("gguf") is None:
        raise BackboneError(
            f"{source}: reading {found.name} needs gguf, which is not installed: pip install 'inlay[gguf]'"
        )
    return found


def sentencepiece_of(file: Path) -> bytes | None:
    """The sentencepiece model of a GGUF file, serialised; None if its tokenizer is of another kind.

    Args:
        file: the GGUF file.

    Raises:
        ImportError: sentencepiece or protobuf is not installed.
        RuntimeError: sentencepiece does not accept this vocabulary, for instance because a piece occurs twice.
    """
    import gguf

    fields = gguf.GGUFReader(file).fields

    def held(name: str, otherwise: Any = None) -> Any:
        found = fields.get(f"tokenizer.ggml.{name}")
        return otherwise if found is None else found.contents()

    if held("model") != "llama" or held("scores") is None:
        return None
    formats: Any = import_module("sentencepiece.sentencepiece_model_pb2")
    model: Any = formats.ModelProto()
    for piece, score, kind in zip(held("tokens"), held("scores"), held("token_type"), strict=True):
        model.pieces.add(piece=piece, score=score, type=kind)
    trainer, rules = model.trainer_spec, model.normalizer_spec
    trainer.model_type, trainer.vocab_size = _BPE, len(model.pieces)
    trainer.byte_fallback = any(piece.type == _BYTE for piece in model.pieces)
    for name, field in (("unk_id", "unknown"), ("bos_id", "bos"), ("eos_id", "eos")):
        setattr(trainer, name, held(f"{field}_token_id", getattr(trainer, name)))
    rules.name, rules.escape_whitespaces = "identity", True
    rules.add_dummy_prefix = bool(held("add_space_prefix", True))
    rules.remove_extra_whitespaces = bool(held("remove_extra_whitespaces", False))
    serialised: bytes = model.SerializeToString()
    processor: Any = import_module("sentencepiece").SentencePieceProcessor()
    processor.LoadFromSerializedProto(serialised)
    return serialised
