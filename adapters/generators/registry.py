"""Registration of a user's own generators, by the name that their files give.

A pipeline in the diffusers layout has its class name (``_class_name``) in ``model_index.json``; any other model has its
type (``model_type``) in ``config.json``.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Protocol

import torch

from inlay.adapters.generators.audio import AudioLdm
from inlay.adapters.generators.image import StableDiffusion
from inlay.adapters.generators.protocol import Generator
from inlay.adapters.generators.video import TextToVideo
from inlay.adapters.generators.video_transformer import CogVideoX
from inlay.adapters.parts.registration import RegistrationError, register

__all__ = ["GENERATORS", "GeneratorLoader", "register_generator"]


class GeneratorLoader(Protocol):
    """A function from a Hub id or a folder to a generator."""

    def __call__(
        self,
        source: str,
        *,
        revision: str | None,
        dtype: str | torch.dtype,
        text_encoder: bool,
        local_files_only: bool,
        name: str | None,
    ) -> Generator:
        """Load a generator; arguments as in :func:`inlay.adapters.loading.generators.load_generator`."""
        ...


_ARGUMENTS: Mapping[str, object] = {
    "revision": None,
    "dtype": "auto",
    "text_encoder": True,
    "local_files_only": False,
    "name": None,
}
_BUILT_IN = frozenset(generator.pipeline for generator in (StableDiffusion, AudioLdm, TextToVideo, CogVideoX))


GENERATORS: dict[str, GeneratorLoader] = {}
"""Pipeline class or model type -> its loader, for the generators that were registered."""


def register_generator(name: str, load: GeneratorLoader) -> None:
    """Register a generator, so that ``Backbone.from_pretrained(generate_image=...)`` and the recipes can load it.

    Args:
        name: the class name of the pipeline in ``model_index.json``, or the model type in ``config.json``.
        load: a function, or a class method such as ``MyGenerator.from_pretrained``, that takes the arguments of
            :class:`GeneratorLoader`.

    Raises:
        RegistrationError: the argument is not such a function, or the name has another loader. Registering the same
            loader again is allowed.
    """
    if not callable(load):
        raise RegistrationError(f"generator {name!r}: expected a function that loads it, got {load!r}")
    try:
        inspect.signature(load).bind("source", **_ARGUMENTS)
    except TypeError as error:
        raise RegistrationError(
            f"generator {name!r}: expected a function load(source, *, {', '.join(_ARGUMENTS)}), got one that does not "
            f"accept these arguments: {error}"
        ) from error
    if name in _BUILT_IN:
        raise RegistrationError(f"generator {name!r} is built in; choose another name")
    register(GENERATORS, name, load, "generator")
