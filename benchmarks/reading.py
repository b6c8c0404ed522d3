"""Time and memory of reading and checking a LLaVA file, the first time and again: ``python -m benchmarks.reading``.

Each row is a dialogue of three questions about a picture, about 1.1 kB as in LLaVA's own file. Both times are
measured in separate processes. Memory is the peak of a process minus that before reading, without pages of mapped
files.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from PIL import Image

__all__ = ["main", "make_file"]

TURNS = ("What is in the picture?", "Which colour has it?", "How many are there?")
ANSWERS = (
    "A small disc on a table beside a large green square, seen from above. " * 7,
    "It is red, as the square would be if it stood in the light of the evening. " * 2,
    "There are two of them.",
)
KINDS = ("json", "jsonl", "parquet")


def make_file(folder: Path, dialogues: int, kind: str = "json", pictures: int | None = None) -> Path:
    """Write the file and its pictures.

    Args:
        folder: the folder for ``train.json`` and ``images/``.
        dialogues: number of rows.
        kind: ``json``, ``jsonl`` or ``parquet``.
        pictures: number of pictures; one for each row if not given.
    """
    images = folder / "images"
    images.mkdir()
    made = []
    for colour in range(64):
        path = images / f"sample{colour}.png"
        Image.new("RGB", (64, 48), (colour * 4, 99, 255 - colour * 4)).save(path)
        made.append(path.read_bytes())
    for number in range(pictures or dialogues):
        path = images / _picture(number)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(made[number % len(made)])
    file = folder / f"train.{kind}"
    rows = _rows(dialogues, pictures or dialogues)
    if kind == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        writer = None
        while block := [row for _, row in zip(range(10_000), rows, strict=False)]:
            table = pa.Table.from_pylist(block)
            writer = writer or pq.ParquetWriter(file, table.schema)
            writer.write_table(table)
        if writer is not None:
            writer.close()
        return file
    begin, between, end = ("[", ", ", "]") if kind == "json" else ("", "\n", "\n")
    with file.open("w", encoding="utf-8") as target:
        target.write(begin)
        for number, row in enumerate(rows):
            target.write((between if number else "") + json.dumps(row))
        target.write(end)
    return file


def main() -> None:
    """Write the file, read it twice in separate processes, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dialogues", type=int, default=200_000)
    parser.add_argument("--pictures", type=int, help="one for each dialogue if not given")
    parser.add_argument("--kind", choices=KINDS, default="json")
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.read is not None:
        _read(chosen.read)
        return
    with tempfile.TemporaryDirectory() as place:
        file = make_file(Path(place), chosen.dialogues, chosen.kind, chosen.pictures)
        command = [sys.executable, "-m", "benchmarks.reading", "--read", str(file)]
        options: dict[str, Any] = {"env": os.environ | {"HF_DATASETS_CACHE": f"{place}/cache"}}
        options |= {"check": True, "capture_output": True, "text": True}
        figures: dict[str, Any] = {"kind": chosen.kind, "dialogues": chosen.dialogues}
        figures["file_mib"] = file.stat().st_size >> 20
        for name in ("first", "again"):
            figures[name] = json.loads(subprocess.run(command, **options).stdout)  # noqa: S603 - ours
    print(json.dumps(figures, indent=2))


def _read(file: Path) -> None:
    from inlay.recipes.data.load import load_data
    from inlay.recipes.settings.run import DataSettings

    with _Peak() as peak:
        started, busy = time.perf_counter(), time.process_time()
        samples = load_data(DataSettings(train=file, images=file.parent / "images"))
        seconds, cpu = time.perf_counter() - started, time.process_time() - busy
    figures = {
        "rows": len(samples["train"]),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "added_mib": peak.added >> 20,
    }
    print(json.dumps(figures))


def _rows(dialogues: int, pictures: int) -> Iterator[dict[str, Any]]:
    for number in range(dialogues):
        turns: list[dict[str, str]] = []
        for asked, said in zip(TURNS, ANSWERS, strict=True):
            marker = "<image>\n" if not turns else ""
            turns += [{"from": "human", "value": marker + asked}, {"from": "gpt", "value": f"{said} ({number})"}]
        yield {"id": f"{number:07d}", "image": _picture(number % pictures), "conversations": turns}


def _picture(number: int) -> str:
    return f"{number // 1000:04d}/{number:07d}.png"


class _Peak:
    """Measures the peak of this process's anonymous memory above that at the start (``added``), every 20 ms."""

    def __enter__(self) -> Self:
        self.before, self.added, self.done = _anonymous(), 0, threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()
        return self

    def _watch(self) -> None:
        while not self.done.wait(0.02):
            self.added = max(self.added, _anonymous() - self.before)

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()
        self.added = max(self.added, _anonymous() - self.before)


def _anonymous() -> int:
    """Bytes of memory that are not pages of a file."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("RssAnon:")[2].split()[0]) << 10


if __name__ == "__main__":
    main()
