"""Tiled pictures on their way through the model: places, encoder, projector."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from tiled import RULES, asked, picture, tiled
from torch import nn
from transformers import Idefics3Processor, LlamaConfig, LlamaForCausalLM
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

from inlay.adapters import Backbone
from inlay.adapters.conversation.layout import Layout, LayoutError
from inlay.adapters.conversation.messages import MediaPart
from inlay.adapters.core.parts import AdapterError
from inlay.adapters.core.prompts import Prompts
from inlay.adapters.core.tiles import Tiler, Tiles, arrange, keeps_map, per_tile
from inlay.adapters.encoders import FrameEncoder
from inlay.adapters.inputs import InstructQFormerConfig, MlpConfig, PatchMergeConfig, QFormerConfig
from inlay.adapters.language.model import LanguageModel
from inlay.adapters.llm_parts.token_rows import TokensConfig
from inlay.adapters.media.tiling.anyres import AnyRes
from inlay.adapters.media.tiling.grid import Grid, TilingError
from inlay.adapters.media.tiling.split import AROUND, GLOBAL, Split
from inlay.adapters.media.tiling.thumbnail import Thumbnail
from inlay.adapters.media.video import Video

pytestmark = pytest.mark.usefixtures("no_gradients")


@pytest.mark.parametrize("rule", RULES)
def test_every_place_has_its_feature_in_a_batch_of_pictures_of_several_sizes(
    long_backbone_of: Any, image_of: Any, rule: str
) -> None:
    model = tiled(long_backbone_of(), rule).attach(long_backbone_of())
    rows = [
        asked(picture(image_of(1, (9, 70))), "what?", picture(image_of(2, (40, 41))), "and?"),
        asked("what?"),
        asked(picture(image_of(3, (16, 16))), "what?"),
    ]
    encoded = [model.encode(row) for row in rows]
    assert [int(row.slots.sum()) for row in encoded] == [sum(row.counts) for row in encoded]
    alone = [model(model.batch([row]), logits="all").logits[0, -1] for row in rows]
    batch = model.batch(rows)
    together = model(batch, logits="all").logits
    ends = batch.mask.sum(dim=1) - 1
    for row, (logits, end) in enumerate(zip(alone, ends.tolist(), strict=True)):
        torch.testing.assert_close(together[row, end], logits, atol=1e-5, rtol=0)


def test_a_tile_is_encoded_and_projected_as_a_picture_of_its_own(backbone_of: Any, image_of: Any) -> None:
    backbone = backbone_of()
    model = tiled(backbone, "tiles:4-4").attach(backbone)
    image = image_of(1, (32, 32))
    squares = [*Thumbnail(4, 4).cut(image, 16, Thumbnail(4, 4).grid(image.size, 16))]
    one_by_one = [
        model.adapter.project(
            "image", backbone.encoder("image").encode(backbone.encoder("image").preprocess([s], "squash"))
        )
        for s in squares
    ]
    batch = model.batch([asked(picture(image), "what?")])
    torch.testing.assert_close(model.embeddings(batch)[batch.slots], torch.cat(one_by_one)[:, :].flatten(0, 1))


def test_a_map_is_put_together_from_its_tiles_without_padding_and_with_newlines() -> None:
    tiles = torch.arange(3 * 4.0).view(3, 4, 1)  # the whole picture 0..3, then 4 5 / 6 7 and 8 9 / 10 11
    newline = torch.tensor([-1.0])
    grid = Grid((4, 2), 1, 2, "first")
    (found,) = arrange(tiles, Tiles(AnyRes(), (grid,)), newline)
    assert found.flatten().tolist() == [0, 1, 2, 3, 4, 5, 8, 9, -1, 6, 7, 10, 11, -1]
    (thin,) = arrange(tiles, Tiles(AnyRes(), (Grid((100, 1), 1, 2, "first"),)), newline)
    assert thin.flatten().tolist() == [0, 1, 2, 3]


@torch.enable_grad()
def test_the_gradient_reaches_the_newline_and_is_zero_in_a_batch_without_pictures(
    backbone_of: Any, image_of: Any
) -> None:
    backbone = backbone_of()
    model = tiled(backbone, "anyres").attach(backbone)
    row = model.adapter.newline.row
    model(model.batch([asked(picture(image_of(1, (40, 40))), "what?")])).loss.backward()
    assert float(row.grad.abs().max()) > 0
    row.grad = None
    model(model.batch([asked("what?")])).loss.backward()
    assert row.grad is not None
    assert not row.grad.any()


def test_row_and_column_texts_are_tokenised_with_the_text_around_them(backbone_of: Any, image_of: Any) -> None:
    backbone = backbone_of()
    model = tiled(backbone, "split:2").attach(backbone)
    row = model.encode(asked(picture(image_of(1, (32, 16))), "what?"))
    tokenizer = backbone.llm.tokenizer
    ids = row.ids.clone()
    ids[row.slots] = tokenizer.convert_tokens_to_ids("<image>")
    places = "<image>" * model.tokens["image"]
    marked = f"{AROUND}<row_1_col_1>{places}{AROUND}<row_1_col_2>{places}\n\n{AROUND}{GLOBAL}{places}{AROUND}"
    text = tokenizer.decode(ids, skip_special_tokens=False)
    assert marked in text
    assert ids.tolist() == tokenizer(text.removeprefix("<s>")).input_ids


def test_ids_are_those_of_idefics3_processor(tokenizer_of: Any, clip_of: Any, image_of: Any) -> None:
    tokenizer = tokenizer_of()
    images = Idefics3ImageProcessorPil(size={"longest_edge": 48}, max_image_size={"longest_edge": 16})
    processor = Idefics3Processor(images, tokenizer, image_seq_len=4)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=4096, **sizes)
    backbone = Backbone(LanguageModel(LlamaForCausalLM(config), tokenizer), {"image": clip_of()})
    model = tiled(backbone, "split:3").attach(backbone)
    for size in [(16, 16), (60, 17), (9, 70)]:
        row = model.encode(asked(picture(image_of(1, size)), picture(image_of(2)), "what?", "and?"))
        text = "USER: <image>\n<image>\nwhat? and? ASSISTANT: red</s>"
        theirs = processor(text=text, images=[[image_of(1, size), image_of(2)]])["input_ids"][0]
        ids = row.ids.clone()
        ids[row.slots] = tokenizer.convert_tokens_to_ids("<image>")
        assert ids.tolist() == theirs, size


def test_markers_with_token_rows_are_one_token_each(backbone_of: Any, image_of: Any) -> None:
    backbone = backbone_of()
    names = (AROUND, GLOBAL, "<row_1_col_1>", "<row_1_col_2>")
    tokens = TokensConfig(width=backbone.llm.width, other=names)
    model = tiled(backbone, "split:2", tokens=tokens).attach(backbone)
    row = model.encode(asked(picture(image_of(1, (32, 16))), "what?"))
    known = backbone.llm.tokenizer.convert_tokens_to_ids(list(names))
    assert [int((row.ids == token).sum()) for token in known] == [4, 1, 1, 1]


def test_a_projector_that_reads_the_prompt_reads_it_for_each_tile() -> None:
    prompts = Prompts(torch.tensor([[1, 2], [3, 4]]), torch.ones(2, 2, dtype=torch.long))
    tiles = Tiles(Thumbnail(), (Grid((1, 1), 1, 1, None), Grid((2, 1), 1, 2, "last")))
    found = per_tile(prompts, tiles)
    assert found is not None
    assert found.ids.tolist() == [[1, 2], [3, 4], [3, 4], [3, 4]]


def test_pictures_are_tiled_and_clips_are_not(backbone_of: Any, clip_of: Any, image_of: Any) -> None:
    backbone = backbone_of()
    backbone.encoders["video"] = FrameEncoder(clip_of(), frames=2)
    model = tiled(backbone, "anyres", inputs={"image": MlpConfig(), "video": MlpConfig()}).attach(backbone)
    clip = MediaPart("video", Video((image_of(5, (60, 17)),) * 2, 2.0))
    row = model.encode(asked(picture(image_of(1, (60, 17))), clip, picture(image_of(2)), "what?"))
    assert row.counts[1] == 2 * model.tokens["image"]
    assert row.grids[1] is None
    assert model.embeddings(model.collate([row])).isfinite().all()


def test_a_class_token_cannot_be_part_of_a_map(clip_of: Any, llm_of: Any) -> None:
    backbone = Backbone(llm_of("llama"), {"image": clip_of(class_token="keep")})
    with pytest.raises(TilingError, match="square number of tokens per tile, which form a map, got 5"):
        tiled(backbone, "anyres")


def test_query_tokens_are_tiled_too(backbone_of: Any, image_of: Any) -> None:
    backbone = backbone_of()
    sizes = QFormerConfig(hidden=16, layers=1, heads=2, ffn=16, queries=3)
    model = tiled(backbone, "tiles:2-2", inputs={"image": sizes}).attach(backbone)
    assert model.encode(asked(picture(image_of(1)), "what?")).counts == (9,)


class _Flat(nn.Module):
    def preprocess(self, images: Any, geometry: Any) -> Any:
        return torch.zeros(len(images), 12)


def test_an_encoder_without_squares_cannot_be_tiled() -> None:
    with pytest.raises(TilingError, match=r"preprocessed pictures are \[n, 3, size, size\], _Flat gives another form"):
        Tiler.of(Thumbnail(), _Flat(), 4)


def test_a_layout_with_newlines_needs_an_adapter_with_one(backbone_of: Any, image_of: Any) -> None:
    backbone = backbone_of()
    model = tiled(backbone, None).attach(backbone)
    layout = Layout(template="vicuna_v1", tiling="anyres")
    rows = [model.encode(asked(picture(image_of(1)), "what?"), layout=layout)]
    with pytest.raises(AdapterError, match="ends each row of features with a newline, and this adapter has none"):
        model.embeddings(model.collate(rows, layout=layout))


def test_an_adapter_without_pictures_needs_no_newline(backbone_of: Any) -> None:
    assert tiled(backbone_of(), "anyres", inputs={}).newline is None


def test_a_row_that_cannot_fit_names_the_positions_of_its_media(backbone_of: Any, image_of: Any) -> None:
    backbone = backbone_of()
    model = tiled(backbone, "tiles:64-64").attach(backbone)
    with pytest.raises(LayoutError, match=r"\d+ positions \(260 of them media\) are more than the context of 256"):
        model.encode(asked(picture(image_of(1)), "what?"))


def test_no_picture_is_larger_than_the_bounds_of_its_rule() -> None:
    for rule in (AnyRes(), Thumbnail(2, 7), Split(3)):
        tiler = Tiler(rule, 16, 4)
        least, most = tiler.bounds()
        for size in [(1, 1), (1, 500), (500, 1), (30, 40), (64, 64), (33, 99)]:
            pieces = tiler.pieces(tiler.grid(Image.new("RGB", size)))
            assert least <= sum(piece for piece in pieces if isinstance(piece, int)) <= most <= tiler.largest()


@pytest.mark.parametrize("rule", RULES)
def test_an_encoder_decoder_reads_tiles(llm_of: Any, clip_of: Any, image_of: Any, rule: str) -> None:
    backbone = Backbone(llm_of("t5"), {"image": clip_of()})
    model = tiled(backbone, rule).attach(backbone)
    batch = model.batch([asked(picture(image_of(1, (60, 17))), "what?"), asked("what?")])
    loss = model(batch).loss
    assert loss is not None
    assert loss.isfinite()
    assert model.embeddings(batch).shape[:2] == batch.slots.shape


def test_a_projector_reads_the_words_of_its_own_picture(
    backbone_of: Any, prompt_tokenizer_of: Any, image_of: Any
) -> None:
    backbone = backbone_of()
    backbone.prompt_tokenizer = prompt_tokenizer_of()
    vocabulary = len(backbone.prompt_tokenizer.tokenizer)
    sizes = InstructQFormerConfig(hidden=16, layers=2, heads=2, ffn=16, queries=4, vocabulary=vocabulary)
    model = tiled(backbone, "tiles:1-4", inputs={"image": sizes}).eval().attach(backbone)
    rows = [
        asked(picture(image_of(n, size)), text)
        for n, (size, text) in enumerate([((60, 17), "what is shown?"), ((16, 16), "how many?")])
    ]
    alone = [model.embeddings(model.batch([row])) for row in rows]
    batch = model.batch(rows)
    together = model.embeddings(batch)
    for row, own in enumerate(alone):
        torch.testing.assert_close(together[row, : own.shape[1]], own[0], atol=1e-5, rtol=0)


@torch.enable_grad()
def test_a_stage_with_another_tiling_keeps_the_newline_in_its_graph_for_its_gradient(
    backbone_of: Any, image_of: Any
) -> None:
    backbone = backbone_of()
    model = tiled(backbone, "anyres").attach(backbone)
    layout = Layout(template="vicuna_v1", tiling="tiles:1-2")
    row = model.encode(asked(picture(image_of(1)), "what?"), layout=layout)
    model(model.collate([row], layout=layout)).loss.backward()
    assert model.adapter.newline.row.grad is not None


@pytest.mark.parametrize(
    "config",
    [
        QFormerConfig(hidden=16, layers=1, heads=2, ffn=16, queries=4),
        PatchMergeConfig(merge=4, class_token=False),
    ],
)
def test_a_square_number_of_positions_that_are_no_map_is_refused(llm_of: Any, clip_of: Any, config: Any) -> None:
    backbone = Backbone(llm_of("llama"), {"image": clip_of(image_size=32)})
    with pytest.raises(AdapterError, match="expected a projector whose positions are a map of the picture"):
        tiled(backbone, "anyres", inputs={"image": config})


def test_a_projector_that_merges_squares_keeps_the_map_if_it_says_so() -> None:
    merging = SimpleNamespace(keeps_map=True, tokens=lambda features: features // 4)
    assert keeps_map(merging, 16)
    merging.keeps_map = False
    assert not keeps_map(merging, 16)
