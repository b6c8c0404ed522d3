"""Serving: bytes, loading, swapping, several adapters in a batch, and a second question about a picture.

    python -m benchmarks.serve [--rounds 5] [--only swap]

Beside peft's own ways with the very same weights. Ratios of medians, A B B A in one process, after both sides gave the
same tokens where they write any. On a machine that does other work the figures are indicative, which the spread shows.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.utils import load_peft_weights
from peft.utils.hotswap import hotswap_adapter, hotswap_adapter_from_state_dict
from PIL import Image

from benchmarks.serve_models import ADAPTERS, Served, build
from benchmarks.timing import abba
from inlay.adapters import Adapter
from inlay.adapters.inputs import build_projector
from inlay.adapters.messages import MediaPart, Message, TextPart
from inlay.adapters.mixed import embed_mixed, with_lora_of
from inlay.adapters.prefix import PrefixCache
from inlay.adapters.rounding import on_disk

NEW = 16
"""Tokens of an answer in the mixed batch."""


def line(name: str, a: Callable[[], object], b: Callable[[], object], rounds: int) -> None:
    """Warm both sides up, measure, print."""
    a(), b()
    timed = abba(a, b, rounds)
    seconds = [sorted(side)[len(side) // 2] * 1e3 for side in timed.wall]
    print(
        f"{name:56s} {timed.ratio:8.2f} x ({timed.cpu_ratio:8.2f} x), {seconds[0]:9.3f} -> {seconds[1]:8.3f} ms, "
        f"spread {timed.spread:.0%}",
        flush=True,
    )


def sizes(made: Served, rounds: int, folder: Path) -> None:
    """Bytes of weights beside peft's fp32; of LLaVA's projector, and of this model's LoRA."""
    projector = build_projector("mlp", {"width_in": 1024, "width_out": 4096})
    theirs = sum(parameter.numel() * 4 for parameter in projector.parameters())
    for kind in ("bfloat16", "int8"):
        ours = sum(tensor.nbytes for tensor in on_disk(projector, kind).values())
        print(f"{'LLaVA 1.5 projector, ' + kind:56s} {ours / theirs:8.3f} of fp32, {ours:,} bytes", flush=True)
    loaded = PeftModel.from_pretrained(copy.deepcopy(made.bare), made.folder(0) / "lora")
    loaded.save_pretrained(str(folder / "peft"), save_embedding_layers=False)
    files = [
        (place / "adapter_model.safetensors").stat().st_size for place in (folder / "peft", made.folder(0) / "lora")
    ]
    print(f"{'LoRA, bfloat16 in every bundle':56s} {files[1] / files[0]:8.3f} of fp32, {files[1]:,} bytes")


def swap(made: Served, rounds: int, folder: Path) -> None:
    """From a folder and in memory; ours exchanges the projector too, and checks every byte that it reads."""
    theirs: Any = PeftModel.from_pretrained(copy.deepcopy(made.bare), made.folder(0) / "lora")
    theirs.load_adapter(made.folder(1) / "lora", adapter_name="second")
    hot = partial(_each, [partial(hotswap_adapter, theirs, str(made.folder(i) / "lora"), "default") for i in (1, 0)])
    own = partial(_each, [partial(made.model.swap, made.adapters[i]) for i in (1, 0)])
    line("hotswap_adapter, from a file -> swap, in memory", hot, own, rounds)
    read = [load_peft_weights(str(made.folder(i) / "lora"), device="cpu") for i in (1, 0)]
    states = [{name.replace(".weight", ".default.weight"): held for name, held in one.items()} for one in read]
    config = theirs.peft_config["default"]
    held = [partial(hotswap_adapter_from_state_dict, theirs, state, "default", config) for state in states]
    line("hotswap_adapter_from_state_dict -> swap, both in memory", partial(_each, held), own, rounds)
    line(
        "set_adapter -> swap, both in memory",
        partial(_each, [partial(theirs.set_adapter, name) for name in ("second", "default")]),
        own,
        rounds,
    )
    line(
        "hotswap_adapter -> read, check and swap",
        hot,
        partial(_each, [partial(_read, made, i) for i in (1, 0)]),
        rounds,
    )
    line(
        "load_adapter -> read, check and swap",
        partial(_each, [partial(_load, theirs, made.folder(i) / "lora") for i in (1, 0)]),
        partial(_each, [partial(_read, made, i) for i in (1, 0)]),
        rounds,
    )
    _first(made)
    start = time.perf_counter()
    for index in range(4000):
        made.model.swap(made.adapters[(index + 1) % ADAPTERS])
    print(f"{'resident adapters':56s} {4000 / (time.perf_counter() - start):8.0f} swaps a second among {ADAPTERS}")


