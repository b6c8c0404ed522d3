"""The frozen models of an adapter with a language model that another program runs, and the adapter on them.

The adapter's LoRA is removed from the torch side, because the other program computes it. The canary of the bundle
measures whether llama.cpp gives the logits with which the adapter was saved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch

from inlay.adapters.adapter import Adapter, AttachedModel
from inlay.adapters.backbone import Backbone
from inlay.adapters.compatibility.canary import CanaryError, verify
from inlay.adapters.language.model import LanguageModel
from inlay.adapters.loading.pretrained import source_name
from inlay.hub.format.manifest import CanarySpec
from inlay.recipes.runtime.embedding_table import EmbeddingTable, load_embedding_table
from inlay.recipes.runtime.engine import RuntimeProblem, opened_engine
from inlay.recipes.runtime.llamacpp import LlamaCppLanguage, LlamaCppModel
from inlay.recipes.runtime.options import RuntimeOptions
from inlay.recipes.runtime.vllm import VllmLanguage, served_names
from inlay.recipes.runtime.vllm_client import VllmClient
from inlay.recipes.settings.run import BackboneSettings
from inlay.recipes.training.load_model import backbone_of, loaded_model

__all__ = ["runtime_backbone", "runtime_model"]

_FLOAT_FILES = {"0": torch.float32, "1": torch.float16, "32": torch.bfloat16}
"""``general.file_type`` -> data type of a base model that is not quantised."""


@contextmanager
def runtime_model(
    bundle: str | Path,
    runtime: RuntimeOptions,
    backbone: Backbone | BackboneSettings | None = None,
    *,
    trusted: Path | None = None,
    show: Callable[[str], None] = print,
) -> Iterator[AttachedModel]:
    """A context with an attached model whose language model runs in torch or in another program.

    Args:
        bundle: a run folder, a bundle, or a repository on the Hub.
        runtime: the program and its files or its address.
        backbone: settings that name some of the frozen models; for torch also loaded ones.
        trusted: as for :func:`inlay.recipes.training.load_model.load_model`.
        show: receives a line with the difference that the canary measured.

    Raises:
        InlayError: the adapter, a file or the server cannot be used; the text says why.

    Example:
        >>> options = RuntimeOptions("llamacpp", gguf=Path("base.gguf"))  # doctest: +SKIP
        >>> with runtime_model("runs/mine", options) as model:  # doctest: +SKIP
        ...     model.chat([{"role": "user", "content": "Hello"}]).text
    """
    chosen = BackboneSettings() if backbone is None else backbone
    if runtime.name == "torch":
        with loaded_model(bundle, chosen, trusted) as model:
            yield model
        return
    adapter = Adapter.from_pretrained(bundle, trusted=trusted)
    with runtime_backbone(bundle, adapter, runtime, chosen, show=show) as frozen:
        model = adapter.attach(frozen)
        adapter.eval()
        try:
            yield model
        finally:
            if adapter.attached:
                adapter.detach()


@contextmanager
def runtime_backbone(
    bundle: str | Path,
    adapter: Adapter,
    runtime: RuntimeOptions,
    backbone: Backbone | BackboneSettings,
    *,
    show: Callable[[str], None] = print,
) -> Iterator[Backbone]:
    """A context with the frozen models of an adapter; see :func:`runtime_model`.

    With a runtime other than torch the adapter's LoRA is removed from it, because the other program has it.
    """
    if runtime.name == "torch":
        yield backbone_of(bundle, adapter, backbone)
        return
    if isinstance(backbone, Backbone):
        raise RuntimeProblem(f"--runtime {runtime.name}: expected names of the frozen models, got loaded ones")
    _check_adapter(adapter)
    stored, expected = adapter.canary, adapter.interface["llm"]
    with ExitStack() as stack:

        def load(
            source: str | Path, *, dtype: Any = None, name: str | None = None, revision: str | None = None, **_: Any
        ) -> LanguageModel:
            kind = dtype if isinstance(dtype, torch.dtype) else torch.float32
            kept = load_embedding_table(source, revision=revision, dtype=kind, gguf=runtime.gguf)
            names: dict[str, Any] = {"source": name or source_name(source), "revision": revision}
            if runtime.gguf is None:
                return _behind_server(kept, adapter, runtime, names)
            engine = stack.enter_context(opened_engine(adapter, kept.config, runtime.gguf, runtime.lora))
            return LlamaCppLanguage(LlamaCppModel(kept, engine), kept.tokenizer, expected=expected, **names)

        frozen = backbone_of(bundle, adapter, backbone, language=load)
        adapter.lora = None
        if isinstance(frozen.llm, LlamaCppLanguage) and runtime.gguf is not None and stored is not None:
            show(_measured(adapter, frozen, stored, frozen.llm, runtime.gguf))
        yield frozen


def _check_adapter(adapter: Adapter) -> None:
    """Check that nothing but a LoRA of an adapter is inside the language model.

    Raises:
        RuntimeProblem: it has rows for new tokens.
    """
    if adapter.tokens is not None:
        first = ", ".join(adapter.tokens.config.strings[:3])
        raise RuntimeProblem(
            f"adapter {adapter.name!r} has rows for new tokens ({first}, ...) in the head of the language model, and "
            "llama.cpp and vLLM can add a LoRA alone; use --runtime torch"
        )


def _behind_server(
    kept: EmbeddingTable, adapter: Adapter, runtime: RuntimeOptions, names: dict[str, Any]
) -> LanguageModel:
    client = VllmClient(runtime.url)
    served = served_names(client.models(), runtime.served_model, adapter.lora is not None)
    return VllmLanguage(kept, client, served, expected=adapter.interface["llm"], **names)


def _measured(adapter: Adapter, backbone: Backbone, stored: CanarySpec, llm: LlamaCppLanguage, base: Path) -> str:
    """The difference of the canary's logits, as a line.

    Raises:
        RuntimeProblem: it is too large for a base model that is not quantised.
    """
    if adapter.compatibility(backbone).verdict != "exact":
        return f"{base.name}: not compared with the canary of the bundle, because other encoders were chosen"
    dtype = _FLOAT_FILES.get(llm.model.engine.metadata("general.file_type") or "")
    model = adapter.attach(backbone, verify=False)
    try:
        difference = verify(model.probe, stored, dtype or torch.float16, None, backbone.ports)
    except CanaryError as error:
        found = str(error).partition(": ")[0].removeprefix("after attach ")
        if dtype is not None:
            raise RuntimeProblem(
                f"{base}: {found}: llama.cpp computes other numbers than the adapter was saved with; check that the "
                "file is the language model that the adapter was trained on"
            ) from error
        return f"{base.name}: {found}; the file is quantised, compare answers with inlay evaluate"
    finally:
        adapter.detach()
    return f"{base.name}: logits of the bundle's canary differ by {difference:.2g}"
