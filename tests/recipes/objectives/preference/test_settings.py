"""Settings of preference tuning: what they mean, and what is refused."""

from __future__ import annotations

import pytest
from preference_stages import stage_of

from inlay.recipes.objectives.preference.losses.streams import LossError
from inlay.recipes.objectives.preference.settings import Preference
from inlay.recipes.settings.objective import ObjectiveError


def test_options_are_those_of_the_loss() -> None:
    assert Preference(loss="sigmoid", options={"beta": 0.3}).function.first_step() == pytest.approx(0.6931, abs=1e-4)
    with pytest.raises(LossError, match=r"simpo: expected settings among .*gamma.*, got 'tau'"):
        Preference(loss="simpo", options={"tau": 1.0})


def test_an_unknown_loss_is_named() -> None:
    with pytest.raises(LossError, match=r"expected one of .*sigmoid.*, got 'dpo'"):
        Preference(loss="dpo")


def test_streams_follow_from_the_loss() -> None:
    assert Preference().streams == ("chosen", "rejected")
    assert "chosen_other_image" in Preference(loss="mdpo").streams
    assert Preference(loss="kto").streams[0] == "answer"


def test_stored_log_probabilities_need_texts_that_stay() -> None:
    from stages import changed

    stage = stage_of(Preference(reference="stored"))
    with pytest.raises(ObjectiveError, match="same texts in every epoch"):
        changed(stage, templates="caption")
