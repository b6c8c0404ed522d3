r"""Words of a caption as in the COCO caption evaluation (Chen et al., 2015, https://arxiv.org/abs/1504.00325).

That evaluation runs Stanford's Penn Treebank tokenizer, lower-cases, and then drops quotes, single marks ``. , : ; ?
!`` and dashes. These are the same rules without Java: clitics are split off (``it 's``, ``do n't``, ``can not``); words
keep their hyphens, slashes and inner periods (``t-shirt``, ``and/or``, ``hat.he``); abbreviations and initials keep
their period; numbers keep commas, colons and periods between digits; brackets become ``-lrb-`` etc. and, like runs
such as ``!!``, are not dropped, because the official list lacks them.

Differences, all of them rare in captions: the abbreviations are a short list (``st.``, ``mr.``, ``etc.``, ...);
emoticons, web addresses, e-mail addresses, tags and HTML entities are split like other text; characters that the
original rewrites (``£`` to ``#``) are unchanged.
"""

from __future__ import annotations

import re

__all__ = ["caption_words"]

_ABBREVIATIONS = """
    mr mrs ms dr prof sgt lt col gen capt rev sen rep gov st ave blvd rd mt ft jr sr vs etc co inc ltd corp dept
    jan feb mar apr aug sept oct nov dec al cf
"""
_ABBREVIATION = "|".join(sorted(_ABBREVIATIONS.split(), key=len, reverse=True))
_TOKEN = re.compile(
    rf"""
    (?:[^\W\d_]\.)+(?![^\W_])                        # initials: u.s.  p.m.
    | (?:{_ABBREVIATION})\.(?![^\W_]) | no\.(?=\s*\d)  # st.  no. 5
    | '(?:n'|(?:em|tis|twas|cause|\d0s|s)\b)         # rock 'n' roll, get 'em, the '90s
    | [@#][^\W\d_][^\W_]*                            # @home
    | \.\d+                                          # .5
    | [^\W_]+(?:[.,:](?<=\d.)\d+|[-/][^\W_]+|\.[^\W\d_]+|_[^\W_]+|(?<!\d)'[^\W_]+|'s\b)*
    | -+|\.\.\.|[?!]+|``|''|\S
    """,
    re.VERBOSE,
)
_CLITIC = re.compile(r"(.+)(n't|'ve|'ll|'re|'s|'m|'d)$")
_SPLIT = {
    "cannot": "can not", "gonna": "gon na", "gotta": "got ta", "wanna": "wan na", "gimme": "gim me",
    "lemme": "lem me", "'tis": "'t is", "'twas": "'t was", "y'all": "y' all", "y'know": "y' know",
}  # fmt: skip
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
# Curly quotes and long dashes become plain ones.
_PLAIN = str.maketrans("\u2018\u2019\u201c\u201d", "''\"\"", "") | {0x2013: "--", 0x2014: "--", 0x2026: "..."}
_DROPPED = frozenset({'"', "''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "---", "...", ";"})


def caption_words(caption: str) -> list[str]:
    """The words of one caption.

    Example:
        >>> caption_words("A man's dog, on a T-shirt; it isn't 'St. Louis'.")
        ['a', 'man', "'s", 'dog', 'on', 'a', 't-shirt', 'it', 'is', "n't", 'st.', 'louis']
    """
    found = _TOKEN.findall(caption.translate(_PLAIN).lower())
    return [word for token in found if token not in _DROPPED for word in _words(token)]


def _words(token: str) -> list[str]:
    """A token with its clitics split off, brackets by their names."""
    if token in _BRACKETS:
        return [_BRACKETS[token]]
    clitics: list[str] = []
    while token not in _SPLIT and (match := _CLITIC.match(token)):
        token, clitic = match.groups()
        clitics.append(clitic)
    return [*_SPLIT.get(token, token).split(), *reversed(clitics)]
