"""The canvas of a GIF and its end mark."""

from __future__ import annotations

import io

import pytest
from hostile_media import gif_of_frames

from inlay.adapters.media.containers.gif import check_gif
from inlay.adapters.media.untrusted import MediaError


def test_the_canvas_is_read_and_the_file_is_at_its_beginning() -> None:
    file = io.BytesIO(gif_of_frames(300, 3))
    assert (check_gif(file, "a.gif"), file.tell()) == ((300, 300), 0)


@pytest.mark.parametrize(
    ("data", "said"), [(gif_of_frames(9, 2)[:-1], "cut off"), (gif_of_frames(9, 2)[:-1] + b"?", "damaged")]
)
def test_a_gif_without_its_end_mark_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(MediaError, match=said):
        check_gif(io.BytesIO(data), "a.gif")
