"""kill -9 in the middle of pull and push, and sixteen processes that pull while somebody pushes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hub_emulator import Hub, Repo

from inlay.hub import Bundle, HubError, pull, push
from inlay.hub.remote.download import STALE_SECONDS

# Imports once, then forks a child for every line that comes in: the child works until it is killed.
WORKER = """
import os, sys
from inlay.hub import pull, push
from huggingface_hub import CommitOperationAdd, HfApi, hf_hub_download, hf_hub_url
import inlay.hub.format.bundle, inlay.hub.remote.download, inlay.hub.remote.ranges
def work(kind, arguments):
    print(os.getpid(), flush=True)
    while True:
        for one in arguments[1:]:
            if kind == "pull":
                pull("me/x", revision=one, folder=arguments[0], overwrite=True, force_download=True)
            else:
                push(one, arguments[0])
for line in sys.stdin:
    if not (child := os.fork()):
        work(sys.argv[1], sys.argv[2:])
    os.waitpid(child, 0)
"""
TIMES = [8, pytest.param(200, marks=pytest.mark.slow)]


@pytest.fixture
def environment(hub: Hub, tmp_path: Path) -> dict[str, str]:
    settings = {"HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "0"}
    settings |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_TOKEN": "hf_owner"}
    return {**os.environ, **settings, "OMP_NUM_THREADS": "1"}


@pytest.fixture
def kill_often(environment: dict[str, str]) -> Iterator[Callable[..., None]]:
    started: list[subprocess.Popen[str]] = []

    def run(
        times: int,
        check: Callable[[], object],
        *arguments: str,
        longest: float,
        first: Callable[[], bool] = lambda: True,
    ) -> None:
        """Kill ``times`` children after random times; the first one lives until ``first`` holds."""
        command = [sys.executable, "-c", WORKER, *arguments]
        worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True)
        started.append(worker)
        assert worker.stdin is not None
        assert worker.stdout is not None
        rng = random.Random(0)
        for _ in range(times):
            worker.stdin.write("go\n")
            worker.stdin.flush()
            child = int(worker.stdout.readline())
            while not first():
                time.sleep(0.01)
            time.sleep(rng.uniform(0, longest))
            os.kill(child, signal.SIGKILL)
            check()

    yield run
    for worker in started:
        worker.kill()
        worker.communicate()


def _value(folder: Path) -> float:
    return float(Bundle.read(folder).tensors["inputs.image.linear.weight"][0, 0])


@pytest.mark.parametrize("times", TIMES)
def test_kill_9_in_pull(
    hub: Hub, publish: Callable[..., str], tmp_path: Path, kill_often: Callable[..., None], times: int
) -> None:
    publish(0.5, ref="one")
    publish(2.0, ref="two")
    pull("me/x", revision="one", folder=tmp_path / "place" / "mine")
    seen: set[float] = set()

    def check() -> None:
        seen.add(_value(tmp_path / "place" / "mine"))
        assert len(list((tmp_path / "place").iterdir())) <= 2, "leftovers pile up"
        for revision, value in (("one", 0.5), ("two", 2.0)):
            with contextlib.suppress(HubError):  # not in the cache, or not all of it
                assert _value(pull("me/x", revision=revision, local_files_only=True).folder) == value

    kill_often(times, check, "pull", str(tmp_path / "place" / "mine"), "one", "two", longest=0.15)
    assert seen <= {0.5, 2.0}
    for leftover in (tmp_path / "cache").rglob("*.incomplete"):
        os.utime(leftover, (time.time() - STALE_SECONDS - 1,) * 2)
    pull("me/x", revision="two", folder=tmp_path / "place" / "mine", overwrite=True)
    assert list((tmp_path / "cache").rglob("*.incomplete")) == []
    assert os.listdir(tmp_path / "place") == ["mine"]


@pytest.mark.parametrize("times", TIMES)
def test_kill_9_in_push(
    hub: Hub, make_bundle: Any, contents: Any, tmp_path: Path, kill_often: Callable[..., None], times: int
) -> None:
    bundles = []
    for name, value in (("one", 0.5), ("two", 2.0)):
        make_bundle(value).write(tmp_path / name)
        files = contents(tmp_path / name)
        bundles.append({name: data for name, data in files.items() if name != "README.md"})

    def check() -> None:
        with hub.lock:
            commits = list(hub.repos.get("me/x", Repo()).commits.values())
        for files in commits:
            held = {name: data for name, data in files.items() if name not in (".gitattributes", "README.md")}
            assert held in ({}, *bundles)

    def pushed() -> bool:
        with hub.lock:
            return len(hub.repos.get("me/x", Repo()).commits) > 2

    # A busy machine takes longer for a push; half of the children live long enough for one.
    push(str(tmp_path / "one"), "me/warm")
    began = time.perf_counter()
    push(str(tmp_path / "two"), "me/warm")
    longest = max(0.15, 3 * (time.perf_counter() - began))
    kill_often(
        times, check, "push", "me/x", str(tmp_path / "one"), str(tmp_path / "two"), longest=longest, first=pushed
    )
    assert _value(pull("me/x").folder) in (0.5, 2.0)


READERS = """
import hashlib, json, os, sys
from pathlib import Path
from inlay.hub import pull
from huggingface_hub import HfApi, hf_hub_download
children = []
for number in range(int(sys.argv[1])):
    if not (child := os.fork()):
        for _ in range(int(sys.argv[2])):
            pulled = pull("me/x", force_download=number % 4 == 0)
            files = {p.relative_to(pulled.folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
                     for p in pulled.folder.rglob("*") if p.is_file()}
            sys.stdout.write(json.dumps([pulled.commit, files]) + "\\n")
            sys.stdout.flush()
        os._exit(0)
    children.append(child)
sys.exit(sum(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0 for child in children))
"""


def test_sixteen_processes_pull_while_somebody_pushes(
    hub: Hub, publish: Callable[..., str], environment: dict[str, str]
) -> None:
    publish(0.0)
    run = subprocess.Popen(
        [sys.executable, "-c", READERS, "16", "4"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    value = 0.0
    while run.poll() is None:
        value += 1.0
        publish(value)
        time.sleep(0.05)
    out, err = run.communicate()
    assert run.returncode == 0, err[-2000:]
    readings = [json.loads(line) for line in out.splitlines()]
    assert len(readings) == 64
    for commit, files in readings:
        held = {name: hashlib.sha256(data).hexdigest() for name, data in hub.repos["me/x"].commits[commit].items()}
        assert files == held, "a mixture of two revisions"
    assert len({commit for commit, _ in readings}) > 2, "nobody pushed meanwhile: the test would prove nothing"
