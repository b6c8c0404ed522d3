"""Canonical samples; one file per format."""

from __future__ import annotations

from inlay.recipes.data.jsonl import read_messages_jsonl
from inlay.recipes.data.llava import read_llava, write_llava
from inlay.recipes.data.read import read_samples
from inlay.recipes.data.sample import DataError, Question, Sample, check_media, questions_of

__all__ = [
    "DataError",
    "Question",
    "Sample",
    "check_media",
    "questions_of",
    "read_llava",
    "read_messages_jsonl",
    "read_samples",
    "write_llava",
]
