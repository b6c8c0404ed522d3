"""Real processes on one folder: two at once, and one that is killed with -9 in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from inlay.recipes.cache.fill import Fill, fill
from inlay.recipes.cache.shard import shards_in

SCRIPT = """
import hashlib, sys, time, torch
from inlay.recipes.cache.fill import Fill, fill
from inlay.recipes.cache.store import CacheStore, digest_of

root, pause = sys.argv[1], float(sys.argv[2])
space = CacheStore(root, always=True).space(digest_of({"name": "one"}))
keys = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(40)]

def compute(places):
    time.sleep(pause)
    return [torch.full((1000,), float(place)) for place in places]

print("ready", flush=True)
sys.stdin.readline()
how = Fill(what="numbers", group=2, show=lambda line: None, shard_bytes=8000)
found = fill(space, keys, compute, how)
assert all(torch.equal(found[key], torch.full((1000,), float(n))) for n, key in enumerate(keys))
print("right", flush=True)
"""


def started(root: Path, pause: float) -> subprocess.Popen[str]:
    """A process that waits for its start."""
    command = [sys.executable, "-W", "error", "-c", SCRIPT, str(root), str(pause)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def expected(keys: list[str]) -> dict[str, torch.Tensor]:
    return {key: torch.full((1000,), float(number)) for number, key in enumerate(keys)}


def test_two_processes_at_once_and_one_that_is_killed(space_at: Any, keys_of: Any, tmp_path: Path) -> None:
    root, keys = tmp_path / "cache", keys_of(40)
    pair = [started(root, 0.01), started(root, 0.01)]
    for process in pair:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in pair:
        assert process.communicate(timeout=120)[0] == "right\n"
        assert process.returncode == 0
    found = space_at().find(keys)
    assert all(torch.equal(found[key], tensor) for key, tensor in expected(keys).items())

    killed = tmp_path / "killed" / "cache"
    space = space_at()
    there = killed / "inlay-cache-1" / space.digest
    process = started(killed, 0.05)
    process.stdin.write("go\n")
    process.stdin.flush()
    end = time.monotonic() + 60
    while len(shards_in(there)) < 4 and time.monotonic() < end:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    computed: list[int] = []

    def compute(places: list[int]) -> list[torch.Tensor]:
        computed.extend(places)
        return [torch.full((1000,), float(place)) for place in places]

    rest = type(space.store)(killed, always=True).space(space.digest)
    how = Fill(what="numbers", group=2, show=lambda _: None)
    found = fill(rest, keys, compute, how) or {}
    assert all(torch.equal(found[key], tensor) for key, tensor in expected(keys).items())
    assert how.hits >= 8
    assert computed == list(range(how.hits, 40))