def _first(made: Served) -> None:
    """Go on with the first adapter."""
    if not made.adapters[0].attached:
        made.model.swap(made.adapters[0])


def _each(calls: Sequence[Callable[[], object]]) -> None:
    for call in calls:
        call()


def _read(made: Served, index: int) -> None:
    made.model.swap(Adapter.from_pretrained(made.folder(index)).eval())


def _load(theirs: Any, folder: Path) -> None:
    theirs.load_adapter(folder, adapter_name="third")
    theirs.delete_adapter("third")


def mixed(made: Served, rounds: int, folder: Path) -> None:
    """Eight conversations with eight adapters: peft's ``adapter_names``, one after the other, and ours."""
    _first(made)
    theirs: Any = PeftModel.from_pretrained(copy.deepcopy(made.bare), made.folder(0) / "lora", adapter_name="0")
    for index in range(1, ADAPTERS):
        theirs.load_adapter(made.folder(index) / "lora", adapter_name=str(index))
    theirs.eval()
    asked = [(Message("user", (TextPart(f"what is shown in picture {index}?"),)),) for index in range(ADAPTERS)]
    embeddings, mask = embed_mixed(made.model, asked, made.adapters)
    fixed = {"max_new_tokens": NEW, "min_new_tokens": NEW, "do_sample": False}

    def peft() -> list[list[int]]:
        names = [str(index) for index in range(ADAPTERS)]
        with torch.no_grad():
            ids = theirs.generate(
                inputs_embeds=embeddings, attention_mask=mask, adapter_names=names, pad_token_id=0, **fixed
            )
        return list(ids.tolist())

    def ours() -> list[list[int]]:
        with with_lora_of(made.model, made.adapters):
            return made.model.write(embeddings, mask, stop=(), **fixed)

    def apart() -> list[list[int]]:
        written = []
        for index, adapter in enumerate(made.adapters):
            if not adapter.attached:
                made.model.swap(adapter)
            row, own = embeddings[index : index + 1], mask[index : index + 1]
            written += made.model.write(row, own, stop=(), **fixed)
        return written

    if not peft() == ours() == apart():
        raise ValueError("the sides write other tokens")
    line(f"adapter_names -> {ADAPTERS} adapters in one batch", peft, ours, rounds)
    line(f"one after the other -> {ADAPTERS} adapters in one batch", apart, ours, rounds)


def prefix(made: Served, rounds: int, folder: Path) -> None:
    """Time to the first token of a second question about a picture, each time another question."""
    _first(made)
    model = made.model
    picture = MediaPart("image", Image.effect_noise((400, 300), 50).convert("RGB"))
    turns = [Message("user", (picture, TextPart("what is shown?"))), Message("assistant", (TextPart("a red circle"),))]
    questions: Iterator[int] = count()
    kept = PrefixCache()

    def second(cache: PrefixCache | None) -> str:
        model.prefixes = cache
        question = Message("user", (TextPart(f"how many are there in row {next(questions)}?"),))
        return model.chat([*turns, question], max_new_tokens=1).text

    second(kept)
    same = [Message("user", (TextPart("how many?"),))]
    answers = []
    for cache in (None, kept):
        model.prefixes = cache
        answers.append(model.chat([*turns, *same], max_new_tokens=8).text)
    if answers[0] != answers[1]:
        raise ValueError(f"the sides answer {answers}")
    line("whole conversation -> prefix kept, first token", partial(second, None), partial(second, kept), rounds)
    print(f"{'':56s} {kept.reused} positions reused, {kept.bytes / 1e6:.1f} MB kept")


PARTS: dict[str, Callable[[Served, int, Path], None]] = {"sizes": sizes, "swap": swap, "mixed": mixed, "prefix": prefix}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="times A B B A")
    parser.add_argument("--only", choices=tuple(PARTS), help="one of the parts")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        made = build(Path(place))
        print(f"{made.about}, {torch.get_num_threads()} threads, torch {torch.__version__}")
        for name, part in PARTS.items():
            if chosen.only in (None, name):
                part(made, chosen.rounds, Path(place))


if __name__ == "__main__":
    main()
