"""The licence fields of a card, and backbones whose licences forbid commercial use.

A hub accepts a fixed list of licence identifiers; any other licence is written as ``other`` with a name. The manifest
does not contain the licences of backbones, so backbones that are known to be non-commercial are listed here by name.
The list does not replace reading the licences, as the card states.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["licence_fields", "restrictions"]

_LIST = (
    "afl-3.0 agpl-3.0 apache-2.0 apple-amlr artistic-2.0 bigcode-openrail-m bigscience-bloom-rail-1.0 bsd bsd-2-clause "
    "bsd-3-clause bsd-3-clause-clear bsl-1.0 c-uda cc cc-by-2.0 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 "
    "cc-by-nc-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 "
    "cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 creativeml-openrail-m deepfloyd-if-license ecl-2.0 epl-1.0 epl-2.0 eupl-1.1 "
    "eupl-1.2 gemma gfdl gpl gpl-2.0 gpl-3.0 h-research intel-research isc lgpl lgpl-2.1 lgpl-3.0 llama2 llama3 "
    "llama3.1 llama3.2 llama3.3 llama4 lppl-1.3c mit mpl-2.0 ms-pl ncsa odbl odc-by ofl-1.1 openmdw-1.0 openrail "
    "openrail++ osl-3.0 pddl postgresql unlicense unknown wtfpl zlib other"
)
_IDENTIFIERS = frozenset(_LIST.split())
_NO_IDENTIFIER = re.compile(r"[^a-z0-9.]+")
_FORBIDS = re.compile(r"(?i)\bnc\b|non.?commercial|research.only|\bh-research\b|intel-research|apple-amlr")
_MODELS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(huggyllama|decapoda-research|meta-llama)/llama-\d+b(-hf)?", re.IGNORECASE), "LLaMA 1"),
    (re.compile(r"lmsys/vicuna-\d+b-(delta-v\S+|v1\.[013])", re.IGNORECASE), "Vicuna before 1.5, built on LLaMA 1"),
    (re.compile(r"salesforce/instructblip-vicuna-\S+", re.IGNORECASE), "InstructBLIP on Vicuna 1.1, built on LLaMA 1"),
    (re.compile(r"\S+/imagebind\S*", re.IGNORECASE), "ImageBind, CC-BY-NC-SA 4.0"),
    (re.compile(r"facebook/opt-\S+", re.IGNORECASE), "OPT, for research only"),
    (re.compile(r"facebook/(galactica-\S+|musicgen-\S+|audiogen-\S+)", re.IGNORECASE), "CC-BY-NC 4.0"),
)


def licence_fields(text: str | None) -> dict[str, str]:
    """Return the licence fields of the front matter.

    Example:
        >>> licence_fields("Apache-2.0"), licence_fields("Ask me!")
        ({'license': 'apache-2.0'}, {'license': 'other', 'license_name': 'ask-me'})
    """
    if text is None:
        return {}
    known = text.lower()
    if known in _IDENTIFIERS:
        return {"license": known}
    return {"license": "other", "license_name": _NO_IDENTIFIER.sub("-", known).strip("-.")[:96] or "unnamed"}


def restrictions(licence: str | None, sources: Iterable[str]) -> tuple[str, ...]:
    """List the reasons against commercial use: the adapter's licence, and known non-commercial backbones.

    Example:
        >>> restrictions("cc-by-nc-4.0", ["lmsys/vicuna-7b-v1.1", "openai/clip-vit-large-patch14"])
        ('its own licence, cc-by-nc-4.0', 'lmsys/vicuna-7b-v1.1 (Vicuna before 1.5, built on LLaMA 1)')
    """
    found = [f"its own licence, {licence}"] if licence and _FORBIDS.search(licence) else []
    found += [f"{source} ({what})" for source in sources for pattern, what in _MODELS if pattern.fullmatch(source)]
    return tuple(found)
