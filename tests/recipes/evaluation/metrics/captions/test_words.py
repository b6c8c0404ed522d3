"""Caption words: the expected ones were printed by Stanford CoreNLP 3.4.1 with the options of the COCO evaluation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inlay.recipes.evaluation.metrics import caption_words

STANFORD = [
    ("A man riding a wave on top of a surfboard.", "a man riding a wave on top of a surfboard"),
    ("Don't do that, it's John's dog's bone!", "do n't do that it 's john 's dog 's bone"),
    ("black-and-white photo of a well-known man", "black-and-white photo of a well-known man"),
    ('He said "hello there" and left; then: nothing...', "he said hello there and left then nothing"),
    ("Prices are $3.50, 1,000 or 50% off", "prices are $ 3.50 1,000 or 50 % off"),
    ("(really) [yes] {no}", "-lrb- really -rrb- -lsb- yes -rsb- -lcb- no -rcb-"),
    ("cannot gonna wanna gimme gotta lemme", "can not gon na wan na gim me got ta lem me"),
    ("Mr. Smith and Dr. Who at 5 p.m. in the U.S. today", "mr. smith and dr. who at 5 p.m. in the u.s. today"),
    ("on main st. at 5th ave. by mt. hood", "on main st. at 5th ave. by mt. hood"),
    ("and/or 1/2 cup, a.b.c", "and/or 1/2 cup a.b.c"),
    ("they're we've I'll I'd isn't can't won't", "they 're we 've i 'll i 'd is n't ca n't wo n't"),
    ("shouldn't've would've", "should n't 've would 've"),
    ("dogs' bones and the boys' room, men's", "dogs bones and the boys room men 's"),
    ("A cat -- a big one -- sits - here", "a cat a big one sits here"),
    ("A cat\u2014a big one \u2013 here\u2026", "a cat a big one here"),
    ("\u201ccurly\u201d quotes and \u2018single\u2019 ones, it\u2019s", "curly quotes and single ones it 's"),
    ("rock 'n' roll 'tis the '90s, get 'em", "rock 'n' roll 't is the '90s get 'em"),
    ("wow!!! really??? ok!? yes! no?", "wow !!! really ??? ok !? yes no"),
    ("a man's hat.He left", "a man 's hat.he left"),
    ("3.5 10:30 a.m. 12-14 9' 5\"", "3.5 10:30 a.m. 12-14 9 5"),
    ("caf\u00e9 na\u00efve \u65e5\u672c", "caf\u00e9 na\u00efve \u65e5\u672c"),
    ("a man in a suit, tie, etc. and hat", "a man in a suit tie etc. and hat"),
    ("a/b c+d e=f #1 fan & co.", "a/b c + d e = f # 1 fan & co."),
    ("90's 1990s '70s mp3 4x4", "90 's 1990s '70s mp3 4x4"),
    ("T.V. on TV. No. 5", "t.v. on tv no. 5"),
    ("a no-parking sign no. parking", "a no-parking sign no parking"),
    ("O'Brien o'clock ma'am y'all c'mon", "o'brien o'clock ma'am y' all c'mon"),
    ("the dog 's tail and the letter d.", "the dog 's tail and the letter d."),
    ("an x-ray, a t-shirt's logo, .5", "an x-ray a t-shirt 's logo .5"),
    ("cat,dog x:y 5:dogs a;b a_b", "cat dog x y 5 dogs a b a_b"),
    ("#hashtag @home & m&m's", "#hashtag @home & m & m 's"),
    ("two  spaces\tand\na line", "two spaces and a line"),
    ("...", ""),
    ("", ""),
]


@pytest.mark.parametrize(("caption", "words"), STANFORD)
def test_the_words_are_those_of_the_coco_evaluation(caption: str, words: str) -> None:
    assert caption_words(caption) == words.split()


def test_endless_clitics_are_split_without_recursion() -> None:
    assert len(caption_words("it" + "'s" * 20_000)) == 20_001


@given(st.text())
def test_any_text_becomes_words_without_spaces_in_lower_case(text: str) -> None:
    for word in caption_words(text):
        assert word
        assert word == word.lower()
        assert len(word.split()) == 1


WORDS = st.lists(st.sampled_from(["a", "red", "disc", "t-shirt", "two", "dogs"]), max_size=8)


@given(WORDS)
def test_words_that_are_split_already_stay_as_they_are(words: list[str]) -> None:
    assert caption_words(" ".join(words)) == words
