"""Serving: bytes, loading, swapping, several adapters in a batch, and a second question about a picture.

    python -m benchmarks.serve [--rounds 5] [--only swap]

Compared with peft's own methods on the same weights. Ratios of medians, A B B A in one process, after a check that both
sides generate the same tokens, if they generate any. On a busy machine the figures are only indicative; see the spread.
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
from typing import Any, NamedTuple

import torch
from peft import PeftModel
from peft.utils import load_peft_weights
from peft.utils.hotswap import hotswap_adapter, hotswap_adapter_from_state_dict
from PIL import Image

from benchmarks.serve_models import ADAPTERS, Served, build
from benchmarks.timing import abba
from inlay.adapters import Adapter
from inlay.adapters.bundles.storage_dtype import on_disk
from inlay.adapters.chat.kv_cache import PrefixCache
from inlay.adapters.chat.per_row_adapters import embed_mixed, with_lora_of
from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.inputs import build_projector

NEW = 16
"""Tokens of an answer in the mixed batch."""


class Pair(NamedTuple):
    """Two methods with the same result."""

    name: str
    theirs: Callable[[], object]
    ours: Callable[[], object]


def sizes(made: Served, folder: Path) -> dict[str, tuple[int, int]]:
    """Bytes of weights, ours and peft's fp32; of LLaVA's projector, and of this model's LoRA."""
    projector = build_projector("mlp", {"width_in": 1024, "width_out": 4096})
    theirs = sum(parameter.numel() * 4 for parameter in projector.parameters())
    found = {
        f"LLaVA 1.5 projector, {kind}": (sum(tensor.nbytes for tensor in on_disk(projector, kind).values()), theirs)
        for kind in ("bfloat16", "int8")
    }
    loaded = PeftModel.from_pretrained(copy.deepcopy(made.bare), made.folder(0) / "lora")
    loaded.save_pretrained(str(folder / "peft"), save_embedding_layers=False)
    own, fp32 = (
        (place / "adapter_model.safetensors").stat().st_size for place in (made.folder(0) / "lora", folder / "peft")
    )
    return found | {"LoRA, bfloat16 in every bundle": (own, fp32)}


def swap(made: Served, folder: Path) -> list[Pair]:
    """Swapping from a folder and in memory; ours also exchanges the projector and checks every byte that it reads."""
    theirs: Any = PeftModel.from_pretrained(copy.deepcopy(made.bare), made.folder(0) / "lora")
    theirs.load_adapter(made.folder(1) / "lora", adapter_name="second")
    hot = partial(_each, [partial(hotswap_adapter, theirs, str(made.folder(i) / "lora"), "default") for i in (1, 0)])
    own = partial(_each, [partial(made.model.swap, made.adapters[i]) for i in (1, 0)])
    read = [load_peft_weights(str(made.folder(i) / "lora"), device="cpu") for i in (1, 0)]
    states = [{name.replace(".weight", ".default.weight"): held for name, held in one.items()} for one in read]
    config = theirs.peft_config["default"]
    held = [partial(hotswap_adapter_from_state_dict, theirs, state, "default", config) for state in states]
    chosen = partial(_each, [partial(theirs.set_adapter, name) for name in ("second", "default")])
    loaded = partial(_each, [partial(_load, theirs, made.folder(i) / "lora") for i in (1, 0)])
    checked = partial(_each, [partial(_read, made, i) for i in (1, 0)])
    _first(made)
    return [
        Pair("hotswap_adapter, from a file -> swap, in memory", hot, own),
        Pair("hotswap_adapter_from_state_dict -> swap, both in memory", partial(_each, held), own),
        Pair("set_adapter -> swap, both in memory", chosen, own),
        Pair("hotswap_adapter -> read, check and swap", hot, checked),
        Pair("load_adapter -> read, check and swap", loaded, checked),
    ]


def resident(made: Served, swaps: int = 4000) -> float:
    """Swaps per second among adapters in memory."""
    _first(made)
    start = time.perf_counter()
    for index in range(swaps):
        made.model.swap(made.adapters[(index + 1) % ADAPTERS])
    return swaps / (time.perf_counter() - start)


def _first(made: Served) -> None:
    """Swap back to the first adapter."""
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


def mixed(made: Served, folder: Path) -> list[Pair]:
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
            return made.model.write(embeddings, mask, end=None, **fixed).rows

    def apart() -> list[list[int]]:
        written = []
        for index, adapter in enumerate(made.adapters):
            if not adapter.attached:
                made.model.swap(adapter)
            row, own = embeddings[index : index + 1], mask[index : index + 1]
            written += made.model.write(row, own, end=None, **fixed).rows
        return written

    if not peft() == ours() == apart():
        raise ValueError("expected equal tokens on both sides, got different ones")
    return [
        Pair(f"adapter_names -> {ADAPTERS} adapters in one batch", peft, ours),
        Pair(f"one after the other -> {ADAPTERS} adapters in one batch", apart, ours),
    ]


def prefix(made: Served, folder: Path) -> list[Pair]:
    """Time to the first token of a second question about a picture, with a new question each time."""
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
    return [Pair("whole conversation -> prefix kept, first token", partial(second, None), partial(second, kept))]


PARTS: dict[str, Callable[[Served, Path], list[Pair]]] = {"swap": swap, "mixed": mixed, "prefix": prefix}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="times A B B A")
    parser.add_argument("--only", choices=("sizes", *PARTS), help="one of the parts")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        made, folder = build(Path(place)), Path(place)
        print(f"{made.about}, {torch.get_num_threads()} threads, torch {torch.__version__}")
        if chosen.only in (None, "sizes"):
            for name, (ours, theirs) in sizes(made, folder).items():
                print(f"{name:56s} {ours / theirs:8.3f} of fp32, {ours:,} bytes", flush=True)
        for name, part in PARTS.items():
            for pair in part(made, folder) if chosen.only in (None, name) else ():
                _line(pair, chosen.rounds)
            if name == "swap" and chosen.only in (None, name):
                print(f"{'resident adapters':56s} {resident(made):8.0f} swaps a second among {ADAPTERS}")


def _line(pair: Pair, rounds: int) -> None:
    """Warm up both sides, measure, print."""
    pair.theirs(), pair.ours()
    timed = abba(pair.theirs, pair.ours, rounds)
    seconds = [sorted(side)[len(side) // 2] * 1e3 for side in timed.wall]
    print(
        f"{pair.name:56s} {timed.ratio:8.2f} x ({timed.cpu_ratio:8.2f} x), {seconds[0]:9.3f} -> {seconds[1]:8.3f} ms, "
        f"spread {timed.spread:.0%}",
        flush=True,
    )


if __name__ == "__main__":
    main()
