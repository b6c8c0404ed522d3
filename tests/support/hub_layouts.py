"""Tiny random models in folders that hold the same files as well-known repositories on the Hub."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from sentencepiece_models import write_sentencepiece
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
)

__all__ = ["LAYOUTS", "save_pickles", "write_clip", "write_flan_t5", "write_opt", "write_snapshot", "write_vicuna"]

_NAMED = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
_SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}


def save_pickles(model: Any, folder: Path, *, shards: int = 1, rename: Callable[[str], str] = str) -> None:
    """config.json, generation_config.json and pytorch_model.bin, or shards of it with their index."""
    folder.mkdir(parents=True, exist_ok=True)
    model.config.save_pretrained(folder)
    if (generation := getattr(model, "generation_config", None)) is not None:
        generation.save_pretrained(folder)
    held = {rename(name): tensor.clone() for name, tensor in model.state_dict().items()}
    if shards == 1:
        torch.save(held, folder / "pytorch_model.bin")
        return
    where = {name: f"pytorch_model-{n % shards + 1:05d}-of-{shards:05d}.bin" for n, name in enumerate(held)}
    for file in set(where.values()):
        torch.save({name: held[name] for name in held if where[name] == file}, folder / file)
    write_json(folder / "pytorch_model.bin.index.json", {"metadata": {"total_size": 1}, "weight_map": where})


def write_vicuna(folder: Path, *, legacy: bool | None = False) -> Any:
    """lmsys/vicuna-7b-v1.5: two shards ``.bin``, tokenizer.model, neither safetensors nor tokenizer.json."""
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=420, max_position_embeddings=256, **_SIZES)).eval()
    save_pickles(model, folder, shards=2)
    write_sentencepiece(folder / "tokenizer.model")
    held = {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "add_eos_token": False, **_NAMED}
    write_json(folder / "tokenizer_config.json", held if legacy is None else {**held, "legacy": legacy})
    write_json(folder / "special_tokens_map.json", _NAMED)
    return model


def write_opt(folder: Path) -> Any:
    """facebook/opt-2.7b: one ``.bin`` whose names lack ``model.``, vocab.json and merges.txt, ``</s>`` as BOS."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator(["what is shown in the picture? two cats"] * 3, trainer)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 48}
    ids = {"pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 2}
    config = OPTConfig(vocab_size=core.get_vocab_size(), word_embed_proj_dim=32, **sizes, **ids)
    model = OPTForCausalLM(config).eval()
    save_pickles(model, folder, rename=lambda name: name.removeprefix("model."))
    core.model.save(str(folder))
    named = {"bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>", "pad_token": "<pad>"}
    write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "GPT2Tokenizer", "add_bos_token": True, "add_prefix_space": False, **named},
    )
    write_json(folder / "special_tokens_map.json", named)
    return model


def write_flan_t5(folder: Path) -> Any:
    """google/flan-t5-*: spiece.model, and pytorch_model.bin."""
    folder.mkdir(parents=True, exist_ok=True)
    write_sentencepiece(folder / "spiece.model", kind="unigram", size=150)
    torch.manual_seed(0)
    make: Any = T5Config
    config = make(
        vocab_size=320,
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        decoder_start_token_id=0,
    )
    model = T5ForConditionalGeneration(config).eval()
    save_pickles(model, folder)
    named = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "T5Tokenizer", "extra_ids": 100, **named})
    return model


def write_clip(folder: Path, *, processor: bool = True) -> Any:
    """openai/clip-vit-large-patch14-336: both towers in one ``.bin``."""
    torch.manual_seed(1)
    vision = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
    text = {**vision, "num_hidden_layers": 1, "vocab_size": 99}
    config = CLIPConfig(vision_config={**vision, "image_size": 16, "patch_size": 8}, text_config=text, projection_dim=8)
    model = CLIPModel(config).eval()
    save_pickles(model, folder)
    if processor:
        sizes = {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}
        CLIPImageProcessorPil(**sizes).save_pretrained(folder)
    return model


def write_vit(folder: Path) -> Any:
    """google/vit-base-patch16-224: a classifier and no pooler."""
    torch.manual_seed(2)
    make: Any = ViTConfig
    config = make(image_size=16, patch_size=8, num_labels=7, **_SIZES)
    model = ViTForImageClassification(config).eval()
    save_pickles(model, folder)
    ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(folder)
    return model


def write_snapshot(folder: Path, cache: Path) -> Path:
    """A folder, its subfolders too, as huggingface_hub's cache holds it: links into ``blobs``."""
    blobs, snapshot = cache / "blobs", cache / "snapshots" / ("a" * 40)
    blobs.mkdir(parents=True)
    for number, path in enumerate(sorted(path for path in folder.rglob("*") if path.is_file())):
        link = snapshot / path.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        path.rename(blobs / f"{number:064d}")
        link.symlink_to(os.path.relpath(blobs / f"{number:064d}", link.parent))
    return snapshot


def write_json(path: Path, held: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(held))


LAYOUTS: dict[str, Callable[[Path], Any]] = {"vicuna": write_vicuna, "opt": write_opt, "flan-t5": write_flan_t5}
"""Language models by name."""
