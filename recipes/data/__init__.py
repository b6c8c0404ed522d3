"""Canonical samples; one file per format."""

from __future__ import annotations

from inlay.recipes.data.coco_captions import read_coco_captions
from inlay.recipes.data.jsonl import read_messages_jsonl
from inlay.recipes.data.llava import read_llava, write_llava
from inlay.recipes.data.media_check import check_media
from inlay.recipes.data.minigpt4 import read_filter_cap
from inlay.recipes.data.mixture import MixtureBatches, sqrt_shares
from inlay.recipes.data.modaverse import read_modaverse
from inlay.recipes.data.mosit import read_mosit
from inlay.recipes.data.nextgpt import read_nextgpt
from inlay.recipes.data.nextgpt_pairs import read_nextgpt_pairs
from inlay.recipes.data.nextgpt_turns import read_nextgpt_turns
from inlay.recipes.data.pairs import read_pairs
from inlay.recipes.data.pope import read_pope
from inlay.recipes.data.read import read_samples
from inlay.recipes.data.reverse import reversed_pairs
from inlay.recipes.data.sample import DataError, Question, Sample, questions_of
from inlay.recipes.data.triples import read_triples
from inlay.recipes.data.vqa import ANSWER_TYPES, read_vqa, read_vqa_questions
from inlay.recipes.data.vqa_results import write_vqa_results
from inlay.recipes.data.webdataset import TarPairs

__all__ = [
    "ANSWER_TYPES",
    "DataError",
    "MixtureBatches",
    "Question",
    "Sample",
    "TarPairs",
    "check_media",
    "questions_of",
    "read_coco_captions",
    "read_filter_cap",
    "read_llava",
    "read_messages_jsonl",
    "read_modaverse",
    "read_mosit",
    "read_nextgpt",
    "read_nextgpt_pairs",
    "read_nextgpt_turns",
    "read_pairs",
    "read_pope",
    "read_samples",
    "read_triples",
    "read_vqa",
    "read_vqa_questions",
    "reversed_pairs",
    "sqrt_shares",
    "write_llava",
    "write_vqa_results",
]
