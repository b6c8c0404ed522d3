from __future__ import annotations

from pathlib import Path

import pytest
import torch

from inlay.adapters.loading.pretrained import BackboneError
from inlay.adapters.loading.released.weights_file import read_folder, write_folder


def test_a_config_may_name_the_dtype_in_memory(tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 2).to(torch.bfloat16)
    write_folder(tmp_path, {"model_type": "x", "dtype": "float32"}, model)
    config, tensors, _ = read_folder(tmp_path, {})
    assert config == {"model_type": "x"}
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    write_folder(tmp_path, {"model_type": "x", "dtype": "int3"}, model)
    with pytest.raises(BackboneError, match="dtype: expected one of float32"):
        read_folder(tmp_path, {})
