"""Tiny random backbones in folders, as the command line loads them, and a handful of pictures with captions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from senses_models import CAPTIONS, CodeBook, SmallEncoder, write_wav
from serve_client import Served, serving
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForMaskedLM,
    Blip2VisionConfig,
    Blip2VisionModel,
    BlipImageProcessorPil,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from inlay.adapters.adapter import Adapter
from inlay.adapters.backbone import Backbone
from inlay.adapters.conversation.messages import MadePart, MediaPart, Message, TextPart
from inlay.adapters.encoders import EvaEncoder
from inlay.adapters.language.prompt_tokenizer import PromptTokenizer
from inlay.adapters.llm_parts.lora import LoraConfig
from inlay.adapters.media.modality import Modality
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.miniature.datasets.pictures import build
from inlay.recipes.serve.limits import Limits
from inlay.recipes.systems import nextgpt

WORDS = "a the small large red green blue circle square star ring is there in center left right top bottom and ."
PROCESSOR = BlipImageProcessorPil(size={"height": 16, "width": 16})
FORMER = {"queries": 4, "hidden": 16, "layers": 2, "heads": 2, "ffn": 24}


def make_bert_tokenizer() -> PreTrainedTokenizerFast:
    """Words of the miniature world with BERT's frame."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    core = Tokenizer(models.WordLevel({word: n for n, word in enumerate([*special, *WORDS.split()])}, "[UNK]"))
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def make_eva(seed: int = 3) -> EvaEncoder:
    """Two layers, 5 features of 24."""
    torch.manual_seed(seed)
    sizes = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = Blip2VisionConfig(**sizes, image_size=16, patch_size=8, initializer_range=0.2)
    return EvaEncoder(Blip2VisionModel(config), PROCESSOR, source="tiny/eva")


def make_llm_folder(name: str, folder: Path, tokenizer: Any) -> None:
    """A two-layer language model and its tokenizer."""
    torch.manual_seed(1)
    shared: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 1024}
    if name == "t5":
        t5 = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 2}
        start = {"decoder_start_token_id": tokenizer.pad_token_id}
        model: Any = T5ForConditionalGeneration(T5Config(**shared, **t5, **start))
    elif name == "opt":
        model = OPTForCausalLM(OPTConfig(**shared, **sizes, ffn_dim=48, word_embed_proj_dim=32))
    else:
        model = LlamaForCausalLM(LlamaConfig(**shared, **sizes, intermediate_size=48))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory, tokenizer_of: Any) -> dict[str, Path]:
    """Name -> folder of a tiny ``llama``, ``opt``, ``t5``, ``eva``, ``bert``; ``data`` holds pictures and JSON."""
    root = tmp_path_factory.mktemp("backbones")
    for name in ("llama", "opt", "t5"):
        make_llm_folder(name, root / name, tokenizer_of(bos=name != "t5", eos=name == "t5"))
    make_eva().model.save_pretrained(root / "eva")
    PROCESSOR.save_pretrained(root / "eva")
    tokenizer = make_bert_tokenizer()
    torch.manual_seed(2)
    bert = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=FORMER["hidden"],
        num_hidden_layers=FORMER["layers"],
        num_attention_heads=FORMER["heads"],
        intermediate_size=FORMER["ffn"],
        max_position_embeddings=64,
    )
    BertForMaskedLM(bert).save_pretrained(root / "bert")
    tokenizer.save_pretrained(root / "bert")
    build(root / "data", 0, scenes=8, test_scenes=7, digits=2, test_digits=2)
    return {name: root / name for name in ("llama", "opt", "t5", "eva", "bert", "data")}


@pytest.fixture
def eva_backbone_of(llm_of: Any) -> Callable[..., Backbone]:
    """A tiny LLM of a family, EVA, and BERT's tokenizer."""

    def make(family: str = "opt") -> Backbone:
        prompts = PromptTokenizer(make_bert_tokenizer(), source="tiny/bert")
        return Backbone(llm_of(family), {"image": make_eva()}, prompts)

    return make


@pytest.fixture
def former_fields() -> dict[str, int]:
    return dict(FORMER)


@pytest.fixture
def adapters(backbone_of: Any, adapter_of: Any) -> dict[str, Adapter]:
    """Two adapters of one tiny backbone, ``a`` and ``b``, with their LoRA; ``a`` is attached."""
    backbone = backbone_of()
    found = {"a": adapter_of(backbone, seed=3).eval(), "b": adapter_of(backbone, seed=4, r=2).eval()}
    found["a"].attach(backbone)
    return found


