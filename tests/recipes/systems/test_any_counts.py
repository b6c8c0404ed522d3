"""NExT-GPT and ModaVerse at true size, on the meta device: exact counts, no memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from inlay.adapters.backbone import Backbone
from inlay.adapters.compatibility.digest import META_DIGEST
from inlay.adapters.language.model import LanguageModel
from inlay.adapters.media.modality import Modality
from inlay.hub.format.manifest import PortSpec
from inlay.recipes.settings.errors import RecipeError
from inlay.recipes.systems import modaverse, nextgpt


class Sized(nn.Module):
    """A frozen model of which nothing but its sizes is asked."""

    family = "sized"

    def __init__(self, kind: Any, modality: Modality, tokens: int, width: int) -> None:
        super().__init__()
        self.modality, self.tokens, self.width = modality, tokens, width
        self.port = PortSpec(kind=kind, family="sized", width=width, tokens=tokens, weights=META_DIGEST)
        self.device, self.dtype = torch.device("meta"), torch.float16

    def preprocess(self, *args: Any) -> Tensor:
        raise NotImplementedError

    encode = encode_text = generate = diffusion_loss = preprocess


GENERATORS = {"image": (77, 768), "audio": (1, 512), "video": (77, 1024)}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.WordLevel({"<s>": 0, "</s>": 1, "a": 2}, unk_token="a"))
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>")


@pytest.fixture(scope="module")
def language(tokenizer: Any) -> LanguageModel:
    sizes = {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32}
    with torch.device("meta"):
        return LanguageModel(LlamaForCausalLM(LlamaConfig(**sizes, vocab_size=32000)), tokenizer)


def backbone(language: LanguageModel, *senses: Modality, width: int = 1024) -> Backbone:
    encoders = {name: Sized("encoder", name, 1, width if name == "image" else 1024) for name in senses}
    generators = {name: Sized("generator", name, *GENERATORS[name]) for name in senses}
    return Backbone(language, encoders, generators=generators)


def counts(adapter: Any) -> dict[str, int]:
    return {part.name: part.parameters for part in adapter.parts()}


def test_nextgpt_as_released(language: LanguageModel) -> None:
    adapter = nextgpt.recipe(size="full").adapter(backbone(language, "image", "audio", "video"), "nextgpt")
    assert counts(adapter) == {
        "inputs.image": 4_198_400,
        "outputs.image": 31_958_784,
        "outputs.audio": 31_788_544,
        "outputs.video": 32_090_112,
        "tokens": 2 * 36 * 4096,
        "lora": 33_554_432,
    }
    assert adapter.tokens.config.strings[:4] == ("[IMG0]", "[IMG1]", "[IMG2]", "[IMG3]")
    assert adapter.tokens.config.signals["video"][-1] == "[VID23]"
    assert sum(counts(adapter).values()) * 2 == 267_770_368  # bytes in bf16


def test_modaverse_has_no_output_projector(language: LanguageModel) -> None:
    adapter = modaverse.recipe(size="full").adapter(backbone(language, "image", "audio", "video"), "modaverse")
    assert counts(adapter) == {"inputs.image": 4_198_400, "tokens": 2 * 6 * 4096, "lora": 33_554_432}
    assert adapter.tokens.config.strings == ("<Media>", "</Media>", "[TEXT]", "[IMAGE]", "[AUDIO]", "[VIDEO]")


def test_what_the_backbone_lacks_has_no_projector(language: LanguageModel) -> None:
    adapter = nextgpt.recipe(size="full").adapter(backbone(language, "image", "audio"), "nextgpt")
    assert set(adapter.inputs) == {"image", "audio"}
    assert set(counts(adapter)) == {"inputs.image", "outputs.image", "outputs.audio", "tokens", "lora"}
    assert counts(adapter)["tokens"] == 2 * 12 * 4096
    with pytest.raises(RecipeError, match="expected an encoder for one of"):
        nextgpt.recipe(size="full").adapter(Backbone(language), "nextgpt")


def test_encoders_of_different_widths_do_not_share(language: LanguageModel) -> None:
    mixed = backbone(language, "image", "audio", width=768)
    with pytest.raises(Exception, match="one feature width"):
        nextgpt.recipe(size="full").adapter(mixed, "nextgpt")
    apart = replace(nextgpt.recipe(size="full"), shared=False).adapter(mixed, "apart")
    assert counts(apart)["inputs.image"] == (768 + 1) * 4096
    assert counts(apart)["inputs.audio"] == 4_198_400


@pytest.mark.parametrize("version", ["legacy", "1.5"])
def test_published_hyper_parameters(version: Any) -> None:
    full = nextgpt.recipe(version, "full")
    assert list(full.stages) == ["encode", "decode", "instruct"]
    lora = {"legacy": (32, 32.0, 0.1), "1.5": (128, 256.0, 0.05)}[version]
    assert (full.lora.r, full.lora.alpha, full.lora.dropout) == lora
    assert full.stages["encode"].template == {"legacy": "nextgpt", "1.5": "vicuna_v1"}[version]
    assert full.signals == {"image": 4, "video": 24, "audio": 8}
    assert list(nextgpt.recipe(version).stages) == ["encode", "instruct", "decode"]


def test_modaverse_is_one_stage() -> None:
    stage = modaverse.recipe(size="full").stages["instruct"]
    assert (stage.batch_size, stage.accumulate, stage.optimizer.betas, stage.optimizer.weight_decay) == (
        16,
        4,
        (0.9, 0.95),
        1e-3,
    )
