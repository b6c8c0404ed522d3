"""Finds models on this machine that may fit an adapter, from their ``config.json``, without loading them.

Family and width of a port are compared. ``attach`` checks tokens, tokenizer, settings and weights.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from jsonargparse import ArgumentParser

from inlay.hub.format.manifest import PortSpec
from inlay.hub.remote.search import Offers
from inlay.recipes.miniature import BackboneName, MiniatureError, backbone_path
from inlay.recipes.settings.default_models import MINIATURE
from inlay.recipes.settings.errors import SettingsError

__all__ = ["add_ports", "fitting", "given_models", "models_here", "offers_of"]

_WIDTHS = ("hidden_size", "d_model", "n_embd", "word_embed_proj_dim", "width_out")
_OURS = {
    "blip_2_vision_model": "eva",
    "instructblip_vision_model": "eva",
    "blip_2_qformer": "qformer",
    "clap_audio_model": "clap",
}
"""Model type -> family of its encoder, if they differ."""

_INNER = ("vision_config", "qformer_config", "text_config", "audio_config")
_LARGEST = 1 << 20


def fitting(
    interface: Mapping[str, PortSpec], models: Mapping[str, frozenset[tuple[str, int]]]
) -> dict[str, list[str]]:
    """Port -> names of models that may fit.

    Args:
        interface: the adapter's interface.
        models: result of :func:`models_here`.

    Example:
        >>> port = PortSpec(kind="llm", family="llama", width=128, weights="sha256:" + "0" * 64)
        >>> fitting({"llm": port}, {"a": frozenset({("llama", 128)}), "b": frozenset({("llama", 4096)})})
        {'llm': ['a']}
    """
    return {
        name: sorted(model for model, offers in models.items() if (port.family, port.width) in offers)
        for name, port in interface.items()
        if port.kind in ("llm", "encoder")
    }


def add_ports(parser: ArgumentParser, about: str) -> None:
    """Add the options ``--llm`` and ``--image`` for models on this machine; :func:`given_models` reads them."""
    for port, kind in (("llm", "language model"), ("image", "image encoder")):
        parser.add_argument(f"--{port}", type=str | None, help=f"{kind} {about}: a folder, or a Hub id in the cache")


def given_models(parsed: Any, here: Mapping[str, Offers]) -> dict[str, tuple[str, Offers]]:
    """Port -> name and offers of the models that the user named.

    Args:
        parsed: arguments with those of :func:`add_ports`.
        here: result of :func:`models_here`.

    Raises:
        SettingsError: neither a model in the cache nor a folder with a ``config.json``.
    """
    found = {}
    for port in ("llm", "image"):
        if (source := getattr(parsed, port)) is None:
            continue
        offers = here.get(source) or offers_of(Path(source) / "config.json")
        if not offers:
            raise SettingsError(
                f"--{port}: {source}: expected a folder with the config.json of a model, or a model in the cache "
                f"({', '.join(here) or 'which has none'})"
            )
        found[port] = (source, offers)
    return found


def models_here(cache_dir: Path | None = None) -> dict[str, Offers]:
    """Name -> families and widths, of the miniature's models and those in the cache of huggingface_hub.

    Args:
        cache_dir: folder of another cache.
    """
    from huggingface_hub import constants

    found: dict[str, Offers] = {}
    for name in get_args(BackboneName):
        try:
            found[f"{MINIATURE}{name}"] = offers_of(backbone_path(name) / "config.json")
        except MiniatureError:
            continue
    for repo in sorted(Path(constants.HF_HUB_CACHE if cache_dir is None else cache_dir).glob("models--*")):
        offers = [offers_of(path) for path in repo.glob("snapshots/*/config.json")]
        if offers:
            found[repo.name.removeprefix("models--").replace("--", "/")] = frozenset().union(*offers)
    return {name: offers for name, offers in found.items() if offers}


def offers_of(path: Path) -> Offers:
    """Families and widths in a ``config.json``; empty if there is none."""
    try:
        if path.stat().st_size > _LARGEST:
            return frozenset()
        config = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return frozenset()
    return frozenset(_ports(config))


def _ports(config: Any) -> Iterator[tuple[str, int]]:
    if not isinstance(config, dict):
        return
    kind = config.get("model_type")
    if isinstance(kind, str):
        family = _OURS.get(kind, kind)
        # CLAP's pooled features are projected; adapters do not read the projections of other models.
        for key in (*_WIDTHS, "projection_dim") if family == "clap" else _WIDTHS:
            if type(config.get(key)) is int:
                yield family, config[key]
    for inner in _INNER:
        yield from _ports(config.get(inner))
