"""The states of random numbers in a checkpoint: of the CPU, of every GPU, of a Mac's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from inlay.recipes.training.callbacks.random_state import RandomState, random_states, restore


class Devices:
    """Two CUDA devices and MPS, by the functions of torch that read and set their states."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cuda: int = 2, *, mps: bool = True) -> None:
        self.cuda = [torch.full((16,), number, dtype=torch.uint8) for number in range(1, cuda + 1)]
        self.mps = torch.full((16,), 9, dtype=torch.uint8)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: list(self.cuda))
        monkeypatch.setattr(torch.cuda, "set_rng_state_all", self._set_cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(torch.mps, "get_rng_state", lambda: self.mps)
        monkeypatch.setattr(torch.mps, "set_rng_state", self._set_mps)

    def _set_cuda(self, states: list[Tensor]) -> None:
        assert len(states) <= len(self.cuda)
        self.cuda = list(states)

    def _set_mps(self, state: Tensor) -> None:
        self.mps = state


def test_a_resumed_run_has_the_dropout_of_every_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    devices = Devices(monkeypatch)
    there: Any = None
    checkpoint: dict[str, Any] = {}
    RandomState().on_save_checkpoint(there, there, checkpoint)
    torch.save(checkpoint, tmp_path / "last.ckpt")
    expected = torch.rand(3)
    devices.cuda, devices.mps = [torch.zeros(16, dtype=torch.uint8)] * 2, torch.zeros(16, dtype=torch.uint8)

    resumed = RandomState()
    resumed.on_load_checkpoint(there, there, torch.load(tmp_path / "last.ckpt", weights_only=True))
    torch.rand(5)  # setting up loaders draws numbers
    resumed.on_train_batch_start(there, there, None, 0)
    assert torch.equal(torch.rand(3), expected)
    assert [int(state[0]) for state in devices.cuda] == [1, 2]
    assert int(devices.mps[0]) == 9

    devices.mps = torch.zeros(16, dtype=torch.uint8)
    resumed.on_train_batch_start(there, there, None, 1)
    assert int(devices.mps[0]) == 0  # once only


def test_states_go_to_the_devices_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    Devices(monkeypatch)
    states = random_states()
    fewer = Devices(monkeypatch, cuda=1, mps=False)
    restore(states)
    assert [int(state[0]) for state in fewer.cuda] == [1]
    Devices(monkeypatch, cuda=0, mps=False)
    restore(states)
    assert set(random_states()) == {"cpu"}


def test_a_checkpoint_of_an_earlier_version_has_the_states_of_the_cpu() -> None:
    state, there = torch.get_rng_state(), None
    expected = torch.rand(3)
    for held in (state, state[None]):  # of one process, and of several
        resumed = RandomState()
        resumed.on_load_checkpoint(there, there, {"inlay_random_state": held})
        resumed.on_train_batch_start(there, there, None, 0)
        assert torch.equal(torch.rand(3), expected)
