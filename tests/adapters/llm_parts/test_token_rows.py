"""Token rows against a model whose matrices really are enlarged, and the frozen model left as it was."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from inlay.adapters.language.model import LanguageModel
from inlay.adapters.llm_parts.token_rows import (
    MAX_ROWS,
    SIGNAL_MODALITIES,
    TokenRows,
    TokenRowsError,
    TokensConfig,
    build_rows,
)
from inlay.adapters.parts.fields import ConfigError
from inlay.hub.errors import BundleError
from inlay.hub.format.manifest import LayoutSpec, Manifest, PartSpec

FAMILIES = ["llama", "opt", "qwen2", "qwen3"]


def rows_for(llm: LanguageModel, **counts: int) -> TokenRows:
    torch.manual_seed(7)
    return TokenRows.for_language(llm, TokensConfig.numbered(llm.width, **(counts or {"image": 2, "audio": 1})))


def enlarged(llm: LanguageModel, rows: TokenRows) -> Any:
    """The independent way: whole matrices, one row longer for each token."""
    other: Any = copy.deepcopy(llm)
    tied = other.model.config.tie_word_embeddings
    other.tokenizer.add_tokens(list(rows.config.strings), special_tokens=True)
    other.model.config.tie_word_embeddings = False
    for module, new in (
        (other.model.get_input_embeddings(), rows.input),
        (other.model.get_output_embeddings(), rows.output),
    ):
        module.weight = torch.nn.Parameter(torch.cat([module.weight.detach(), new.detach()]))
    assert tied == llm.model.config.tie_word_embeddings
    return other


def ids_with_signals(llm: LanguageModel) -> torch.Tensor:
    text = llm.tokenizer("red[IMG0][IMG1] two [AUD0] blue", add_special_tokens=False).input_ids
    return torch.tensor([text])


def state(llm: LanguageModel) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in llm.model.state_dict().items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_equal_those_of_an_enlarged_model(llm_of: Any, family: str) -> None:
    llm = llm_of(family)
    rows = rows_for(llm)
    other = enlarged(llm, rows)
    attachment = rows.attach(llm)
    ids = ids_with_signals(llm)
    assert ids.tolist() == ids_with_signals(other).tolist()
    mask = torch.ones_like(ids)
    torch.testing.assert_close(llm.logits(llm.embed(ids), mask), other.logits(other.embed(ids), mask))
    keep = mask.bool().clone()
    keep[0, :2] = False
    some = llm.logits(llm.embed(ids), mask, keep)
    torch.testing.assert_close(some, llm.logits(llm.embed(ids), mask)[keep])
    attachment.undo.close()


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}], ids=["greedy", "beams"])
@pytest.mark.parametrize("tied", [False, True], ids=["apart", "tied"])
def test_generation_equals_that_of_an_enlarged_model(llm_of: Any, options: dict[str, Any], tied: bool) -> None:
    llm = llm_of("llama", tie_word_embeddings=tied)
    rows = rows_for(llm)
    with torch.no_grad():
        rows.output.mul_(30.0)  # so that new tokens are written
    other = enlarged(llm, rows)
    rows.attach(llm)
    ids = ids_with_signals(llm)
    mask = torch.ones_like(ids)
    written = llm.generate(llm.embed(ids), mask, max_new_tokens=8, do_sample=False, **options)
    assert written == other.generate(other.embed(ids), mask, max_new_tokens=8, do_sample=False, **options)
    assert max(written.rows[0]) >= len(other.tokenizer) - 3


@pytest.mark.parametrize("tied", [False, True], ids=["apart", "tied"])
def test_detach_leaves_every_tensor_and_the_tokenizer_as_they_were(llm_of: Any, tied: bool) -> None:
    llm = llm_of("llama", tie_word_embeddings=tied)
    before, tokenizer, port, special = state(llm), llm.tokenizer, llm.port, llm.special_tokens
    vocabulary = tokenizer.get_vocab()
    rows = rows_for(llm)
    attachment = rows.attach(llm)
    assert "[IMG0]" in llm.special_tokens
    assert state(llm).keys() == before.keys()
    assert llm.port == port
    llm.logits(llm.embed(ids_with_signals(llm)), torch.ones(1, 1))
    attachment.undo.close()
    assert llm.tokenizer is tokenizer
    assert tokenizer.get_vocab() == vocabulary
    assert llm.special_tokens == special
    assert all(torch.equal(tensor, before[name]) for name, tensor in state(llm).items())
    assert llm.logits(llm.embed(torch.tensor([[5, 6]])), torch.ones(1, 2)).shape[-1] == port.settings["vocabulary"]


def test_only_the_rows_learn(llm_of: Any) -> None:
    llm = llm_of("llama")
    rows = rows_for(llm)
    rows.attach(llm)
    ids = ids_with_signals(llm)
    logits = llm.logits(llm.embed(ids), torch.ones_like(ids))
    torch.nn.functional.cross_entropy(logits[0, :-1], ids[0, 1:]).backward()
    assert rows.input.grad is not None
    assert rows.output.grad is not None
    assert rows.input.grad.abs().sum(dim=1).min() > 0
    assert rows.output.grad.abs().sum(dim=1).min() > 0
    assert all(parameter.grad is None for parameter in llm.model.parameters())


def test_strings_that_the_tokenizer_knows_keep_their_ids(llm_of: Any) -> None:
    llm = llm_of("llama")
    rows = TokenRows.for_language(llm, TokensConfig(width=llm.width, other=("<image>",), image=("[IMG0]",)))
    known = llm.tokenizer.convert_tokens_to_ids("<image>")
    attachment = rows.attach(llm)
    assert attachment.ids == (known, len(llm.tokenizer) - 1)
    embedded = llm.embed(torch.tensor([[known, known + 1]]))
    assert torch.equal(embedded[0, 0], rows.input[0])
    assert torch.equal(embedded[0, 1], llm.model.get_input_embeddings().weight[known + 1])


def test_ids_beyond_a_table_that_is_too_short_are_never_written(llm_of: Any) -> None:
    short = llm_of("llama")
    size = len(short.tokenizer)
    short.tokenizer.add_tokens(["<gap>", "<other gap>"])
    rows_for(short, image=1).attach(short)
    logits = short.logits(short.embed(torch.tensor([[5, 6]])), torch.ones(1, 2))
    assert logits.shape[-1] == size + 3
    assert torch.isinf(logits[..., size:-1]).all()
    assert torch.isfinite(logits[..., -1]).all()


def test_what_people_write_is_never_a_signal(llm_of: Any) -> None:
    llm = llm_of("llama")
    attachment = rows_for(llm).attach(llm)
    written = llm.tokenizer("say [IMG0]", add_special_tokens=False, split_special_tokens=True).input_ids
    assert not set(written) & set(attachment.ids)
    assert llm.decode([*attachment.ids, written[0]]) == llm.tokenizer.decode(written[:1])


def test_two_rows_in_turn(llm_of: Any) -> None:
    llm = llm_of("opt")
    first, second = rows_for(llm), rows_for(llm)
    with torch.no_grad():
        second.input.add_(1.0)
    one = first.attach(llm)
    ids = torch.tensor([[one.ids[0]]])
    assert torch.equal(llm.embed(ids)[0, 0], first.input[0])
    with pytest.raises(TokenRowsError, match="another adapter's tokens"):
        second.attach(llm)
    one.undo.close()
    second.attach(llm)
    assert torch.equal(llm.embed(ids)[0, 0], second.input[0])


def test_states_are_those_of_the_last_layer(llm_of: Any) -> None:
    llm = llm_of("llama")
    ids = torch.tensor([[5, 6, 7], [0, 8, 9]])
    mask = torch.tensor([[1, 1, 1], [0, 1, 1]])
    whole = llm.model(
        inputs_embeds=llm.embed(ids),
        attention_mask=mask,
        position_ids=(mask.cumsum(1) - 1).clamp(min=0),
        output_hidden_states=True,
    )
    states = llm.states(llm.embed(ids), mask)
    torch.testing.assert_close(states[mask.bool()], whole.hidden_states[-1][mask.bool()])
    rows = torch.tensor([[True, False, False], [False, False, True]])
    logits, beside = llm.logits_and_states(llm.embed(ids), mask, rows)
    assert torch.equal(beside, states)
    torch.testing.assert_close(logits, whole.logits[rows])


def test_an_encoder_decoder_is_refused(llm_of: Any) -> None:
    llm = llm_of("t5")
    with pytest.raises(TokenRowsError, match="decoder-only"):
        rows_for(llm)
    with pytest.raises(Exception, match="decoder-only"):
        llm.states(llm.embed(torch.tensor([[5]])), torch.ones(1, 1))


def test_another_width_is_refused(llm_of: Any) -> None:
    rows = TokenRows(TokensConfig.numbered(64, image=1))
    with pytest.raises(TokenRowsError, match="64 values per row, this LLM has 32 and 32"):
        rows.attach(llm_of("llama"))


def test_exact_count_of_the_published_rows() -> None:
    with torch.device("meta"):
        rows = TokenRows(TokensConfig.numbered(4096, image=4, video=24, audio=8))
    assert sum(parameter.numel() for parameter in rows.parameters()) == 2 * 36 * 4096
    assert rows.config.strings[4] == "[VID0]"
    assert rows.config.strings[-1] == "[AUD7]"


def test_rows_begin_like_any_other_token(llm_of: Any) -> None:
    llm = llm_of("llama", hidden_size=64)
    rows = rows_for(llm, image=200)
    table = llm.model.get_input_embeddings().weight
    torch.testing.assert_close(rows.input.std(), table.std(), rtol=0.1, atol=0)
    torch.testing.assert_close(rows.input.mean(), table.mean(), rtol=0, atol=0.01)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"image": ("[A]", "[A]")}, "different tokens"),
        ({}, "1 to 1024 different tokens"),
        ({"image": ("",)}, "image: expected texts of 1 to 64"),
        ({"audio": ("a\u202eb",)}, "audio: expected texts"),
        ({"video": ["[V]"]}, "video: expected texts"),
        ({"width": 0, "image": ("[A]",)}, "width: expected an integer"),
        ({"image": tuple(f"[{i}]" for i in range(300))}, "image: expected at most 256 items, got 300"),
        ({"other": ("x" * 65,)}, "other: expected texts of 1 to 64"),
    ],
)
def test_bad_strings_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        TokensConfig(**({"width": 8} | fields))


def test_a_call_that_somebody_else_replaced_is_used_and_put_back(llm_of: Any) -> None:
    llm = llm_of("llama")
    head = llm.model.get_output_embeddings()
    own = head.forward
    theirs = lambda hidden: own(hidden) * 2  # noqa: E731
    head.forward = theirs
    attachment = rows_for(llm).attach(llm)
    logits = llm.logits(llm.embed(torch.tensor([[5, 6]])), torch.ones(1, 2))
    attachment.undo.close()
    assert head.forward is theirs
    torch.testing.assert_close(logits[..., :-3], llm.logits(llm.embed(torch.tensor([[5, 6]])), torch.ones(1, 2)))


@pytest.mark.parametrize(
    ("kind", "config", "count", "said"),
    [
        ("columns", {"width": 8, "image": ("[A]",)}, 16, "unknown token rows 'columns'; known: rows"),
        ("rows", {"width": 8, "image": ("[A]",)}, 17, "has 16 parameters, expected 17 as in the manifest"),
        ("rows", {"width": 8, "image": ("[A]",), "colour": 1}, 16, "no field colour"),
        ("rows", {"image": ("[A]",)}, 16, "the field width is missing"),
        ("rows", {"width": 8, "image": "[A]"}, 16, "image: expected texts"),
        ("rows", {"width": 8, "image": (1,)}, 16, "image: expected texts"),
        ("rows", {"width": 1 << 30, "image": ("[A]",)}, 16, "width: expected an integer"),
    ],
)
def test_rows_of_a_bundle_are_not_trusted(kind: str, config: dict[str, Any], count: int, said: str) -> None:
    with pytest.raises(BundleError, match=said):
        build_rows(kind, config, parameters=count)


def test_the_most_tokens_that_can_be_built_can_be_written_and_read() -> None:
    names = {name: tuple(f"[{name}{i}]".ljust(64, "x") for i in range(256)) for name in ("other", *SIGNAL_MODALITIES)}
    config = TokensConfig(width=8, **names)
    assert len(config.strings) == MAX_ROWS
    spec = PartSpec(kind="rows", config=dict(vars(config)), parameters=2 * 8 * MAX_ROWS, dtype="float32")
    layout = LayoutSpec(template="plain")
    manifest = Manifest(system="nextgpt", name="x", interface={}, layout=layout, parts={"tokens": spec})
    read = Manifest.from_json(manifest.to_json()).parts["tokens"]
    assert build_rows("rows", read.config, parameters=read.parameters).config == config


class Packed(torch.nn.Module):
    """A head that keeps its matrix in int8, transposed, and is no ``nn.Linear``."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", weight.detach().abs().amax() / 127)
        self.register_buffer("packed", (weight.detach().T / self.scale).round().to(torch.int8))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden @ (self.packed.to(hidden.dtype) * self.scale.to(hidden.dtype)) + 3.0


