r"""The answer normalisation of the VQA challenge (Antol et al., 2015, https://arxiv.org/abs/1505.00468).

The rule is that of https://github.com/GT-Vision-Lab/VQA at revision a013f0043c1e (``vqaEval.py``).

Newlines and tabs become spaces; punctuation is removed or becomes a space; periods are removed unless a digit follows;
the text is lower-cased; number words become digits; articles are removed; missing apostrophes are restored. Two bugs of
the official evaluation are kept, because published scores contain them:

- its pattern for periods begins with ``(?!<=\d)``, a look-ahead instead of a look-behind, which has no effect: *every*
  period without a digit after it is removed, also that in ``"3."``;
- it passes ``re.UNICODE`` (32) as the *count* of ``sub``: at most 32 periods are removed.
"""

from __future__ import annotations

import re

__all__ = ["normalize_answer"]

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_DIGIT_COMMA_DIGIT = re.compile(r"\d,\d")
_PERIOD = re.compile(r"\.(?!\d)")
_MOST_PERIODS = 32
_ARTICLES = frozenset({"a", "an", "the"})
_NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBERS = {"none": "0"} | {word: str(number) for number, word in enumerate(_NUMBER_WORDS)}

# The official table maps every form with one missing apostrophe to the full form, so the full forms are enough. (Its
# four entries with a capital I never match lower-cased text.)
_CONTRACTIONS = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've
    he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't
    not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll
    somebody's someone'd someone'd've someone'll someone's something'd something'd've something'll that's there'd
    there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll
    what're what's what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's
    won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""


def _without_one_apostrophe(form: str) -> list[str]:
    return [form[:place] + form[place + 1 :] for place, letter in enumerate(form) if letter == "'"]


_REPAIRS = {lacking: form for form in _CONTRACTIONS.split() for lacking in _without_one_apostrophe(form)}
_REPAIRS["somebody'd"] = "somebodyd"  # this entry is reversed in the official table


def normalize_answer(answer: str) -> str:
    """The official normal form of an answer.

    Example:
        >>> [normalize_answer(text) for text in ("The Cat.", "dont", "two dogs", "3.5", "1,000 $", "red/blue", "none")]
        ['cat', "don't", '2 dogs', '3.5', '1000 $', 'red blue', '0']
    """
    spaced = answer.replace("\n", " ").replace("\t", " ").strip()
    words = _without_punctuation(spaced).lower().split()
    digits = [_NUMBERS.get(word, word) for word in words]
    return " ".join(_REPAIRS.get(word, word) for word in digits if word not in _ARTICLES)


def _without_punctuation(answer: str) -> str:
    """Remove a mark if it is next to a space anywhere, or if the text has digit-comma-digit; else make it a space."""
    grouped = _DIGIT_COMMA_DIGIT.search(answer) is not None
    gone: dict[str, str | int | None] = {
        mark: "" if grouped or f"{mark} " in answer or f" {mark}" in answer else " " for mark in _PUNCTUATION
    }
    return _PERIOD.sub("", answer.translate(str.maketrans(gone)), count=_MOST_PERIODS)
