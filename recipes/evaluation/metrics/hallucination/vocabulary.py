"""The objects that a caption mentions: words, synonyms and phrases mapped to object classes.

:meth:`ObjectVocabulary.of` takes given classes, :meth:`ObjectVocabulary.coco` the synonym file of
CHAIR (Rohrbach et al., 2018, https://arxiv.org/abs/1809.02156; ``data/synonyms.txt`` in
https://github.com/LisaAnne/Hallucination) with its rules for COCO's 80 classes.

The official code makes every word singular with the package ``pattern``. Here a word becomes singular if the result is
in the vocabulary, which needs no package. Mentions differ only in words that the official code does not find: ``bus``,
``airbus`` and ``minibus`` (cut to ``bu``), ``ties``, ``canoes``, ``magpies``, ``collies``, ``doggies``, and synonyms
that the file has with a capital or after two spaces (``iPhone``, ``motor bike``, ``cheesecake``); ``stove top oven``
counts once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from inlay.hub.safety.text import shown
from inlay.recipes.evaluation.errors import MetricError

__all__ = ["ObjectVocabulary", "words_of"]

_TOKEN = re.compile(r"[^\W_]+(?:-[^\W_]+)*|'s\b|[^\w\s]")
_IRREGULAR = {"people": "person", "children": "child", "mice": "mouse", "geese": "goose", "oxen": "ox", "feet": "foot"}
_ENDINGS = (("men", "man"), ("ies", "y"), ("ies", "ie"), ("ves", "fe"), ("ves", "f"), ("s", ""), ("es", ""))

# "Baby bird" is a bird, not a person (baby) and a bird; "passenger jet" is a jet. "Toilet seat" is covered by
# ``cancelled``: next to a toilet, a seat is not a chair.
_ANIMALS = ("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "animal", "cub")
_COCO_PHRASES = {
    **{f"{age} {animal}": animal for age in ("baby", "adult") for animal in _ANIMALS},
    "passenger jet": "jet",
    "passenger train": "train",
    "bow tie": "tie",
    "home plate": "home plate",
    "train track": "train track",
}


def words_of(text: str) -> list[str]:
    """The lower-case words of a text, and each punctuation mark, which separates the words of a phrase.

    Example:
        >>> words_of("A dog's T-shirt, red.")
        ['a', 'dog', "'s", 't-shirt', ',', 'red', '.']
    """
    return _TOKEN.findall(text.lower().replace("\u2019", "'"))


@dataclass(frozen=True, kw_only=True)
class ObjectVocabulary:
    """Object classes with the words that name them.

    Example:
        >>> world = ObjectVocabulary.of({"circle": ["disc"], "traffic light": []})
        >>> world.mentions("Two discs beside a traffic light, a light and a Circle.")
        ['circle', 'traffic light', 'circle']
    """

    classes: Mapping[str, str]
    """Word or phrase -> class."""
    phrases: Mapping[str, str] = field(default_factory=dict)
    """Further phrases -> the word that they count as, which need not be an object."""
    cancelled: Mapping[str, str] = field(default_factory=dict)
    """Word -> another word, in whose presence it is not an object."""

    @cached_property
    def _joined(self) -> dict[tuple[str, ...], str]:
        """The words of each phrase -> the word that they count as."""
        names = {name: name for name in self.classes if " " in name}
        return {tuple(name.split(" ")): meant for name, meant in {**names, **self.phrases}.items()}

    @cached_property
    def _known(self) -> frozenset[str]:
        """All single words: names of objects and the words of phrases."""
        return frozenset(word for name in (*self.classes, *self.phrases) for word in name.split(" "))

    @classmethod
    def of(cls, classes: Mapping[str, Iterable[str]] | Sequence[str]) -> ObjectVocabulary:
        """The vocabulary of given classes.

        Args:
            classes: names, or name -> synonyms; a name or synonym may have several words.

        Raises:
            MetricError: there is no class, or two classes have the same word.
        """
        given = classes if isinstance(classes, Mapping) else dict.fromkeys(classes, ())
        return cls(classes=_inverted({name: (name, *synonyms) for name, synonyms in given.items()}, "classes"))

    @classmethod
    def coco(cls, synonyms: str | Path) -> ObjectVocabulary:
        """COCO's classes with the rules of the official evaluation.

        Args:
            synonyms: the file ``synonyms.txt``: one class a line, ``class, synonym, synonym, ...``.

        Raises:
            MetricError: the file cannot be read, is empty, or a word is in two lines.
        """
        try:
            lines = Path(synonyms).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise MetricError(f"{synonyms}: expected a text file of synonyms, one class a line: {error}") from error
        rows = [[word.strip() for word in line.split(",") if word.strip()] for line in lines]
        classes = _inverted({row[0]: row for row in rows if row}, str(synonyms))
        return cls(classes=classes, phrases=_COCO_PHRASES, cancelled={"seat": "toilet"})

    def mentions(self, caption: str) -> list[str]:
        """The class of each object that a caption mentions, in order; a class may be mentioned more than once.

        Example:
            >>> ObjectVocabulary.of(["circle", "red circle"]).mentions("circles and a red circle")
            ['circle', 'red circle']
        """
        words = list(self._phrased([self._singular(word) for word in words_of(caption)]))
        present = set(words)
        return [
            self.classes[word] for word in words if word in self.classes and self.cancelled.get(word) not in present
        ]

    def class_of(self, name: str) -> str:
        """The class of an annotated object, which may be named by a synonym.

        Raises:
            MetricError: the vocabulary does not have it.
        """
        key = name.lower()
        if key not in self.classes:
            raise MetricError(f"objects: expected names of the vocabulary, got {shown(name)}; add it as a class")
        return self.classes[key]

    def _singular(self, word: str) -> str:
        if word in self._known:
            return word
        ends = (word.removesuffix(plural) + singular for plural, singular in _ENDINGS if word.endswith(plural))
        return next((form for form in (_IRREGULAR.get(word), *ends) if form in self._known), word)

    def _phrased(self, words: Sequence[str]) -> Iterator[str]:
        """The words, with the longest phrase at each position joined to one word."""
        longest, place = max(map(len, self._joined), default=1), 0
        while place < len(words):
            lengths = (n for n in range(longest, 1, -1) if tuple(words[place : place + n]) in self._joined)
            length = next(lengths, 1)
            yield words[place] if length == 1 else self._joined[tuple(words[place : place + length])]
            place += length


def _inverted(classes: Mapping[str, Iterable[str]], where: str) -> dict[str, str]:
    """Lower-case word -> class."""
    if not classes:
        raise MetricError(f"{where}: expected at least one object class, got none")
    owners: dict[str, str] = {}
    for name, words in classes.items():
        for word in words:
            key = " ".join(word.lower().split())
            if owners.setdefault(key, name) != name:
                raise MetricError(
                    f"{where}: expected each word in one class, got {shown(word)} in {owners[key]} and {name}"
                )
    return owners