def test_a_head_that_is_no_linear_gets_rows_too(llm_of: Any) -> None:
    plain, llm = llm_of("llama"), llm_of("llama")
    head = llm.model.get_output_embeddings()
    llm.model.set_output_embeddings(Packed(head.weight))
    expected, rows = rows_for(plain), rows_for(llm)
    torch.testing.assert_close(rows.input, expected.input)
    torch.testing.assert_close(rows.output, expected.output, rtol=0, atol=2e-3)
    ids = ids_with_signals(llm)
    bare = llm.logits(llm.embed(torch.tensor([[5, 6]])), torch.ones(1, 2))
    attachment = rows.attach(llm)
    hidden = llm.states(llm.embed(torch.tensor([[5, 6]])), torch.ones(1, 2))
    logits = llm.logits(llm.embed(torch.tensor([[5, 6]])), torch.ones(1, 2))
    torch.testing.assert_close(logits[..., : bare.shape[-1]], bare)
    torch.testing.assert_close(logits[..., list(attachment.ids)], hidden @ rows.output.T)
    assert llm.embed(ids_with_signals(llm)).shape[:2] == ids_with_signals(llm).shape
    assert ids.shape[0] == 1


def test_a_head_that_reads_another_width_is_refused(llm_of: Any) -> None:
    llm = llm_of("llama")
    llm.model.set_output_embeddings(Packed(torch.randn(50, 16)))
    with pytest.raises(TokenRowsError, match="32 and a head that takes another width"):
        rows_for(llm)


def test_a_pad_token_may_be_one_of_the_new_tokens_or_have_no_row(llm_of: Any) -> None:
    llm = llm_of("llama")
    llm.tokenizer.add_special_tokens({"pad_token": "<fill>"})  # beyond the table
    attachment = rows_for(llm, image=1).attach(llm)
    assert attachment.ids == (len(llm.tokenizer) - 1,)
    logits = llm.logits(llm.embed(torch.tensor([[5, attachment.ids[0]]])), torch.ones(1, 2))
    assert torch.isinf(logits[..., llm.tokenizer.pad_token_id]).all()
    attachment.undo.close()
    rows = TokenRows.for_language(llm, TokensConfig(width=llm.width, other=("<fill>",)))
    attachment = rows.attach(llm)
    assert attachment.ids == (llm.tokenizer.pad_token_id,)
    assert torch.equal(llm.embed(torch.tensor([[attachment.ids[0]]]))[0, 0], rows.input[0])
