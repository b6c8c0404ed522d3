"""Canonical samples; one file per format."""

from __future__ import annotations

from inlay.recipes.data.formats.coco_captions import read_coco_captions
from inlay.recipes.data.formats.jsonl import read_messages_jsonl
from inlay.recipes.data.formats.llava import read_llava, write_llava
from inlay.recipes.data.formats.minigpt4 import read_filter_cap
from inlay.recipes.data.formats.modaverse import read_modaverse
from inlay.recipes.data.formats.nextgpt.instructions import read_nextgpt
from inlay.recipes.data.formats.nextgpt.mosit import read_mosit
from inlay.recipes.data.formats.nextgpt.pairs import read_nextgpt_pairs
from inlay.recipes.data.formats.nextgpt.turns import read_nextgpt_turns
from inlay.recipes.data.formats.pairs import read_pairs
from inlay.recipes.data.formats.pope import read_pope
from inlay.recipes.data.formats.read import read_samples
from inlay.recipes.data.formats.triples import read_triples
from inlay.recipes.data.formats.vqa.questions import ANSWER_TYPES, read_vqa, read_vqa_questions
from inlay.recipes.data.formats.vqa.results import write_vqa_results
from inlay.recipes.data.preparation.reverse import reversed_pairs
from inlay.recipes.data.rows.fields import image_path
from inlay.recipes.data.rows.media_check import check_media
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import described
from inlay.recipes.data.rows.sample import DataError, Question, Sample, questions_of
from inlay.recipes.data.sampling.mixture import MixtureBatches, sqrt_shares
from inlay.recipes.data.streaming.webdataset import TarPairs

__all__ = [
    "ANSWER_TYPES",
    "DataError",
    "MixtureBatches",
    "Offenders",
    "Question",
    "Sample",
    "TarPairs",
    "check_media",
    "described",
    "image_path",
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
