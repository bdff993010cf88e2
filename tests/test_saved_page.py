"""An explorer saved as a file of its own; what a browser makes of it is in tests/browser."""

from __future__ import annotations

import os

import pytest
from bs4 import BeautifulSoup

from gan_lessons.classroom import explore
from gan_lessons.classroom.export.offline import loads

LIMIT = 400_000  # bytes; 500 kB is what was asked for


@pytest.fixture(scope="module")
def explorer():
    return explore()


def test_it_is_one_file_that_loads_nothing(explorer, tmp_path):
    path = explorer.save(tmp_path / "three.html")
    assert path == tmp_path / "three.html"
    page = path.read_text(encoding="utf-8")
    assert len(page.encode()) <= LIMIT
    assert loads(page) == []
    assert [p.name for p in tmp_path.iterdir()] == ["three.html"]
    soup = BeautifulSoup(page, "html.parser")
    assert soup.title is not None
    assert soup.title.string == "S1: retain the graph · S2: detach · S3: generator first"
    policy = soup.find("meta", attrs={"http-equiv": "Content-Security-Policy"})
    assert policy is not None
    assert str(policy["content"]).startswith("default-src 'none'")


def test_a_title_cannot_become_markup(explorer, tmp_path):
    page = explorer.save(str(tmp_path / "x.html"), title="<script>alert(1)</script>").read_text()
    assert "<script>alert(1)" not in page
    soup = BeautifulSoup(page, "html.parser")
    assert soup.title is not None
    assert soup.title.string == "<script>alert(1)</script>"


def test_an_old_file_is_replaced_in_one_piece(explorer, tmp_path, monkeypatch):
    path = tmp_path / "s1.html"
    path.write_text("old")
    path.chmod(0o644)
    link = tmp_path / "link.html"
    link.symlink_to(path)

    def fails(a, b):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fails)
        with pytest.raises(KeyboardInterrupt):
            explorer.save(path)
    assert path.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link.html", "s1.html"]
    explorer.save(link)
    assert link.is_symlink()
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_bad_paths_are_refused_in_words(explorer, tmp_path):
    with pytest.raises(ValueError, match=r"ends in \.html"):
        explorer.save(tmp_path / "s1")
    with pytest.raises(
        FileNotFoundError, match=r"there is no folder .*nowhere to save s1\.html in"
    ):
        explorer.save(tmp_path / "nowhere" / "s1.html")
    with pytest.raises(IsADirectoryError, match="is a folder; add the name of a file"):
        explorer.save(tmp_path)
    with pytest.raises(TypeError):
        explorer.save(3)
    assert list(tmp_path.iterdir()) == []


def test_the_group_of_a_widget_is_kept(tmp_path):
    alone, of_a_group = (
        explore("detach", what_if=False),
        explore("detach", what_if=False, group="x"),
    )
    assert 'data-gl-group="page"' in alone.save(tmp_path / "a.html").read_text(encoding="utf-8")
    assert "data-gl-group" not in alone.to_html()
    assert 'data-gl-group="x"' in of_a_group.save(tmp_path / "b.html").read_text(encoding="utf-8")
