"""The script that takes pictures of the explorer."""

from __future__ import annotations

import explorer_pictures
import pytest
from need_chromium import require_chromium
from PIL import Image, ImageSequence, ImageStat

pytestmark = pytest.mark.browser


def test_every_shot_has_an_address(wanted):
    found = {shot.name: explorer_pictures.address(wanted, shot)
             for shot in explorer_pictures.SHOTS}  # fmt: skip
    assert len(set(found.values())) == len(found)
    with pytest.raises(ValueError, match="no line of detach"):
        explorer_pictures.address(wanted, explorer_pictures.Shot("x", "detach", "nowhere"))


def test_pictures_are_taken_light_and_dark(monkeypatch, tmp_path):
    require_chromium()
    monkeypatch.setattr(explorer_pictures, "SHOTS", explorer_pictures.SHOTS[:1])
    folder, readme = tmp_path / "pictures", tmp_path / "readme.png"
    assert explorer_pictures.main([str(folder), "--readme", str(readme)]) == 0
    means = {}
    for look in ("light", "dark"):
        with Image.open(folder / f"s1-in-vain-{look}.png") as image:
            assert image.width > 1200
            means[look] = ImageStat.Stat(image.convert("L")).mean[0]
    assert means["light"] > 180 > 90 > means["dark"]
    assert readme.stat().st_size < 200_000


def test_a_walk_shows_every_moment_for_as_long_as_its_caption_needs(wanted, saved, tmp_path):
    require_chromium()
    shot = explorer_pictures.Shot("walk", "detach", "")
    film = dict(explorer_pictures.film_of(wanted, shot))
    film["moments"] = film["moments"][:6]  # of which two change nothing
    loud = explorer_pictures.numbered(film)
    gif = tmp_path / "walk.gif"
    with explorer_pictures.DeckBrowser() as browser:
        explorer_pictures.walk(browser, saved, film, shot, gif)
        assert browser.requests == browser.errors == []
    with Image.open(gif) as image:
        frames = [frame.copy() for frame in ImageSequence.Iterator(image)]
        assert len({frame.convert("RGB").tobytes() for frame in frames}) == len(loud) > 2
        times = [frame.info["duration"] / 1000 for frame in frames]
    assert times == pytest.approx([explorer_pictures.seconds(m) for m in loud], abs=0.01)
    words = [len(m["caption"].split()) for m in loud]
    assert times[words.index(max(words))] == max(times)
    assert gif.stat().st_size < 1_500_000 * len(loud) / len(
        wanted.data["films"]["detach"]["moments"]
    )
