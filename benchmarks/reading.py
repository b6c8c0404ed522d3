"""Seconds and memory of reading and checking a LLaVA file: ``python -m benchmarks.reading --dialogues 200000``.

The file has one dialogue of three questions for each picture; the pictures are small PNGs of their own. Reading runs in
a process of its own; its peak of memory is given less that of the same process before it reads.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image

from benchmarks.peak import peak_bytes

__all__ = ["main", "make_file"]

CPU = torch.device("cpu")
TURNS = ("What is in the picture?", "Which colour has it?", "How many are there?")
ANSWERS = (
    "A small disc on a table beside a large green square, seen from above.",
    "It is red.",
    "There are two of them.",
)


def make_file(folder: Path, dialogues: int) -> Path:
    """Write the file and its pictures.

    Args:
        folder: for ``train.json`` and ``images/``.
        dialogues: rows, each with a picture of its own.
    """
    images = folder / "images"
    images.mkdir()
    made = []
    for colour in range(64):
        path = images / f"sample{colour}.png"
        Image.new("RGB", (64, 48), (colour * 4, 99, 255 - colour * 4)).save(path)
        made.append(path.read_bytes())
    rows = []
    for number in range(dialogues):
        name = f"{number // 1000:03d}/{number:06d}.png"
        path = images / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(made[number % len(made)])
        turns: list[dict[str, str]] = []
        for asked, said in zip(TURNS, ANSWERS, strict=True):
            marker = "<image>\n" if not turns else ""
            turns += [{"from": "human", "value": marker + asked}, {"from": "gpt", "value": f"{said} ({number})"}]
        rows.append({"id": f"{number:06d}", "image": name, "conversations": turns})
    file = folder / "train.json"
    file.write_text(json.dumps(rows), encoding="utf-8")
    return file


def main() -> None:
    """Make the file, read it in a process of its own, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dialogues", type=int, default=200_000)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.read is not None:
        _read(chosen.read)
        return
    with tempfile.TemporaryDirectory() as place:
        file = make_file(Path(place), chosen.dialogues)
        command = [sys.executable, "-m", "benchmarks.reading", "--read", str(file)]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - ours
        figures = {"dialogues": chosen.dialogues, "file_mib": file.stat().st_size >> 20, **json.loads(said)}
    print(json.dumps(figures, indent=2))


def _read(file: Path) -> None:
    from inlay.recipes.data.load import load_data
    from inlay.recipes.settings.run import DataSettings

    before = peak_bytes(CPU)
    started, busy = time.perf_counter(), time.process_time()
    samples = load_data(DataSettings(train=file, images=file.parent / "images"))
    seconds = time.perf_counter() - started
    figures = {
        "rows": len(samples["train"]),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(time.process_time() - busy, 1),
        "added_mib": (peak_bytes(CPU) - before) >> 20,
        "peak_mib": peak_bytes(CPU) >> 20,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
