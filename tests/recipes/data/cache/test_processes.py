"""Real processes on one folder: two at once, and one that is killed with -9 in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from inlay.recipes.data.cache.fill import fill
from inlay.recipes.data.cache.store import CacheStore

SCRIPT = """
import hashlib, sys, time, torch
from inlay.recipes.data.cache import fill
from inlay.recipes.data.cache.store import CacheStore

root, pause = sys.argv[1], float(sys.argv[2])
fill.SHARD_BYTES = 8000
space = CacheStore(root).space({"name": "one"})
keys = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(40)]

def compute(missing):
    time.sleep(pause)
    return [torch.full((1000,), float(keys.index(key))) for key in missing]

print("ready", flush=True)
sys.stdin.readline()
shapes = dict.fromkeys(keys, (1000,))
found = fill.fill(space, shapes, compute, group=2, item_bytes=4, memory=0, what="numbers", show=lambda line: None)
assert all(torch.equal(found.tensors[key], torch.full((1000,), float(n))) for n, key in enumerate(keys))
print("right", flush=True)
"""


def started(root: Path, pause: float) -> subprocess.Popen[str]:
    """A process that waits for its start."""
    command = [sys.executable, "-W", "error", "-c", SCRIPT, str(root), str(pause)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    process.stdin.write("go\n")
    process.stdin.flush()


def test_two_processes_at_once_and_one_that_is_killed(space_at: Any, shapes_of: Any, tmp_path: Path) -> None:
    shapes = shapes_of(40, size=1000)
    expected = {key: torch.full((1000,), float(number)) for number, key in enumerate(shapes)}
    pair = [started(tmp_path / "cache", 0.01), started(tmp_path / "cache", 0.01)]
    for process in pair:
        go(process)
    for process in pair:
        assert process.communicate(timeout=120)[0] == "right\n"
        assert process.returncode == 0
    found = space_at().find(shapes)
    assert all(torch.equal(found[key], tensor) for key, tensor in expected.items())

    rest = CacheStore(tmp_path / "killed").space({"name": "one"})
    process = started(tmp_path / "killed", 0.05)
    go(process)
    end = time.monotonic() + 60
    while len(rest.store.shards()) < 4 and time.monotonic() < end:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    there = len(rest.find(shapes))
    assert there >= 8
    computed: list[str] = []

    def compute(keys: Sequence[str]) -> list[torch.Tensor]:
        computed.extend(keys)
        return [expected[key] for key in keys]

    resumed = fill(rest, shapes, compute, group=2, item_bytes=4, memory=0, what="numbers", show=lambda _: None)
    assert resumed is not None
    assert all(torch.equal(resumed.tensors[key], tensor) for key, tensor in expected.items())
    assert len(computed) == 40 - there
