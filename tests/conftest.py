"""Tiny random models and tokenizers, made in memory: no downloads, milliseconds each."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch
from hub_emulator import Hub
from PIL import Image
from registries import forgotten
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
    ViTConfig,
    ViTImageProcessorPil,
    ViTModel,
)

from inlay.adapters.adapter import Adapter
from inlay.adapters.backbone import Backbone
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.encoders import ClipEncoder, VitEncoder
from inlay.adapters.inputs import projector_config
from inlay.adapters.language.model import LanguageModel
from inlay.adapters.language.prompt_tokenizer import PromptTokenizer
from inlay.adapters.llm_parts.lora import LoraConfig

# A shell that starts this in the background leaves Ctrl-C ignored, and every process that a test starts inherits that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No test asks the Hub, and none waits for it.
huggingface_hub.constants.HF_HUB_OFFLINE = True

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXT = [
    "USER: what colour is the large circle? ASSISTANT: red USER: how many squares are there? ASSISTANT: two\n",
    "A chat between a curious user and an artificial intelligence assistant. What is shown? a small blue star.",
]


def make_tokenizer(
    *, bos: bool = True, eos: bool = False, chat_template: str | None = CHATML
) -> PreTrainedTokenizerFast:
    """A byte-level BPE that puts ``<s>`` first, ``</s>`` last, or nothing."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", "<pad>", "<|im_start|>", "<|im_end|>", "<image>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(TEXT, trainer)
    if bos:
        core.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", core.token_to_id("<s>"))]
        )
    elif eos:
        core.post_processor = processors.TemplateProcessing(
            single="$A </s>", pair="$A $B </s>", special_tokens=[("</s>", core.token_to_id("</s>"))]
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<s>" if bos else None,
        eos_token="</s>" if bos or eos else "<|im_end|>",
        pad_token="<pad>",
    )
    tokenizer.chat_template = chat_template
    return tokenizer


def make_llm(family: str, seed: int = 0, **changes: Any) -> LanguageModel:
    """A two-layer language model of a family."""
    torch.manual_seed(seed)
    tokenizer = make_tokenizer(bos=family in {"llama", "opt"}, eos=family == "t5")
    shared = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 256,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    } | changes
    gqa = {"intermediate_size": 48, "num_key_value_heads": 2, "tie_word_embeddings": False}
    if family == "opt":
        model: Any = OPTForCausalLM(OPTConfig(**shared, ffn_dim=48, word_embed_proj_dim=shared["hidden_size"]))
    elif family == "llama":
        model = LlamaForCausalLM(LlamaConfig(**(gqa | shared)))
    elif family == "t5":
        model = T5ForConditionalGeneration(t5_config(tokenizer, **changes))
    elif family == "qwen2":
        model = Qwen2ForCausalLM(Qwen2Config(**(gqa | shared)))
    else:
        model = Qwen3ForCausalLM(Qwen3Config(**(gqa | shared), head_dim=8))
    return LanguageModel(model, tokenizer, source=f"tiny/{family}")


def t5_config(tokenizer: PreTrainedTokenizerFast, **changes: Any) -> T5Config:
    """Two layers a side, Flan-T5's gated feed-forward."""
    sizes = {
        "vocab_size": len(tokenizer),
        "d_model": 32,
        "d_kv": 8,
        "d_ff": 48,
        "num_layers": 2,
        "num_heads": 4,
        "feed_forward_proj": "gated-gelu",
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "decoder_start_token_id": tokenizer.pad_token_id,
    }
    return T5Config(**(sizes | changes))


def make_prompt_tokenizer(*extra: str) -> PromptTokenizer:
    """A word-level tokenizer with BERT's frame: ``[CLS] ... [SEP]``."""
    words = sorted({*" ".join(TEXT).replace("?", " ?").replace(".", " .").lower().split(), *extra})
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    core = Tokenizer(models.WordLevel({word: index for index, word in enumerate([*special, *words])}, "[UNK]"))
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    return PromptTokenizer(tokenizer, source="tiny/bert")