@pytest.fixture
def gate(adapters: dict[str, Adapter]) -> Iterator[threading.Event]:
    """While it is not set, generation stands still after the first tokens."""
    opened, steps = threading.Event(), 0
    llm = adapters["a"].attachment.backbone.llm.model

    def wait(*_: Any) -> None:
        nonlocal steps
        steps += 1
        if steps > 4:
            assert opened.wait(120)

    handle = llm.get_input_embeddings().register_forward_pre_hook(wait)
    yield opened
    opened.set()
    handle.remove()


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    """Serves adapters by name, in a server on the loopback; one of them is attached. Options are those of the app."""
    pytest.importorskip("fastapi", reason="needs inlay[serve]")
    pytest.importorskip("uvicorn", reason="needs inlay[serve]")
    from inlay.recipes.serve.engine.models import Models
    from inlay.recipes.serve.http_api.app import create_app

    with ExitStack() as stack:

        def start(adapters: dict[str, Any], limits: Limits | None = None, page: Any = None, **options: Any) -> Served:
            from inlay.adapters.model import MultimodalModel

            (attached,) = (adapter for adapter in adapters.values() if adapter.attached)
            models = Models(MultimodalModel(attached.attachment.backbone, attached), adapters)
            chosen = limits or Limits()
            app = create_app(models, chosen, **options)
            if page is not None:
                page(app, models, chosen)
            return stack.enter_context(contextmanager(serving)(app, chosen))

        yield start


@pytest.fixture
def served(serve: Callable[..., Served], adapters: dict[str, Adapter]) -> Served:
    return serve(adapters)


@dataclass
class Senses:
    """A backbone of all senses, an attached NExT-GPT on it, and dialogues in which things are shown and made."""

    model: Any
    samples: list[Sample]
    media: Path

    def state(self) -> dict[str, torch.Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.model.adapter.state_dict().items()}


_SHOWN: tuple[Modality, ...] = ("image", "image", "audio", "audio", "video", "video")


@pytest.fixture
def senses_of(llm_of: Any, image_of: Any, tmp_path: Path) -> Callable[..., Senses]:
    """Makes them; fields of the recipe and of LoRA may be others."""

    # Written once: two processes of one test may both call ``make``.
    folder = tmp_path / "media"
    folder.mkdir()
    for index in range(2):
        image_of(index).save(folder / f"{index}.png")
        write_wav(folder / f"{index}.wav", 200.0 * (index + 1))

    def make(dropout: float = 0.3, **fields: Any) -> Senses:
        everything: tuple[Modality, ...] = ("image", "audio", "video")
        backbone = Backbone(
            llm_of("llama", max_position_embeddings=1024),
            {name: SmallEncoder(name) for name in everything},
            generators={name: CodeBook(name, CAPTIONS) for name in everything},
        )
        options = {"hidden": 16, "encoder_layers": 1, "decoder_layers": 1, "heads": 2, "ffn": 24}
        own = {
            "output_options": options,
            "signals": {"image": 2, "video": 3, "audio": 2},
            "lora": LoraConfig(r=4, alpha=8.0, dropout=dropout, targets=("q_proj", "v_proj")),
        }
        torch.manual_seed(5)
        recipe = replace(nextgpt.recipe(), **(own | fields))
        model = recipe.adapter(backbone, "tiny").attach(backbone)
        return Senses(model, [_dialogue(index, folder) for index in range(6)], folder)

    return make


def _dialogue(index: int, folder: Path) -> Sample:
    """Something is shown, something else is made, and words are said."""
    kind, caption = _SHOWN[index], CAPTIONS[index]
    file = {"image": f"{index % 2}.png", "audio": f"{index % 2}.wav"}
    shown = [MediaPart(name, folder / path) for name, path in file.items() if name != kind]
    turns = (
        Message("user", (*shown[:1], TextPart(f"make {caption}"))),
        Message("assistant", (TextPart("Here."), MadePart(kind, caption))),
        Message("user", (TextPart("what is it?"),)),
        Message("assistant", (TextPart(caption),)),
    )
    return Sample(f"s{index}", turns, f"rows, item {index}", kinds=(kind, "question"))
