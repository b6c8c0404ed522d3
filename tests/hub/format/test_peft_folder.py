from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from inlay.hub import Bundle, BundleError, LayoutSpec, LoraFolder, LoraSpec, Manifest, PartSpec, PortSpec
from inlay.hub.format.peft_folder import LORA_CONFIG, read_config, write_config

# peft 0.21 asks transformers 5.23 for a property that transformers has renamed.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

DIGEST = "sha256:" + "0" * 64


def _llama(seed: int = 0) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=32,
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def peft_model() -> Any:
    """A tiny LLaMA with a LoRA made by peft itself; both halves are random, so the LoRA changes the logits."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=4, lora_alpha=8, lora_dropout=0.1, target_modules=["q_proj", "v_proj", "down_proj"], task_type="CAUSAL_LM"
    )
    model = get_peft_model(_llama(), config).eval()
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.fixture
def lora(peft_model: Any) -> LoraFolder:
    from peft import get_peft_model_state_dict

    spec = LoraSpec(r=4, alpha=8, dropout=0.1, targets=("q_proj", "v_proj", "down_proj"))
    return LoraFolder(spec, get_peft_model_state_dict(peft_model))


def test_peft_alone_loads_our_folder_and_gives_the_same_logits(
    peft_model: Any, lora: LoraFolder, tmp_path: Path
) -> None:
    from peft import PeftModel

    count = sum(tensor.numel() for tensor in lora.tensors.values())
    manifest = Manifest(
        system="llava",
        name="lora only",
        interface={"llm": PortSpec(kind="llm", family="llama", width=16, weights=DIGEST)},
        layout=LayoutSpec(template="plain"),
        parts={"lora": PartSpec(kind="lora", parameters=count, dtype="float32")},
    )
    Bundle(manifest, {}, lora).write(tmp_path / "bundle")
    loaded = PeftModel.from_pretrained(_llama(), str(tmp_path / "bundle" / "lora")).eval()
    ids = torch.arange(12).view(1, 12)
    with torch.no_grad():
        expected, plain = peft_model(ids).logits, _llama()(ids).logits
        found = loaded(ids).logits
    assert torch.equal(found, expected)
    assert not torch.allclose(found, plain)


def test_a_folder_that_peft_wrote_is_read(peft_model: Any, lora: LoraFolder, tmp_path: Path) -> None:
    peft_model.save_pretrained(tmp_path)
    assert read_config((tmp_path / "adapter_config.json").read_bytes()) == lora.spec


def test_what_is_written_is_read_back() -> None:
    spec = LoraSpec(r=8, alpha=16.5, targets=("b.c", "a"), base_model="org/name", task_type="SEQ_2_SEQ_LM")
    assert read_config(write_config(spec)) == spec


def test_targets_are_sorted_and_each_once() -> None:
    assert LoraSpec(r=1, alpha=1, targets=("b", "a", "b")).targets == ("a", "b")


# name: (fields that change, field that must be named)
HOSTILE: dict[str, tuple[dict[str, object], str]] = {
    "module to import": ({"auto_mapping": {"parent_library": "os"}}, "auto_mapping"),
    "megatron module": ({"megatron_core": "os"}, "megatron_core"),
    "megatron config": ({"megatron_config": {}}, "megatron_config"),
    "layer replication": ({"layer_replication": [[0, 10**6]]}, "layer_replication"),
    "huge rank": ({"r": 10**9}, "r"),
    "rank above the limit": ({"r": 1025}, "r"),
    "zero rank": ({"r": 0}, "r"),
    "negative rank": ({"r": -1}, "r"),
    "text rank": ({"r": "8"}, "r"),
    "bool rank": ({"r": True}, "r"),
    "no rank": ({"r": None}, "r"),
    "pattern": ({"target_modules": "(a+)+$"}, "target_modules"),
    "all linear": ({"target_modules": "all-linear"}, "target_modules"),
    "all linear in a list": ({"target_modules": ["all-linear"]}, "target_modules"),
    "pattern in a list": ({"target_modules": ["(a+)+$"]}, "target_modules"),
    "newline in a target": ({"target_modules": ["q_proj\n"]}, "target_modules"),
    "numbers as targets": ({"target_modules": [1]}, "target_modules"),
    "no targets": ({"target_modules": []}, "target_modules"),
    "null targets": ({"target_modules": None}, "target_modules"),
    "too many targets": ({"target_modules": [f"m{i}" for i in range(5000)]}, "target_modules"),
    "repeated target": ({"target_modules": ["a", "a"]}, "target_modules"),
    "whole modules": ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
    "loftq": ({"init_lora_weights": "loftq"}, "init_lora_weights"),
    "path to initial weights": ({"init_lora_weights": "/etc/passwd"}, "init_lora_weights"),
    "loftq config": ({"loftq_config": {"a": 1}}, "loftq_config"),
    "other type": ({"peft_type": "LOHA"}, "peft_type"),
    "other task": ({"task_type": "FEATURE_EXTRACTION"}, "task_type"),
    "null task": ({"task_type": None}, "task_type"),
    "runtime config": ({"runtime_config": {"ephemeral_gpu_offload": True}}, "'runtime_config'"),
    "token indices": ({"trainable_token_indices": list(range(10**4))}, "trainable_token_indices"),
    "long base": ({"base_model_name_or_path": "x" * 10_000}, "base_model_name_or_path"),
    "escape in base": ({"base_model_name_or_path": "\x1b[2J"}, "base_model_name_or_path"),
    "moving revision": ({"revision": "main"}, "revision"),
    "bias": ({"bias": "all"}, "bias"),
    "rslora": ({"use_rslora": True}, "use_rslora"),
    "dora": ({"use_dora": True}, "use_dora"),
    "zero for false": ({"use_dora": 0}, "use_dora"),
    "rank pattern": ({"rank_pattern": {"q_proj": 4}}, "rank_pattern"),
    "alpha pattern": ({"alpha_pattern": {"(a+)+$": 4}}, "alpha_pattern"),
    "zero alpha": ({"lora_alpha": 0}, "lora_alpha"),
    "no alpha": ({"lora_alpha": None}, "lora_alpha"),
    "full dropout": ({"lora_dropout": 1}, "lora_dropout"),
    "unknown": ({"code": "os.system"}, "'code'"),
}


@pytest.mark.parametrize(("change", "field"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_config_is_refused_and_the_field_named(change: dict[str, object], field: str) -> None:
    raw = json.loads(write_config(LoraSpec(r=8, alpha=16, targets=("q_proj",))))
    with pytest.raises(BundleError) as caught:
        read_config(json.dumps(raw | change).encode())
    assert (caught.value.file, caught.value.field) == (LORA_CONFIG, field)


KEY = "base_model.model.model.layers.0.self_attn.q_proj"
A, B = f"{KEY}.lora_A.weight", f"{KEY}.lora_B.weight"
# name: (tensors, words that must be said)
BROKEN: dict[str, tuple[dict[str, torch.Tensor], str]] = {
    "no B": ({A: torch.ones(2, 6)}, "got only this one"),
    "other rank": ({A: torch.ones(4, 6), B: torch.ones(6, 4)}, r"expected shape (2, in), got [4, 6]"),
    "other rank in B": ({A: torch.ones(2, 6), B: torch.ones(6, 4)}, r"expected shape (out, 2), got [6, 4]"),
    "flat": ({A: torch.ones(12), B: torch.ones(6, 2)}, "expected shape (2, in), got [12]"),
    "embedding": ({f"{KEY}.lora_embedding_A": torch.ones(2, 6)}, "lora_A|B.weight"),
    "whole module": ({f"{KEY}.base_layer.weight": torch.ones(2, 6)}, "lora_A|B.weight"),
    "bias": ({f"{KEY}.lora_B.bias": torch.ones(2)}, "lora_A|B.weight"),
    "adapter name left in": ({f"{KEY}.lora_A.default.weight": torch.ones(2, 6)}, "lora_A|B.weight"),
    "no target": (
        {A.replace("q_proj", "xq_proj"): torch.ones(2, 6), B.replace("q_proj", "xq_proj"): torch.ones(6, 2)},
        "not in target_modules",
    ),
    "nothing": ({}, "expected weights for the target module 'q_proj'"),
}


@pytest.mark.parametrize(("tensors", "told"), BROKEN.values(), ids=BROKEN)
def test_weights_that_do_not_match_the_config_are_refused(tensors: dict[str, torch.Tensor], told: str) -> None:
    with pytest.raises(BundleError) as caught:
        LoraFolder(LoraSpec(r=2, alpha=4, targets=("q_proj",)), tensors)
    assert told in str(caught.value)


def test_the_modules_are_listed() -> None:
    folder = LoraFolder(LoraSpec(r=2, alpha=4, targets=("q_proj",)), {A: torch.ones(2, 6), B: torch.ones(6, 2)})
    assert folder.modules == ("model.layers.0.self_attn.q_proj",)


class _Canary:
    """Unpickling this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("alone", [True, False])
def test_a_pickled_lora_is_refused_and_never_opened(folder: Path, tmp_path: Path, alone: bool) -> None:
    canary = tmp_path / "canary"
    (folder / "lora" / "adapter_model.bin").write_bytes(pickle.dumps(_Canary(canary)))
    if alone:
        (folder / "lora" / "adapter_model.safetensors").unlink()
    with pytest.raises(BundleError, match=r"not opened: expected lora/adapter_model.safetensors"):
        Bundle.read(folder)
    assert not canary.exists()


def test_the_base_model_must_be_the_llm_of_the_manifest(folder: Path, reseal: Callable[..., None]) -> None:
    raw = json.loads((folder / LORA_CONFIG).read_bytes()) | {"base_model_name_or_path": "evil/model"}
    reseal(folder, {LORA_CONFIG: json.dumps(raw).encode()})
    with pytest.raises(BundleError, match=r"base_model_name_or_path: expected .*vicuna.*, got 'evil/model'"):
        Bundle.read(folder)
