"""The target ``peft``: the LoRA alone, under the names of the bare language model (https://arxiv.org/abs/2106.09685).

``adapter_config.json`` and ``adapter_model.safetensors``, as PEFT, vLLM's ``--lora-modules`` and TGI read them. The
folder is loaded by peft on the bare language model and compared with the attached adapter.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inlay.adapters.adapter import Adapter
from inlay.adapters.compatibility.ports import LLM_PORT
from inlay.adapters.export.peft.bare_model import bare_model
from inlay.adapters.export.peft.rerank import Reranked, rerank
from inlay.adapters.export.report import Check, Written
from inlay.adapters.export.request import Request
from inlay.adapters.export.shards import save_tensors
from inlay.adapters.export.target import ExportError
from inlay.adapters.export.tolerance import allowed_difference
from inlay.adapters.llm_parts.lora import LoraPart
from inlay.adapters.llm_parts.lora_config import LoraConfig
from inlay.hub.format.peft_folder import LoraFolder, LoraSpec, write_config

__all__ = ["VLLM_RANKS", "check_lora", "write"]

VLLM_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Values of vLLM's ``--max-lora-rank`` (0.33); 16 if it is not given."""
_VLLM_DEFAULT = 16
_PROBE = (1, 17)
"""Token ids of the check: these and what lies between, within the vocabulary."""


def write(request: Request, folder: Path) -> Written:
    """Write and verify; see :data:`~inlay.adapters.export.target.Exporter`.

    Raises:
        ExportError: the adapter has no LoRA, or rows of new tokens.
    """
    adapter, lora = request.adapter, check_lora(request.adapter)
    rank = lora.config.r if request.options.rank is None else request.options.rank
    with torch.no_grad():
        pairs = {name: tuple(matrix.detach().cpu().float() for matrix in lora.matrices(name)) for name in lora.targets}
        made = rerank({name: pair[0] for name, pair in pairs.items()}, {n: pair[1] for n, pair in pairs.items()}, rank)
    alpha = lora.config.scale * rank
    tensors = _tensors(made)
    spec = LoraSpec(
        r=rank,
        alpha=alpha,
        dropout=lora.config.dropout,
        targets=lora.config.explicit,
        base_model=adapter.interface[LLM_PORT].source,
        task_type="SEQ_2_SEQ_LM" if request.backbone.llm.model.config.is_encoder_decoder else "CAUSAL_LM",
    )
    LoraFolder(spec, tensors)  # refuses what peft would read in another way
    (folder / "adapter_config.json").write_bytes(write_config(spec))
    save_tensors(tensors, folder / "adapter_model.safetensors")
    checks, distance = _checks(request, made, alpha, folder)
    facts: dict[str, Any] = {"rank": rank, "alpha": alpha, "modules": len(made.downs)}
    if rank < lora.config.r:
        facts |= {"rank_of_the_bundle": lora.config.r, "relative_error": made.error, "worst_module": made.worst}
        facts["logits_differ_from_the_bundle_by"] = distance
    return Written(checks=checks, packages=("peft", "transformers"), notes=_notes(request, rank), facts=facts)


def check_lora(adapter: Adapter) -> LoraPart:
    """The LoRA of an adapter that a LoRA folder can stand for.

    Raises:
        ExportError: there is none, or the adapter has rows of new tokens.
    """
    if adapter.lora is None:
        raise ExportError(
            "this adapter has no LoRA, and a projector cannot be one; export the merged model (--to hf), or serve the "
            "bundle (`inlay serve`)"
        )
    if adapter.tokens is not None:
        raise ExportError(
            f"this adapter trained rows for {len(adapter.tokens.config.strings)} new tokens, which a LoRA cannot hold; "
            "the bundle keeps them: serve it with `inlay serve`"
        )
    return adapter.lora


def _tensors(made: Reranked) -> dict[str, Tensor]:
    """Under PEFT's names; in bfloat16 if that keeps every value."""
    held = {}
    for name, down in made.downs.items():
        held[f"base_model.model.{name}.lora_A.weight"] = down
        held[f"base_model.model.{name}.lora_B.weight"] = made.ups[name]
    exact = all(tensor.equal(tensor.bfloat16().float()) for tensor in held.values())
    return {name: (tensor.bfloat16() if exact else tensor).contiguous() for name, tensor in held.items()}


def _checks(request: Request, made: Reranked, alpha: float, folder: Path) -> tuple[tuple[Check, ...], float]:
    """Tensors and logits as peft loads them, and how far the logits are from those of the bundle."""
    try:
        from peft import PeftModel, get_peft_model_state_dict
    except ImportError as error:
        raise ExportError("the check of this folder needs peft: pip install peft") from error
    llm: Any = request.backbone.llm
    rank = int(next(iter(made.downs.values())).shape[0])
    rows = llm.model.get_input_embeddings().weight.shape[0]
    ids = torch.arange(*_PROBE, device=llm.device)[None] % rows
    more = {"decoder_input_ids": ids[:, :1]} if llm.model.config.is_encoder_decoder else {}
    with request.model.held(), request.model.inference():
        bundle = llm.model(input_ids=ids, **more).logits.float()
        bare = bare_model(request.model)
        lora: Any = request.adapter.lora
        config = LoraConfig(r=rank, alpha=alpha, targets=lora.config.explicit)
        part = LoraPart.of_matrices(config, made.downs, made.ups).eval().to(llm.device)
        undo = part.attach(bare)
        try:
            own = bare(input_ids=ids, **more).logits.float()
        finally:
            undo.close()
        with warnings.catch_warnings():
            # peft 0.21 still reads transformers' old name when it wraps a model.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
            loaded = PeftModel.from_pretrained(bare, folder, local_files_only=True).eval()
        theirs = loaded(input_ids=ids, **more).logits.float()
        held = get_peft_model_state_dict(loaded, save_embedding_layers=False)  # "auto" would ask the Hub
        read = {name: tensor.cpu() for name, tensor in held.items()}
    written = _tensors(made)
    wrong = sorted(set(written) ^ set(read)) or [
        name for name, tensor in written.items() if not read[name].float().equal(tensor.float())
    ]
    tensors = Check(
        name="peft finds every tensor", passed=not wrong, compared=len(written), detail=", ".join(wrong[:5])
    )
    allowed = allowed_difference(own, llm.dtype)
    logits = Check.within(
        "logits of the bare language model with peft", float((own - theirs).abs().max()), allowed, compared=own.numel()
    )
    return (tensors, logits), float((own - bundle).abs().max())


def _notes(request: Request, rank: int) -> tuple[str, ...]:
    notes = []
    if request.adapter.inputs:
        read = " and ".join(sorted(request.adapter.inputs))
        notes.append(
            f"the projector on {read} stays in the bundle: it has full weights, which no LoRA folder holds; this "
            "folder alone answers to text"
        )
    fitting = next((value for value in VLLM_RANKS if value >= rank), None)
    if fitting is None:
        notes.append(f"vLLM takes ranks up to {VLLM_RANKS[-1]}; export with --rank {VLLM_RANKS[-1]} for it")
    elif fitting > _VLLM_DEFAULT:
        notes.append(f"start vLLM with --max-lora-rank {fitting}; without it, it takes ranks up to {_VLLM_DEFAULT}")
    return tuple(notes)
