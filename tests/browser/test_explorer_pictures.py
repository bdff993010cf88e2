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
    folder, readme, gif = tmp_path / "pictures", tmp_path / "readme.png", tmp_path / "walk.gif"
    with monkeypatch.context() as patch:
        patch.setattr(explorer_pictures, "walk", lambda *_: [Image.new("RGB", (9, 9), c)
                                                             for c in ("red", "blue")])  # fmt: skip
        assert (
            explorer_pictures.main([str(folder), "--readme", str(readme), "--walk", str(gif)]) == 0
        )
    means = {}
    for look in ("light", "dark"):
        with Image.open(folder / f"s1-in-vain-{look}.png") as image:
            assert image.width > 1200
            means[look] = ImageStat.Stat(image.convert("L")).mean[0]
    assert means["light"] > 180 > 90 > means["dark"]
    assert readme.stat().st_size < 200_000
    with Image.open(gif) as image:
        assert len([*ImageSequence.Iterator(image)]) == 2
