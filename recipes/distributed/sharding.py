"""A frozen language model cut into shards, one a process: layers come together as they are computed (FSDP2).

Zhao et al., 2023, https://arxiv.org/abs/2304.11277; torch's ``fully_shard``. Only what is frozen is cut: decoder
layers, whose gradients nobody needs. The adapter stays whole in every process and is DDP's, so optimizer, checkpoints
and bundles are what they are without shards. Lightning's ``ModelParallelStrategy`` shards what the module holds, and
our module holds the adapter alone. Embeddings, norm and head, which are asked outside of the model's own call, stay
whole too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from inlay.adapters.language.decoder_layers import decoder_layers
from inlay.recipes.distributed.ranks import local_world, rank, world
from inlay.recipes.settings.errors import SettingsError

__all__ = ["check_sharding", "cut_layers", "shard"]


def check_sharding(device: str, *, evaluate: bool, processes: int) -> None:
    """See whether sharding can be done, before anything is loaded.

    Args:
        device: ``cuda`` or ``cpu``.
        evaluate: whether the run answers questions at its end, which the first process does alone.
        processes: how many train together.

    Raises:
        SettingsError: no GPU, one process, or an evaluation.
    """
    if device != "cuda":
        raise SettingsError("strategy: fsdp spreads the language model over the memory of GPUs, and here is none; ddp")
    if processes < 2:
        raise SettingsError("strategy: fsdp needs several processes: --devices 8, or torchrun")
    if evaluate:
        raise SettingsError(
            "strategy: with fsdp no process holds the whole language model, so none can answer questions alone: give "
            "--evaluate false, and run `inlay evaluate` on the bundle afterwards"
        )


def cut_layers(model: Any) -> list[nn.Module]:
    """The layers of a decoder-only language model, which are what is cut.

    Raises:
        SettingsError: none, as in an encoder-decoder.
    """
    layers = decoder_layers(model)
    if not layers:
        raise SettingsError(
            f"strategy: fsdp cuts the layers of decoder-only models, and {type(model).__name__} has none; use ddp"
        )
    return list(layers)


def shard(model: Any, adapter: Iterable[nn.Parameter], device: str) -> None:
    """Cut the frozen layers in place; every process has to come here, with the adapter attached.

    Args:
        model: a decoder-only language model, whole in every process.
        adapter: parameters that stay whole, though they stand in the layers (LoRA).
        device: ``cuda`` or ``cpu``; the shards go there.
    """
    mesh = init_device_mesh(device, (world(),))
    if device == "cuda":
        torch.cuda.set_device(rank() % local_world())
    kept, layers = set(adapter), cut_layers(model)
    for layer in layers:
        fully_shard(layer, mesh=mesh, ignored_params=kept)
    # Around all layers, so that one can be fetched while another is computed; nothing else of the decoder is cut.
    cut = {parameter for layer in layers for parameter in layer.parameters()} - kept
    whole = {parameter for parameter in model.get_decoder().parameters() if parameter not in cut}
    fully_shard(model.get_decoder(), mesh=mesh, ignored_params=whole)
