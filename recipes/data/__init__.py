"""Training data: samples, and a reader for each file format.

The names below load on first use; each is documented where it is defined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inlay.hub.lazy import lazy_names

if TYPE_CHECKING:
    from inlay.recipes.data.formats.coco_captions import read_coco_captions as read_coco_captions
    from inlay.recipes.data.formats.jsonl import read_messages_jsonl as read_messages_jsonl
    from inlay.recipes.data.formats.llava import read_llava as read_llava
    from inlay.recipes.data.formats.llava import write_llava as write_llava
    from inlay.recipes.data.formats.minigpt4 import read_filter_cap as read_filter_cap
    from inlay.recipes.data.formats.modaverse import read_modaverse as read_modaverse
    from inlay.recipes.data.formats.nextgpt.instructions import read_nextgpt as read_nextgpt
    from inlay.recipes.data.formats.nextgpt.mosit import read_mosit as read_mosit
    from inlay.recipes.data.formats.nextgpt.pairs import read_nextgpt_pairs as read_nextgpt_pairs
    from inlay.recipes.data.formats.nextgpt.turns import read_nextgpt_turns as read_nextgpt_turns
    from inlay.recipes.data.formats.pairs import read_pairs as read_pairs
    from inlay.recipes.data.formats.pope import read_pope as read_pope
    from inlay.recipes.data.formats.read import read_samples as read_samples
    from inlay.recipes.data.formats.triples import read_triples as read_triples
    from inlay.recipes.data.formats.vqa.questions import ANSWER_TYPES as ANSWER_TYPES
    from inlay.recipes.data.formats.vqa.questions import read_vqa as read_vqa
    from inlay.recipes.data.formats.vqa.questions import read_vqa_questions as read_vqa_questions
    from inlay.recipes.data.formats.vqa.results import write_vqa_results as write_vqa_results
    from inlay.recipes.data.preparation.reverse import reversed_pairs as reversed_pairs
    from inlay.recipes.data.rows.checks.media_check import check_media as check_media
    from inlay.recipes.data.rows.media_values import image_path as image_path
    from inlay.recipes.data.rows.offenders import Offenders as Offenders
    from inlay.recipes.data.rows.records import described as described
    from inlay.recipes.data.rows.sample import DataError as DataError
    from inlay.recipes.data.rows.sample import Question as Question
    from inlay.recipes.data.rows.sample import Sample as Sample
    from inlay.recipes.data.rows.sample import questions_of as questions_of
    from inlay.recipes.data.sampling.mixture import MixtureBatches as MixtureBatches
    from inlay.recipes.data.sampling.mixture import sqrt_shares as sqrt_shares
    from inlay.recipes.data.streaming.webdataset import TarPairs as TarPairs

__all__, __getattr__ = lazy_names(__name__, __file__)
