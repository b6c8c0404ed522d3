"""Memory and time of training by size of the LLM, computed: ``python -m inlay_docs.memory_sizes`` prints the tables.

Weights, gradients and moments are counted as in :mod:`inlay.recipes.training.memory_plan`. Activations are those that
autograd keeps in one and in two layers of the true width (random weights, short sequence), extended to all layers and
to the true length, in both of which they are linear. Nothing here is measured on a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from inlay.adapters import Adapter, Backbone, LanguageModel, Layout, LoraConfig, MlpConfig, parse_messages, precomputed
from inlay.adapters.language.cross_entropy import CHUNK_BYTES
from inlay.recipes.miniature import backbone_path
from inlay.recipes.training.memory_plan import COPIES, kept_bytes
from inlay_docs.markdown import table

__all__ = ["MODELS", "Model", "Plan", "kept", "markdown", "plan"]

GB = 1e9
VISION, PATCHES, ENCODER = 1024, 576, 303_507_456
"""Width, features and parameters of CLIP ViT-L/14 at 336 pixels."""
TOKENS, LABELLED = 910, 110
"""Positions of a median row of LLaVA's instruction data with its picture, and those of them with a label."""
PEAK = {"RTX 4090 (24 GB)": 165e12, "A100 (80 GB)": 312e12, "H100 (80 GB)": 989e12}
"""Products in bfloat16 a second, by the makers' data sheets."""
USED = 0.4
"""Share of the peak that is assumed."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """Sizes of a LLaMA."""

    name: str
    width: int
    layers: int
    ffn: int
    heads: int
    key_heads: int
    head: int
    vocabulary: int
    tied: bool = False

    def config(self, layers: int) -> LlamaConfig:
        """The configuration with so many layers."""
        return LlamaConfig(
            hidden_size=self.width,
            num_hidden_layers=layers,
            intermediate_size=self.ffn,
            num_attention_heads=self.heads,
            num_key_value_heads=self.key_heads,
            head_dim=self.head,
            vocab_size=self.vocabulary,
            tie_word_embeddings=self.tied,
        )

    def parameters(self) -> int:
        """Parameters of the whole model."""
        with torch.device("meta"):
            return sum(one.numel() for one in set(LlamaForCausalLM(self.config(self.layers)).parameters()))


MODELS = (
    Model(
        name="SmolLM2 360M",
        width=960,
        layers=32,
        ffn=2560,
        heads=15,
        key_heads=5,
        head=64,
        vocabulary=49152,
        tied=True,
    ),
    Model(
        name="Qwen3 4B",
        width=2560,
        layers=36,
        ffn=9728,
        heads=32,
        key_heads=8,
        head=128,
        vocabulary=151936,
        tied=True,
    ),
    Model(name="Vicuna 7B", width=4096, layers=32, ffn=11008, heads=32, key_heads=32, head=128, vocabulary=32000),
    Model(name="Vicuna 13B", width=5120, layers=40, ffn=13824, heads=40, key_heads=40, head=128, vocabulary=32000),
)


def kept(model: Model, layers: int, rank: int, *, dtype: torch.dtype = torch.bfloat16) -> tuple[float, int]:
    """Bytes that autograd keeps for a position, and trained parameters, with so many layers."""
    auto: Any = AutoModelForCausalLM  # untyped
    llm = auto.from_config(model.config(layers), dtype=dtype)
    tokenizer = AutoTokenizer.from_pretrained(backbone_path("llama"))
    backbone = Backbone(LanguageModel(llm, tokenizer), {"features": precomputed(VISION, 16)})
    adapter = Adapter.for_backbone(
        backbone,
        system="llava",
        name="plan",
        layout=Layout(template="vicuna_v1"),
        inputs={"features": MlpConfig()},
        lora=LoraConfig(r=rank, alpha=float(rank)),
    )
    trained = sum(parameter.numel() for parameter in adapter.parameters())
    attached: Any = adapter.attach(backbone)
    adapter.train()
    said = [{"role": "user", "content": "what is it? " * 4}, {"role": "assistant", "content": "a red circle"}]
    row = attached.encode(parse_messages(said))
    with kept_bytes([backbone, adapter]) as found, torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        attached(attached.collate([row]), logits="none")
    adapter.detach()
    return found.total / len(row.ids), trained


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Bytes on the device for one micro-batch of one row."""

    weights: int
    training: int
    """Gradients and two moments, in float32."""
    row: int
    """Activations of one row."""
    recomputed: int
    """The same with gradient checkpointing."""
    head: int


def plan(model: Model, rank: int, *, bits: int = 16) -> Plan:
    """The plan of LLaVA's second stage on a model.

    Args:
        model: the LLM.
        rank: rank of LoRA on all linears.
        bits: of the LLM's weights.
    """
    (one, small), (two, large) = (kept(model, layers, rank) for layers in (1, 2))
    layer = two - one
    trained = small + (large - small) * (model.layers - 1)
    row = TOKENS * (one + layer * (model.layers - 1))
    return Plan(
        weights=model.parameters() * bits // 8 + 2 * ENCODER + 4 * trained,
        training=12 * trained,
        row=int(row),
        recomputed=int(TOKENS * (2 * model.width * model.layers + layer)),
        head=COPIES * min(CHUNK_BYTES, 4 * model.vocabulary * LABELLED),
    )


def markdown(rank: int = 16) -> str:
    """Both tables."""
    memory, time = [], []
    for model in MODELS:
        found, small = plan(model, rank), plan(model, rank, bits=4)
        fixed = found.training + found.head
        memory.append(
            (
                model.name,
                *(f"{size / GB:.1f}" for size in (found.weights, fixed, found.row, found.recomputed)),
                f"{(found.weights + fixed + found.recomputed * 8) / GB:.0f}",
                f"{(small.weights + fixed + small.recomputed * 8) / GB:.0f}",
            )
        )
        flops = 4 * model.parameters() * TOKENS + 2 * ENCODER * (PATCHES + 1)
        time.append((model.name, *(f"{flops * 10_000 / (peak * USED) / 60:.0f}" for peak in PEAK.values())))
    heads = ("LLM", "weights", "gradients, moments, head", "a row", "a row, recomputed", "8 rows, recomputed")
    return "\n\n".join(
        (table((*heads, "the same in nf4"), memory), table(("LLM", *(f"minutes, {name}" for name in PEAK)), time))
    )


if __name__ == "__main__":
    print(markdown())
