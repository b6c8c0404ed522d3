"""The converters by name: recognising the format of a checkpoint, and reading it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from inlay.adapters.convert.formats import (
    hf_blip,
    hf_llava,
    lavis,
    llava,
    minigpt4,
    modaverse,
    ms_swift,
    nextgpt,
    peft,
    prismatic,
    tinyllava,
)
from inlay.adapters.convert.imported import Imported
from inlay.adapters.convert.source import ConvertError, Source
from inlay.adapters.parts.registration import check_function, register

__all__ = ["CONVERTERS", "Converter", "converter_for", "register_converter"]


@dataclass(frozen=True)
class Converter:
    """One foreign format."""

    matches: Callable[[Source], bool]
    """Whether a source has this format; file names and config files are checked before weights are opened."""
    read: Callable[[Source, str | None], Imported]
    """Reads a source; arguments are the source, and a template or None for the format's own."""
    about: str
    """A short description of the format."""


CONVERTERS: dict[str, Converter] = {
    "llava": Converter(llava.matches, llava.read, "LLaVA 1.0 to 1.6: mm_projector.bin, a LoRA run, a whole model"),
    "hf_llava": Converter(hf_llava.matches, hf_llava.read, "LlavaForConditionalGeneration, LlavaNext..."),
    "hf_blip": Converter(hf_blip.matches, hf_blip.read, "Blip2ForConditionalGeneration, InstructBlip..."),
    "lavis": Converter(lavis.matches, lavis.read, "BLIP-2 and InstructBLIP of LAVIS, stages 1 and 2: .pth"),
    "minigpt4": Converter(minigpt4.matches, minigpt4.read, "MiniGPT-4: .pth with llama_proj"),
    "nextgpt": Converter(nextgpt.matches, nextgpt.read, "NExT-GPT: pytorch_model.pt"),
    "modaverse": Converter(modaverse.matches, modaverse.read, "ModaVerse: pytorch_model.pt"),
    "tinyllava": Converter(tinyllava.matches, tinyllava.read, "TinyLLaVA Factory: a run, with or without LoRA"),
    "prismatic": Converter(prismatic.matches, prismatic.read, "prismatic-vlms: a run, or its .pt checkpoint"),
    "ms_swift": Converter(ms_swift.matches, ms_swift.read, "ms-swift's lora_llm: a LoRA and vit.safetensors"),
    "peft": Converter(peft.matches, peft.read, "a LoRA folder of PEFT"),
}
"""Name -> converter, in the order in which they are tried."""


def register_converter(
    name: str, matches: Callable[[Source], bool], read: Callable[[Source, str | None], Imported], about: str = ""
) -> None:
    """Register a format, so that ``inlay import`` reads it.

    Args:
        name: letters, digits, ``_`` and ``-``.
        matches: function that tells whether a :class:`~inlay.adapters.convert.source.Source` has this format.
        read: function from the source and a template (or None) to :class:`~inlay.adapters.convert.imported.Imported`.
        about: a short description of the format.

    Raises:
        RegistrationError: functions that take other arguments, or the name of another format. The
            same functions again replace themselves.
    """
    check_function(f"converter {name!r}: matches", matches, "source")
    check_function(f"converter {name!r}: read", read, "source", "template")
    register(CONVERTERS, name, Converter(matches, read, about), "converter", by="read")


def converter_for(source: Source, name: str | None = None) -> Converter:
    """The converter with a name, or the first that recognises a source.

    Raises:
        ConvertError: there is no such converter.
    """
    if name is not None:
        if name not in CONVERTERS:
            raise ConvertError(f"format: expected one of {', '.join(CONVERTERS)}, got {name!r}")
        return CONVERTERS[name]
    for converter in CONVERTERS.values():
        if converter.matches(source):
            return converter
    known = "; ".join(f"{key} ({converter.about})" for key, converter in CONVERTERS.items())
    raise ConvertError(
        f"{source}: the format was not recognised; known are: {known}. Name it with --format if it is one of them"
    )
