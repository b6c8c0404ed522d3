"""NExT-GPT's file against its own wiring: a LLaMA with resized matrices and merged LoRA, and torch's transformer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_checkpoints import attached
from torch import Tensor, nn

from inlay.adapters.backbone import Backbone
from inlay.adapters.conversation.messages import MadePart, MediaPart, Message, TextPart
from inlay.adapters.convert import ConvertError, import_adapter, read_checkpoint
from inlay.adapters.convert.formats.nextgpt import KEYS

NEW = 38
pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor")
LLM = "llama_model.base_model.model."


class Projector(nn.Module):
    """``TextFcLayer`` of NExT-GPT in mode ``transformer``, without its loop over layers."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.fc = nn.Linear(32, 16)
        self.tfm = nn.Transformer(16, 4, 1, 1, 24, dropout=0.0, batch_first=True, norm_first=True)
        self.model = nn.Linear(16, width)
        self.query_embs = nn.Parameter(torch.randn(1, tokens, 16))

    def forward(self, hidden: Tensor, embeddings: Tensor) -> Tensor:
        states = self.fc(hidden + embeddings)
        projected: Tensor = self.model(self.tfm(states, self.query_embs.repeat(len(states), 1, 1)))
        return projected


@pytest.fixture
def backbone(llm_of: Any, clip_of: Any, generator_of: Any) -> Backbone:
    return Backbone(llm_of("llama"), {"image": clip_of()}, generators={"image": generator_of("image")})


@pytest.fixture
def projector(backbone: Backbone) -> Projector:
    torch.manual_seed(6)
    generator = backbone.generator("image")
    return Projector(generator.tokens, generator.width).eval()


def trained(backbone: Backbone, projector: Projector, default: str = ".default") -> dict[str, Tensor]:
    torch.manual_seed(8)
    llm: Any = backbone.llm.model
    tensors = {"llama_proj.weight": torch.randn(32, 24) * 0.3, "llama_proj.bias": torch.randn(32)}
    tensors |= {f"gen_text_hidden_fcs.0.{name}": t.clone() for name, t in projector.state_dict().items()}
    tensors |= {f"gen_text_hidden_fcs_audio.0.{name}": t.clone() for name, t in projector.state_dict().items()}
    for layer in range(2):
        name = f"{LLM}model.layers.{layer}.self_attn.v_proj"
        tensors[f"{name}.lora_A{default}.weight"] = torch.randn(4, 32) * 0.3
        tensors[f"{name}.lora_B{default}.weight"] = torch.randn(16, 4) * 0.3
    for name, matrix in (("model.embed_tokens", llm.model.embed_tokens), ("lm_head", llm.lm_head)):
        tensors[f"{LLM}{name}.weight"] = torch.cat([matrix.weight.detach(), torch.randn(NEW, 32) * 0.2])
    return {name: nn.Parameter(tensor) for name, tensor in tensors.items()}


def saved(folder: Path, tensors: dict[str, Tensor]) -> Path:
    folder.mkdir(exist_ok=True)
    torch.save(tensors, folder / "pytorch_model.pt")
    return folder


def drawn(image_of: Any) -> list[tuple[Message, ...]]:
    answer = Message("assistant", (TextPart("red "), MadePart("image", caption="a red circle")))
    return [(Message("user", (MediaPart("image", image_of(0)), TextPart("What?"))), answer)]


@pytest.mark.parametrize("default", ["", ".default"], ids=["file", "in-memory"])
def test_logits_equal_those_of_the_resized_and_merged_language_model(
    backbone: Backbone, projector: Projector, image_of: Any, llm_of: Any, tmp_path: Path, default: str
) -> None:
    tensors = trained(backbone, projector, default)
    model = attached(import_adapter(saved(tmp_path / "tiva", tensors), backbone=backbone), tmp_path / "bundle")
    reference = llm_of("llama").model
    before = reference.config.vocab_size
    reference.resize_token_embeddings(before + NEW, mean_resizing=False)
    with torch.no_grad():
        reference.model.embed_tokens.weight.copy_(tensors[f"{LLM}model.embed_tokens.weight"])
        reference.lm_head.weight.copy_(tensors[f"{LLM}lm_head.weight"])
        for layer in range(2):
            name = f"{LLM}model.layers.{layer}.self_attn.v_proj"
            up, down = tensors[f"{name}.lora_B{default}.weight"], tensors[f"{name}.lora_A{default}.weight"]
            reference.model.layers[layer].self_attn.v_proj.weight.add_(32 / 4 * up @ down)
        batch = model.batch(drawn(image_of))
        assert int((batch.ids >= before).sum()) >= 4
        embeddings = reference.model.embed_tokens(batch.ids)
        features = backbone.encoder("image").encode(batch.inputs["image"])
        embeddings[batch.slots] = (features @ tensors["llama_proj.weight"].T + tensors["llama_proj.bias"]).flatten(0, 1)
        theirs = reference(inputs_embeds=embeddings, attention_mask=batch.mask).logits
        ours = model(batch, logits="all").logits
    assert ours.shape == theirs.shape
    assert float((ours - theirs).abs()[batch.mask.bool()].max()) <= 1e-5


