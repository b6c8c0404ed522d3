"""The backbone: one frozen LLM, a frozen encoder per input modality, a frozen generator per output modality."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast, overload

import torch
from torch import nn

from inlay.adapters.compatibility.ports import PROMPT_PORT, generator_port
from inlay.adapters.encoders.precomputed import PrecomputedEncoder, precomputed_as
from inlay.adapters.encoders.protocol import Encoder, ImageEncoder, check_encoder
from inlay.adapters.generators import Generator, check_generator
from inlay.adapters.language.model import LanguageModel
from inlay.adapters.language.occupancy import occupancy_of
from inlay.adapters.language.prompt_tokenizer import PromptTokenizer
from inlay.adapters.loading.encoders.image import load_image_encoder
from inlay.adapters.loading.encoders.several import load_encoders
from inlay.adapters.loading.files.checkpoint import only_safetensors
from inlay.adapters.loading.generators import load_generator
from inlay.adapters.loading.language import load_language, load_prompt_tokenizer
from inlay.adapters.loading.pretrained import BackboneError, given
from inlay.adapters.media.modality import Modality
from inlay.hub.format.manifest import PortSpec

__all__ = ["Backbone"]


class Backbone(nn.Module):
    """One frozen LLM, frozen encoders and frozen generators.

    Args:
        llm: the language model.
        encoders: modality -> encoder.
        prompt_tokenizer: tokenizer for projectors that read the instruction in a medium's turn.
        generators: modality -> generator.

    Example:
        ``Backbone(llm=LanguageModel(hf_llm, tokenizer), encoders={"image": ClipEncoder(hf_vision, processor)})``
    """

    def __init__(
        self,
        llm: LanguageModel,
        encoders: Mapping[Modality, Encoder] | None = None,
        prompt_tokenizer: PromptTokenizer | None = None,
        generators: Mapping[Modality, Generator] | None = None,
    ) -> None:
        super().__init__()
        self.llm = llm
        self.prompt_tokenizer = prompt_tokenizer
        self.encoders = nn.ModuleDict(
            {str(name): check_encoder(name, encoder) for name, encoder in (encoders or {}).items()}
        )
        self.generators = nn.ModuleDict(
            {str(name): check_generator(name, generator) for name, generator in (generators or {}).items()}
        )
        self.identity = object()
        """Identity of this backbone, by which an adapter recognises that it was checked on it before."""

    @classmethod
    def from_pretrained(
        cls,
        llm: str | Path,
        image: str | Path | None = None,
        *,
        audio: str | Path | None = None,
        video: str | Path | None = None,
        features: str | PrecomputedEncoder | None = None,
        prompt: str | Path | None = None,
        dtype: str | torch.dtype = "auto",
        device: str | torch.device | None = None,
        qformer: bool = False,
        layer: int | None = None,
        class_token: str | None = None,
        feature_options: Mapping[Modality, Mapping[str, Any]] | None = None,
        generate_image: str | Path | None = None,
        generate_audio: str | Path | None = None,
        generate_video: str | Path | None = None,
        generator_text: bool = True,
        revisions: Mapping[str, str] | None = None,
        local_files_only: bool = False,
        quantise: str | None = None,
        safetensors_only: bool = False,
    ) -> Backbone:
        """Load from Hub ids or folders in the standard transformers layout. No code from a repository is run.

        Weights are safetensors, or pickles of tensors where a model has no safetensors; a warning names these.

        Args:
            llm: Hub id or folder of a ``*ForCausalLM`` or an encoder-decoder (T5) with its tokenizer.
            image: Hub id or folder of a CLIP, ViT, BLIP-2 or InstructBLIP model with its image processor.
            audio: Hub id or folder of a Whisper, HuBERT, CLAP, BEATs or ImageBind model.
            video: Hub id or folder of a VideoMAE, V-JEPA 2 or ImageBind model, or of an image encoder, which then
                encodes single frames of a clip. An ImageBind that several modalities use is loaded once.
            features: sizes of precomputed features, which messages contain as files; no encoder is loaded:
                :func:`inlay.adapters.encoders.precomputed`, or ``"WIDTHxTOKENS"`` such as ``"64x16"``.
            prompt: Hub id or folder of the tokenizer for projectors that read the instruction, such as
                ``bert-base-uncased``.
            dtype: ``"bfloat16"``, ``torch.float32``, ...; ``"auto"`` follows ``device``: bfloat16 on a GPU that
                supports it, otherwise the dtype of the files, and on the CPU float32 for float16 files.
            device: where the models are put; the CPU if not given.
            qformer: load BLIP-2's frozen Q-Former together with its vision tower (MiniGPT-4).
            layer: hidden states of the image encoder that are the features; the family's default if not given.
            class_token: ``"keep"`` or ``"drop"``; the family's default if not given.
            feature_options: keyword arguments of the encoders, such as ``{"video": {"frames": 4, "pooling": "mean"}}``.
            generate_image: Hub id or folder of Stable Diffusion 1.5 or 2 (needs ``pip install 'inlay[generate]'``).
            generate_audio: Hub id or folder of AudioLDM.
            generate_video: Hub id or folder of a text-to-video model such as Zeroscope.
            generator_text: keep the generators' own text encoders; an adapter with output projectors does not need
                them.
            revisions: ``{"llm": ..., "image": ..., "generate.image": ..., "prompt": ...}``, commits, branches or tags.
            local_files_only: send no request to the Hub.
            quantise: ``"nf4"`` or ``"int8"``: the linears of the LLM in 4 or 8 bits (``pip install
                'inlay[quantised]'``).
            safetensors_only: refuse models whose weights are pickles (``pytorch_model.bin``).

        Raises:
            BackboneError: there is no model that can be loaded, or its family is not supported.
        """
        with only_safetensors(safetensors_only):
            chosen = dict(revisions or {})
            common: dict[str, Any] = {"dtype": dtype, "device": device, "local_files_only": local_files_only}
            language = load_language(llm, revision=chosen.get("llm"), quantise=quantise, **common)
            asked: dict[Modality, Mapping[str, Any]] = dict(feature_options or {})
            asked["image"] = {**given(layer=layer, class_token=class_token), **asked.get("image", {})}
            encoders: dict[Modality, Encoder] = {}
            if image is not None and qformer:
                encoders["image"] = load_image_encoder(
                    image, revision=chosen.get("image"), feature_options=asked["image"], qformer=True, **common
                )
                image = None
            sources: dict[Modality, str | Path] = given(image=image, audio=audio, video=video)  # type: ignore[assignment]
            encoders |= load_encoders(sources, revisions=chosen, feature_options=asked, **common)
            if features is not None:
                encoders["features"] = precomputed_as(features)
            prompter = None
            if prompt is not None:
                prompter = load_prompt_tokenizer(
                    prompt, revision=chosen.get(PROMPT_PORT), local_files_only=local_files_only
                )
            makers: dict[Modality, str | Path | None] = {
                "image": generate_image,
                "audio": generate_audio,
                "video": generate_video,
            }
            generators: dict[Modality, Generator] = {
                name: load_generator(
                    source, revision=chosen.get(generator_port(name)), text_encoder=generator_text, **common
                )
                for name, source in makers.items()
                if source is not None
            }
        backbone = cls(language, encoders, prompter, generators)
        return backbone if device is None else backbone.to(device)

    @overload
    def encoder(self, modality: Literal["image"]) -> ImageEncoder: ...

    @overload
    def encoder(self, modality: str) -> Encoder: ...

    def encoder(self, modality: str) -> Encoder:
        """The encoder of a modality.

        Raises:
            BackboneError: there is none.
        """
        if modality not in self.encoders:
            raise BackboneError(
                f"this backbone has no encoder for {modality!r}; it has: {', '.join(self.encoders) or 'none'}"
            )
        return cast(Encoder, self.encoders[modality])

    def generator(self, modality: str) -> Generator:
        """The generator of a modality.

        Raises:
            BackboneError: there is none.
        """
        if modality not in self.generators:
            raise BackboneError(
                f"this backbone has no generator for {modality!r}; it has: {', '.join(self.generators) or 'none'}. "
                f"Give one: Backbone(..., generators={{{modality!r}: ...}}) or "
                f"Backbone.from_pretrained(..., generate_{modality}=...)"
            )
        return cast(Generator, self.generators[modality])

    def prompter(self) -> PromptTokenizer:
        """The tokenizer of projectors that read the instruction.

        Raises:
            BackboneError: there is none.
        """
        if self.prompt_tokenizer is None:
            raise BackboneError(
                "this adapter's projector reads the words of a medium's turn, and this backbone has no tokenizer for "
                "them; give one: Backbone(..., prompt_tokenizer=PromptTokenizer(tokenizer)) or "
                "Backbone.from_pretrained(..., prompt='bert-base-uncased')"
            )
        return self.prompt_tokenizer

    @property
    def ports(self) -> dict[str, PortSpec]:
        """Every port by name: ``llm``, the modalities, ``generate.<modality>``, ``prompt`` if there is a tokenizer."""
        reading = {} if self.prompt_tokenizer is None else {PROMPT_PORT: self.prompt_tokenizer.port}
        made = {generator_port(name): self.generator(name).port for name in self.generators}
        return {"llm": self.llm.port} | {name: self.encoder(name).port for name in self.encoders} | made | reading

    @property
    def attached(self) -> str | None:
        """Name of the adapter on the language model, attached through this backbone or another one; or None."""
        return occupancy_of(self.llm.model).owner

    @property
    def device(self) -> torch.device:
        """The device of the LLM."""
        return self.llm.device

    def __repr__(self) -> str:
        """A line for each frozen model, instead of all of its modules."""
        lines = [f"llm: {type(self.llm.model).__name__}, {self.llm.family}, {self.llm.width} wide"]
        lines += [f"{name}: {type(own).__name__}, {own.family}" for name, own in self.encoders.items()]
        lines += [f"{generator_port(name)}: {type(own).__name__}" for name, own in self.generators.items()]
        return "Backbone(\n" + "".join(f"  {line}\n" for line in lines) + ")"

    def train(self, mode: bool = True) -> Backbone:
        """Keep eval mode: a frozen backbone ignores ``mode``."""
        return super().train(False)
