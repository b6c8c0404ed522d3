from __future__ import annotations

import pytest

from inlay.hub import LayoutSpec, Manifest, render_card
from inlay.hub.format.card_file import choose_card, is_edited, make_card


def _manifest(name: str = "demo") -> Manifest:
    return Manifest(system="llava", name=name, interface={}, layout=LayoutSpec(template="plain"), parts={})


def test_a_card_as_it_was_made_is_not_edited() -> None:
    card = make_card(_manifest(), "me/x")
    assert not is_edited(card)
    assert not is_edited(card.replace(b"\n", b"\r\n"))


@pytest.mark.parametrize("change", [b"# my demo", b"", b"# demo\n\nI like it."])
def test_one_changed_word_makes_it_somebodys_own(change: bytes) -> None:
    assert is_edited(make_card(_manifest()).replace(b"# demo", change))


def test_text_behind_the_mark_is_an_edit_too() -> None:
    assert is_edited(make_card(_manifest()) + b"PS: thanks!\n")


def test_a_card_from_before_the_mark_is_recognised_by_its_manifest() -> None:
    card = render_card(_manifest()).encode()
    assert not is_edited(card, _manifest().to_json())
    assert is_edited(card, _manifest("another").to_json())
    assert is_edited(card, b"{}")


def test_an_edited_card_comes_before_a_made_one_and_ones_own_before_the_hubs() -> None:
    made = make_card(_manifest(), "me/x")
    old = _manifest("old")
    assert choose_card(_manifest(), "me/x", None, None, None) == ("generated", made)
    assert choose_card(_manifest(), "me/x", made, make_card(old), old.to_json()) == ("generated", made)
    assert choose_card(_manifest(), "me/x", made, b"theirs", old.to_json()) == ("remote", b"theirs")
    assert choose_card(_manifest(), "me/x", b"mine", b"theirs", old.to_json()) == ("local", b"mine")
    assert choose_card(_manifest(), "me/x", b"mine", b"theirs", old.to_json(), renew=True) == ("generated", made)


def test_the_readme_of_a_repository_that_holds_no_bundle_yet_is_replaced() -> None:
    assert choose_card(_manifest(), "me/x", None, b"# soon", None)[0] == "generated"
