"""PP-OCRv6 small (https://github.com/PaddlePaddle/PaddleOCR), a pretrained recogniser of text lines, as an encoder.

The ONNX file has the weights in the order of the tensors in transformers' class; batch norms are folded into the
convolutions, so that each batch norm of the class only adds a bias. The input channels of the first convolution are
reversed from BGR to RGB. The outputs of transformers' class and of the ONNX file agree to 1e-5.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.real.packages import PackageError

__all__ = ["SIDE", "save_encoder"]

SIDE = 96
"""Side of a picture in pixels; the features are a grid of 2 rows and 12 columns."""


def save_encoder(onnx: Path, folder: Path, packages: Path) -> None:
    """Save the recogniser's backbone as a folder for ``--backbone.image``.

    Args:
        onnx: the file of the recogniser.
        folder: the target of config, weights and image processor.
        packages: the folder in which the package ``onnx`` is installed.

    Raises:
        PackageError: the file has other tensors than the class.
    """
    from transformers import PPOCRV6SmallRecConfig, PPOCRV6SmallRecModel, ViTImageProcessorPil

    model: Any = PPOCRV6SmallRecModel(PPOCRV6SmallRecConfig())
    held = model.state_dict()
    stored = _tensors(onnx, packages)
    for name, tensor in held.items():
        if name.endswith("normalization.weight"):
            tensor.fill_(1.0)
        elif name.endswith("running_mean"):
            tensor.zero_()
        elif name.endswith("running_var"):
            tensor.fill_(1.0 - 1e-5)  # and epsilon: divided by 1
        elif not name.endswith("num_batches_tracked"):
            found = next(stored)
            if found.numel() != tensor.numel():
                raise PackageError(f"{onnx.name}: expected {name} {list(tensor.shape)}, got {list(found.shape)}")
            tensor.copy_(found.view_as(tensor))
    first = held["backbone.encoder.convolution.stem1.convolution.weight"]
    first.copy_(first.flip(1))
    model.save_pretrained(folder)
    half = [0.5, 0.5, 0.5]
    ViTImageProcessorPil(size={"height": SIDE, "width": SIDE}, image_mean=half, image_std=half).save_pretrained(folder)


def _tensors(path: Path, packages: Path) -> Iterator[Tensor]:
    """Weights and biases of an ONNX file, in the order in which its nodes read them."""
    sys.path.append(str(packages.resolve()))
    import onnx

    graph = onnx.load(str(path)).graph
    held = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        for name in node.input:
            if name in held and held[name].data_type == onnx.TensorProto.FLOAT and sum(held[name].dims) > 1:
                yield torch.from_numpy(onnx.numpy_helper.to_array(held[name]).copy())
