"""Shards a frozen language model over the processes; each layer is gathered for its computation (FSDP2).

Zhao et al., 2023, https://arxiv.org/abs/2304.11277; torch's ``fully_shard``. Only the frozen decoder layers, which need
no gradients, are sharded. The adapter stays whole in every process under DDP, so optimizer, checkpoints and bundles are
the same as without sharding. Lightning's ``ModelParallelStrategy`` is not used: it shards the parameters of the
training module, which are only the adapter's. Embeddings, norm and head stay whole, because they are called outside the
model's forward method.
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
    """Check that sharding is possible, before anything is loaded.

    Args:
        device: ``cuda`` or ``cpu``.
        evaluate: whether the run ends with an evaluation, which needs the whole model in each process.
        processes: number of processes that train together.

    Raises:
        SettingsError: no GPU, one process, or an evaluation.
    """
    if device != "cuda":
        raise SettingsError(f"strategy: fsdp needs several GPUs, got the device {device}; leave --strategy out")
    if processes < 2:
        raise SettingsError("strategy: fsdp needs several processes: --devices 8, or torchrun")
    if evaluate:
        raise SettingsError(
            "strategy: with fsdp no process has the whole language model for the evaluation: give --evaluate false, "
            "and run `inlay evaluate` on the bundle afterwards"
        )


def cut_layers(model: Any) -> list[nn.Module]:
    """The layers of a decoder-only language model, which are sharded.

    Raises:
        SettingsError: the model has none, such as an encoder-decoder.
    """
    layers = decoder_layers(model)
    if not layers:
        raise SettingsError(
            f"strategy: fsdp shards the layers of decoder-only models, and {type(model).__name__} has none; use ddp"
        )
    return list(layers)


def shard(model: Any, adapter: Iterable[nn.Parameter], device: str) -> None:
    """Shard the frozen layers in place; every process has to call this, with the adapter attached.

    Args:
        model: a decoder-only language model, whole in every process.
        adapter: parameters inside the layers that are not sharded (LoRA).
        device: ``cuda`` or ``cpu``, the device of the shards.
    """
    mesh = init_device_mesh(device, (world(),))
    if device == "cuda":
        torch.cuda.set_device(rank() % local_world())
    kept, layers = set(adapter), cut_layers(model)
    for layer in layers:
        fully_shard(layer, mesh=mesh, ignored_params=kept)
    # Wrap the decoder too, so that a layer is fetched while another is computed; its other parameters stay whole.
    sharded = {parameter for layer in layers for parameter in layer.parameters()} - kept
    whole = {parameter for parameter in model.get_decoder().parameters() if parameter not in sharded}
    fully_shard(model.get_decoder(), mesh=mesh, ignored_params=whole)
