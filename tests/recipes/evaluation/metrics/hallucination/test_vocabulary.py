"""Objects of captions, beside CHAIR's official code."""

from __future__ import annotations

from pathlib import Path

import pytest

from inlay.recipes.evaluation.metrics import MetricError, ObjectVocabulary
from inlay.recipes.evaluation.metrics.hallucination.vocabulary import words_of

SYNONYMS = """\
person, man, woman, child, children, people, baby, passenger, adult, skier
bicycle, bike
motorcycle,  motor bike, scooter
airplane, jet
bus, minibus
train, locomotive
traffic light, street light
bird, goose
dog, puppy
elephant
cow, ox, oxen
tie, bow, bow tie
skis, ski
sports ball, ball
wine glass
knife, knive
chair, seat
toilet
hot dog
teddy bear
mouse
cell phone, iPhone
"""


@pytest.fixture
def coco(tmp_path: Path) -> ObjectVocabulary:
    (tmp_path / "synonyms.txt").write_text(SYNONYMS)
    return ObjectVocabulary.coco(tmp_path / "synonyms.txt")


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        (
            "A man and two women ride bikes past traffic lights.",
            ["person", "person", "bicycle", "traffic light"],
        ),
        ("A baby elephant beside an adult elephant.", ["elephant", "elephant"]),
        ("A baby, elephant and a dog", ["person", "elephant", "dog"]),
        ("A passenger train at the station.", ["train"]),
        ("The passenger jets wait.", ["airplane"]),
        ("A man in a bow tie sits on the toilet seat.", ["person", "tie", "toilet"]),
        ("The seat of the toilet is up.", ["toilet"]),
        ("The seats of the train are blue.", ["chair", "train"]),
        ("A hot dog for the dog.", ["hot dog", "dog"]),
        ("He slides into home plate beside train tracks.", []),
        ("Two wine glasses, a glass and knives.", ["wine glass", "knife"]),
        ("People and children with teddy bears.", ["person", "person", "teddy bear"]),
        ("Skis stand beside a skier.", ["skis", "person"]),
        ("A dog's ball; the dogs' balls", ["dog", "sports ball", "dog", "sports ball"]),
        ("A mouse near mice, geese and oxen", ["mouse", "mouse", "bird", "cow"]),
        ("A street light and a light", ["traffic light"]),
    ],
)
def test_captions_mention_what_the_official_code_finds(
    coco: ObjectVocabulary, caption: str, expected: list[str]
) -> None:
    assert coco.mentions(caption) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [("bus", "bus"), ("ties", "tie"), ("motor bikes", "motorcycle"), ("iPhones", "cell phone"), ("minibus", "bus")],
)
def test_words_that_the_official_code_loses_are_found(coco: ObjectVocabulary, word: str, expected: str) -> None:
    assert coco.mentions(f"The {word} here.") == [expected]


def test_a_world_of_ones_own_needs_only_its_classes() -> None:
    world = ObjectVocabulary.of(("circle", "cross", "box"))
    assert world.mentions("Circles, two crosses and three boxes; no ring.") == ["circle", "cross", "box"]


def test_the_longest_phrase_is_taken() -> None:
    world = ObjectVocabulary.of(["oven", "stove top oven", "stove top"])
    assert world.mentions("a stove top oven, a stove top and an oven") == ["stove top oven", "stove top", "oven"]


def test_words_of_a_phrase_alone_are_no_object() -> None:
    assert ObjectVocabulary.of(["red circle"]).mentions("a circle that is red") == []


def test_a_word_becomes_singular_only_into_the_vocabulary() -> None:
    world = ObjectVocabulary.of({"glass": [], "leaf": [], "pony": [], "tie": [], "shoe": []})
    assert world.mentions("glasses leaves ponies ties shoes glas ty") == ["glass", "leaf", "pony", "tie", "shoe"]


def test_annotations_may_use_synonyms() -> None:
    world = ObjectVocabulary.of({"circle": ["disc"]})
    assert world.class_of("Disc") == "circle"
    with pytest.raises(MetricError, match="objects: expected names of the vocabulary, got 'ring'; add it as a class"):
        world.class_of("ring")


def test_a_word_has_one_class() -> None:
    with pytest.raises(MetricError, match="classes: expected each word in one class, got 'disc' in circle and ring"):
        ObjectVocabulary.of({"circle": ["disc"], "ring": ["disc"]})


def test_a_vocabulary_is_not_empty(tmp_path: Path) -> None:
    (tmp_path / "synonyms.txt").write_text("\n  \n")
    with pytest.raises(MetricError, match=r"synonyms.txt: expected at least one object class, got none"):
        ObjectVocabulary.coco(tmp_path / "synonyms.txt")
    with pytest.raises(MetricError, match="classes: expected at least one object class, got none"):
        ObjectVocabulary.of([])


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_is_no_text_is_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "synonyms.txt").write_bytes(content)
    with pytest.raises(MetricError, match=r"synonyms.txt: expected a text file of synonyms, one class a line"):
        ObjectVocabulary.coco(tmp_path / "synonyms.txt")


def test_marks_separate_words() -> None:
    assert words_of("It\u2019s a tee-shirt (red)!") == ["it", "'s", "a", "tee-shirt", "(", "red", ")", "!"]
