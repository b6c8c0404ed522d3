from __future__ import annotations

from random import Random
from typing import Any

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer, BertForMaskedLM

from inlay.adapters.inputs.pretraining.bert import load_bert
from inlay.adapters.inputs.pretraining.qformer import QFormerPretrainConfig, QFormerPretrainer
from inlay.adapters.inputs.qformer import QFormerSizes
from inlay.adapters.loading.language import load_prompt_tokenizer
from inlay.recipes.data.preparation.instruction_templates import CAPTION, DESCRIBE, QUESTION
from inlay.recipes.miniature import backbone_path
from inlay.recipes.miniature.world.descriptions import INSTRUCTIONS, caption, describe, instruction
from inlay.recipes.miniature.world.digits import DIGIT_QUESTIONS
from inlay.recipes.miniature.world.questions import questions
from inlay.recipes.miniature.world.scenes import sample_scene
from inlay.recipes.objectives.caption_tokens import CaptionTokens
from inlay.recipes.systems.miniature_sizes import MINIATURE_PROJECTORS
from pretraining.language.bert import encode, hide, word_accuracy
from pretraining.language.corpus_layout import SHORT_ANSWER
from pretraining.language.masked_texts import sample_cloze
from pretraining.language.wordpiece_tokenizer import POSITIONS, SPECIAL, make_wordpiece


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(backbone_path("bert"))


@pytest.fixture(scope="module")
def bert() -> BertForMaskedLM:
    return BertForMaskedLM.from_pretrained(backbone_path("bert"))


def test_bert_loads_in_single_precision_without_warnings(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING"):
        model = AutoModelForMaskedLM.from_pretrained(backbone_path("bert"))
    assert not caplog.records
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_the_shipped_tokenizer_is_the_one_that_the_script_makes(tokenizer: Any) -> None:
    assert tokenizer.is_fast
    assert tokenizer.get_vocab() == make_wordpiece().get_vocab()
    assert tokenizer.convert_ids_to_tokens(list(range(len(SPECIAL)))) == list(SPECIAL)
    assert tokenizer("Hello.").input_ids == [2, *tokenizer.convert_tokens_to_ids(["hello", "."]), 3]


def test_every_word_of_the_world_and_of_its_prompts_is_one_token(tokenizer: Any) -> None:
    texts = [*CAPTION, *DESCRIBE, *(text.replace("{}", "") for text in QUESTION), SHORT_ANSWER, *DIGIT_QUESTIONS]
    texts += [text for group in INSTRUCTIONS.values() for text in group] + [" ".join("0123456789")]
    rng = Random(1)
    for _ in range(200):
        scene = sample_scene(rng, "held_out")
        texts += [caption(scene, rng), describe(scene, rng), *instruction(scene, rng)]
        texts += [text for asked in questions(scene, rng) for text in (asked.text, asked.answer)]
    tokens = {token for text in texts for token in tokenizer.tokenize(text)}
    assert "[UNK]" not in tokens
    assert not [token for token in tokens if token.startswith("##")]


def test_other_words_are_spelled(tokenizer: Any) -> None:
    assert tokenizer.tokenize("Naïve") == ["n", "##a", "##i", "##v", "##e"]
    assert tokenizer.decode(tokenizer("a zebra", add_special_tokens=False).input_ids) == "a zebra"


def test_captions_fit_into_what_stage_one_reads(tokenizer: Any) -> None:
    rng = Random(2)
    texts = [caption(sample_scene(rng), rng) for _ in range(500)]
    assert max(len(ids) for ids in tokenizer(texts).input_ids) <= 48


def test_words_that_a_description_decides_are_found_on_held_out_scenes(bert: BertForMaskedLM, tokenizer: Any) -> None:
    figures = word_accuracy(bert, tokenizer, seed=77, scenes=300)
    assert figures["grammar"] >= 0.99
    assert figures["twice"] >= 0.9
    assert figures["answers"] >= 0.45


@pytest.mark.parametrize("kind", ["qformer", "instruct_qformer"])
def test_the_miniature_q_formers_begin_with_it(kind: str, bert: BertForMaskedLM) -> None:
    names = set(QFormerSizes.__dataclass_fields__)
    sizes = {name: value for name, value in MINIATURE_PROJECTORS[kind].items() if name in names}
    tokens = CaptionTokens(load_prompt_tokenizer(backbone_path("bert")), limit=48)
    config = QFormerPretrainConfig(
        **sizes, width_in=128, vocabulary=tokens.vocabulary, text_positions=POSITIONS, embedding=64
    )
    former = QFormerPretrainer(config)
    load_bert(former, bert)
    words = bert.bert.embeddings.word_embeddings.weight
    assert torch.equal(former.embeddings.word_embeddings.weight[: len(words)], words)
    assert tokens.vocabulary == len(words) + 1  # [DEC]


def test_token_types_say_nothing(bert: BertForMaskedLM) -> None:
    assert not bert.bert.embeddings.token_type_embeddings.weight.any()


def test_bert_is_two_bytes_a_parameter_on_disk(bert: BertForMaskedLM) -> None:
    file = backbone_path("bert") / "model.safetensors"
    assert file.stat().st_size <= 2 * bert.num_parameters() + 2**14


def test_hidden_words_are_the_labels(tokenizer: Any) -> None:
    rng = Random(3)
    rows = encode([sample_cloze(rng) for _ in range(64)], tokenizer)
    ids, mask, labels = hide(rows, tokenizer)
    for row, (original, _) in enumerate(rows):
        wanted = labels[row, : len(original)]
        kept = wanted == -100
        assert ids[row, : len(original)][kept].tolist() == torch.tensor(original)[kept].tolist()
        assert wanted[~kept].tolist() == torch.tensor(original)[~kept].tolist()
        assert kept[0]
        assert kept[-1]
        assert int(mask[row].sum()) == len(original)