def test_conditioning_equals_that_of_the_published_projector(
    backbone: Backbone, projector: Projector, tmp_path: Path
) -> None:
    source = saved(tmp_path / "tiva", trained(backbone, projector))
    adapter = import_adapter(source, backbone=backbone).adapter
    hidden, embeddings = torch.randn(2, 4, 32), torch.randn(2, 4, 32)
    with torch.no_grad():
        expected = projector(hidden, embeddings)
        torch.testing.assert_close(adapter.condition("image", hidden + embeddings), expected, atol=1e-5, rtol=0)


def test_an_output_projector_without_its_generator_is_left_out_by_name(
    backbone: Backbone, projector: Projector, tmp_path: Path
) -> None:
    found = import_adapter(saved(tmp_path / "tiva", trained(backbone, projector)), backbone=backbone)
    assert list(found.adapter.outputs) == ["image"]
    (reason,) = (text for text in found.ignored if "output projector" in text)
    assert "--generate_audio" in reason
    assert found.ignored[reason] == len(projector.state_dict())


def test_trained_rows_of_the_other_tokens_are_refused(backbone: Backbone, projector: Projector, tmp_path: Path) -> None:
    tensors = trained(backbone, projector)
    with torch.no_grad():
        tensors[f"{LLM}model.embed_tokens.weight"][7] += 1
    source = saved(tmp_path / "tiva", tensors)
    with pytest.raises(ConvertError, match=r"1 of 2 tensors of the language model.*embed_tokens\.weight"):
        import_adapter(source, backbone=backbone)
    assert import_adapter(source, backbone=backbone, frozen="leave").compared == {}


def test_other_ids_in_the_tokenizer_are_refused(backbone: Backbone, projector: Projector, tmp_path: Path) -> None:
    source = saved(tmp_path / "tiva", trained(backbone, projector))
    (source / "added_tokens.json").write_text(json.dumps({"<Img>": 3}))
    with pytest.raises(ConvertError, match=r"added_tokens\.json: expected '<Img>'"):
        read_checkpoint(source)


def test_missing_extra_and_misshapen_tensors_are_named(
    backbone: Backbone, projector: Projector, tmp_path: Path
) -> None:
    tensors = trained(backbone, projector)
    without = {name: t for name, t in tensors.items() if name != "gen_text_hidden_fcs.0.tfm.decoder.norm.bias"}
    with pytest.raises(ConvertError, match=r"outputs\.image\.transformer\.decoder\.norm\.bias is missing"):
        import_adapter(saved(tmp_path / "a", without), backbone=backbone)
    with pytest.raises(ConvertError, match="1 others: gen_prompt"):
        read_checkpoint(saved(tmp_path / "b", tensors | {"gen_prompt": torch.ones(1)}))
    with pytest.raises(ConvertError, match=r"inputs\.image\.layer\.bias has the shape \[3\]"):
        import_adapter(saved(tmp_path / "c", tensors | {"llama_proj.bias": torch.ones(3)}), backbone=backbone)
    matrix = {name: t for name, t in tensors.items() if "lm_head" not in name}
    with pytest.raises(ConvertError, match=r"lm_head\.weight: expected a matrix with rows of 38 new tokens, got none"):
        read_checkpoint(saved(tmp_path / "d", matrix))


def test_the_key_table_writes_the_names_of_the_projectors(
    backbone: Backbone, projector: Projector, tmp_path: Path
) -> None:
    held = trained(backbone, projector)
    read = {n: t for n, t in read_checkpoint(saved(tmp_path / "a", held)).tensors.items() if "tokens." not in n}
    assert set(KEYS.write(read)) == {name for name in held if name.startswith(("llama_proj", "gen_text"))}
