"""The word for the sizes of features: what it means, and what is refused."""

from __future__ import annotations

import subprocess
import sys

import pytest

from inlay.adapters.media.feature_sizes import FeatureSizes, FeatureSizesError


@pytest.mark.parametrize(
    ("word", "sizes"),
    [
        ("64x16", FeatureSizes(64, 16)),
        ("64x1-16", FeatureSizes(64, 16, variable=True)),
        (
            "1152x729:google/siglip-so400m-patch14-384",
            FeatureSizes(1152, 729, False, "google/siglip-so400m-patch14-384"),
        ),
        ("8x1-4:EEG 2.0", FeatureSizes(8, 4, True, "EEG 2.0")),
    ],
)
def test_a_word_is_read_and_written_again(word: str, sizes: FeatureSizes) -> None:
    assert FeatureSizes.parse(word) == sizes
    assert str(sizes) == word


@pytest.mark.parametrize(
    "word", ["", "64", "64x", "x16", "64X16", "64x2-16", "64x16:", "64x16:a\nb", "-1x4", "6.5x4", "²x4"]
)
def test_another_form_is_refused_with_an_example(word: str) -> None:
    with pytest.raises(FeatureSizesError, match="expected WIDTHxTOKENS such as 64x16"):
        FeatureSizes.parse(word)


@pytest.mark.parametrize(("word", "field"), [("0x4", "width"), ("4x0", "tokens"), ("9999999x4", "width")])
def test_sizes_have_limits(word: str, field: str) -> None:
    with pytest.raises(FeatureSizesError, match=f"{field}: expected an integer from 1 to"):
        FeatureSizes.parse(word)


def test_the_word_is_judged_without_torch() -> None:
    code = "import sys; import inlay.adapters.media.feature_sizes; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
