"""The player of pictures: what it holds, what stands there without scripts, what it refuses."""

import pytest
import traitlets
from matplotlib.figure import Figure

from gan_lessons.classroom import Frame, play


def frame(text):
    return Frame.of(Figure(figsize=(1, 1)), text, dpi=20)


@pytest.fixture
def player():
    series = {name: [frame(f"{name} <{i}>") for i in range(3)] for name in ("S2", "S3")}
    return play(series, slider="after step", labels=[0, 10, 200], frame=1)


def test_it_begins_where_it_was_told_and_can_be_moved(player):
    assert (player.strategy, player.frame, player.index) == ("S2", 1, 0)
    player.strategy = "S3"
    assert player.index == 1
    with pytest.raises(traitlets.TraitError, match="S9"):
        player.strategy = "S9"


def test_a_page_has_all_pictures_and_print_has_the_one_that_is_chosen(player):
    player.strategy = "S3"
    page = player.to_html()
    assert page.count("data:image/png;base64,") >= 7  # six, and the still
    still = player.still()
    assert still.count("<img") == 1
    assert 'alt="S3 &lt;1&gt;"' in still
    assert "here is S3, after step 10" in still
    bundle, _ = player._repr_mimebundle_()
    assert bundle["text/html"] == page
    assert bundle["text/plain"] == "FramePlayer(S2, S3; 3 pictures each)"


def test_frames_and_labels_must_fit():
    with pytest.raises(ValueError, match=r"3 labels, but another number of frames for \{'S2': 1\}"):
        play({"S2": [frame("x")]}, slider="step", labels=[1, 2, 3])
    with pytest.raises(ValueError, match="at least one series"):
        play({}, slider="step", labels=[])
