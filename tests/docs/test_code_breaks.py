"""Inline code of the built pages breaks behind separators, and its text stays what it was."""

from __future__ import annotations

import re

import pytest
from inlay_docs.code_breaks import pieces, with_breaks

CODE = '<p>a_b <code class="docutils literal notranslate"><span class="pre">{}</span></code></p>'


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("register_preference_loss", ["register_", "preference_", "loss"]),
        ("--data.test_annotations", ["--data.", "test_", "annotations"]),
        ("--data.train", ["--data.train"]),
        ("openai/clip-vit-large-patch14-336", ["openai/", "clip-", "vit-", "large-", "patch14-336"]),
        ("--help", ["--help"]),
        ("1.8.0", ["1.8.0"]),
        ("[n,", ["[n,"]),
        ("", [""]),
    ],
)
def test_a_word_is_cut_behind_separators(word: str, expected: list[str]) -> None:
    assert pieces(word) == expected


def test_a_line_may_end_between_two_pieces() -> None:
    assert with_breaks(CODE.format("preprocessor_config")) == CODE.format(
        'preprocessor_</span><wbr><span class="pre">config'
    )


def test_characters_of_html_stay_escaped() -> None:
    assert "&lt;row_" in with_breaks(CODE.format("&lt;row_1_column_1&gt;&amp;"))


def test_the_text_is_kept() -> None:
    body = CODE.format("--stages.STAGE.lr.inputs.image") + "<pre>a_b_c_d_e_f_g</pre>"
    text = re.compile(r"<[^>]*>")
    assert text.sub("", with_breaks(body)) == text.sub("", body)
    assert "<pre>a_b_c_d_e_f_g</pre>" in with_breaks(body)


def test_a_number_in_a_cell_stays_in_one_piece() -> None:
    assert with_breaks("<td><p>8e-08</p></td>") == '<td><p><span class="pre">8e-08</span></p></td>'
    assert with_breaks("<td><p>top-left</p></td>") == "<td><p>top-left</p></td>"