def make_clip(seed: int = 1, layer: int = -2, class_token: Any = "drop", image_size: int = 16) -> ClipEncoder:
    """A three-layer CLIP vision tower: 16 px, patches of 8, so 4 patches."""
    torch.manual_seed(seed)
    config = CLIPVisionConfig(
        hidden_size=24,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=image_size,
        patch_size=8,
    )
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": image_size}, crop_size={"height": image_size, "width": image_size}
    )
    return ClipEncoder(CLIPVisionModel(config), processor, layer=layer, class_token=class_token, source="tiny/clip")


def make_vit(seed: int = 2) -> VitEncoder:
    """A two-layer plain vision transformer."""
    torch.manual_seed(seed)
    config = ViTConfig(
        hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4, image_size=16, patch_size=8
    )
    return VitEncoder(ViTModel(config), ViTImageProcessorPil(size={"height": 16, "width": 16}), source="tiny/vit")


def make_backbone(family: str = "llama", seed: int = 0) -> Backbone:
    """LLM and CLIP."""
    return Backbone(make_llm(family, seed), {"image": make_clip()})


def make_adapter(
    backbone: Backbone,
    *,
    kind: str = "mlp",
    r: int | None = 4,
    template: str = "vicuna_v1",
    seed: int = 3,
    dropout: float = 0.0,
) -> Adapter:
    """An adapter whose LoRA is not zero, so that it shows when it is missing."""
    torch.manual_seed(seed)
    targets = ("q_proj", "v_proj")
    adapter = Adapter.for_backbone(
        backbone,
        system="llava",
        name=f"tiny-{seed}",
        layout=Layout(template=template),
        inputs={"image": projector_config(kind, {})},
        lora=LoraConfig(r=r, alpha=8.0, dropout=dropout, targets=targets) if r else None,
    )
    for parameter in adapter.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2)
    return adapter


def make_image(seed: int = 0, size: tuple[int, int] = (20, 14)) -> Image.Image:
    """Random pixels."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (size[1], size[0], 3), generator=generator, dtype=torch.uint8)
    return Image.frombytes("RGB", size, bytes(pixels.flatten().tolist()))


@pytest.fixture
def own_registrations() -> Iterator[None]:
    """What a test registers is forgotten behind it."""
    with forgotten():
        yield


@pytest.fixture
def no_gradients() -> Iterator[None]:
    """A test, and what its other fixtures make, is without gradients; ``torch.enable_grad`` asks for them again."""
    with torch.no_grad():
        yield


@pytest.fixture(scope="session")
def tokenizer_of() -> Callable[..., PreTrainedTokenizerFast]:
    return make_tokenizer


@pytest.fixture
def llm_of() -> Callable[..., LanguageModel]:
    return make_llm


@pytest.fixture
def prompt_tokenizer_of() -> Callable[..., PromptTokenizer]:
    return make_prompt_tokenizer


@pytest.fixture
def clip_of() -> Callable[..., ClipEncoder]:
    return make_clip


@pytest.fixture
def vit_of() -> Callable[..., VitEncoder]:
    return make_vit


@pytest.fixture
def backbone_of() -> Callable[..., Backbone]:
    return make_backbone


@pytest.fixture
def adapter_of() -> Callable[..., Adapter]:
    return make_adapter


@pytest.fixture
def image_of() -> Callable[..., Image.Image]:
    return make_image


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub on the loopback, where huggingface_hub's clients in this process find it; the cache is ``tmp_path/cache``.

    What the client reads from the environment when it is imported is set where it keeps it.
    """
    with Hub() as server:
        settings = {"HF_HUB_OFFLINE": False, "ENDPOINT": server.url, "HF_HUB_CACHE": str(tmp_path / "cache")}
        settings |= {"HUGGINGFACE_CO_URL_TEMPLATE": server.url + "/{repo_id}/resolve/{revision}/{filename}"}
        settings |= {
            "HF_TOKEN_PATH": str(tmp_path / "token"),
            "HF_HUB_DOWNLOAD_TIMEOUT": 20,
            "HF_HUB_DISABLE_XET": True,
        }
        for name, value in settings.items():
            monkeypatch.setattr(huggingface_hub.constants, name, value)
        monkeypatch.setenv("HF_TOKEN", "hf_owner")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        yield server
