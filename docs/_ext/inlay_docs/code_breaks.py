"""Places where a long name in code may be broken into lines: behind a separator, never inside a word.

A browser breaks ``--stages.STAGE.objective.name`` behind the first hyphen, or not at all. Each piece becomes an element
that does not wrap (``docs/_static/inlay.css``), with a ``<wbr>`` between two pieces, which is not copied with the text.
"""

from __future__ import annotations

import html
import re

__all__ = ["pieces", "with_breaks"]

_CODE = re.compile(r'<code class="[^"]*\bliteral\b[^"]*">.*?</code>', re.DOTALL)
_WORD = re.compile(r'<span class="pre">([^<]*)</span>')
_NUMBER = re.compile(r"<td><p>(-?[\d.]+e-?\d+)</p></td>")
_BORDER = re.compile(r"(?<=[/_.,=:;(\[{])(?=[\w<\"'-])|(?<=\w-)(?=\w)|(?<=[a-z0-9])(?=[A-Z][a-z])")
_WHOLE, _LEAST = 18, 4
"""Characters of the longest word that is not cut, and of the shortest piece."""


def pieces(word: str) -> list[str]:
    """A word without spaces, cut where a line may end.

    Example:
        >>> pieces("--stages.STAGE.objective.name")
        ['--stages.', 'STAGE.', 'objective.', 'name']
        >>> pieces("LlavaForConditionalGeneration"), pieces("--data.train")
        (['Llava', 'ForConditional', 'Generation'], ['--data.train'])
    """
    if len(word) <= _WHOLE:
        return [word]
    found = [""]
    for piece in _BORDER.split(word):
        if len(found[-1]) < _LEAST:
            found[-1] += piece
        else:
            found.append(piece)
    return found if len(found) == 1 or len(found[-1]) >= _LEAST else [*found[:-2], found[-2] + found[-1]]


def with_breaks(body: str) -> str:
    """The HTML of a page whose inline code may break between pieces, and whose numbers in cells do not break."""

    def word(found: re.Match[str]) -> str:
        cut = (html.escape(piece, quote=False) for piece in pieces(html.unescape(found[1])))
        return "<wbr>".join(f'<span class="pre">{piece}</span>' for piece in cut)

    body = _CODE.sub(lambda code: _WORD.sub(word, code[0]), body)
    return _NUMBER.sub(r'<td><p><span class="pre">\1</span></p></td>', body)
