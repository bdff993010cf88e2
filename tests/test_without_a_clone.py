"""``gan-lessons copy`` and ``lab``: the lessons in the learner's folder, their work untouched."""

from __future__ import annotations

import os
import sys

import pytest

from gan_lessons import __main__ as command_line
from gan_lessons.classroom import lessons
from gan_lessons.extras import EXTRA_OF

FIRST, SECOND = "00-start-here.ipynb", "01-more.ipynb"


@pytest.fixture
def ours(tmp_path, monkeypatch):
    """A package with two small lessons in it."""
    folder = tmp_path / "package" / "notebooks"
    folder.mkdir(parents=True)
    (folder / FIRST).write_text("first, as published")
    (folder / SECOND).write_text("second, as published")
    monkeypatch.setattr(lessons, "PACKAGE", folder.parent)
    return folder


@pytest.fixture
def mine(tmp_path):
    return tmp_path / "my lessons 课程"


def texts(folder):
    return {path.name: path.read_text() for path in sorted(folder.glob("*.ipynb"))}


def test_a_new_folder_gets_all_and_a_second_time_changes_nothing(ours, mine):
    assert lessons.copy_lessons(mine) == []
    assert texts(mine) == texts(ours)
    assert lessons.copy_lessons(mine) == []
    assert texts(mine) == texts(ours)
    assert list(mine.glob(".*.part")) == []


def test_what_was_changed_stays_and_is_named(ours, mine):
    lessons.copy_lessons(mine)
    (mine / FIRST).write_text("my answers")
    assert lessons.copy_lessons(mine) == [f"You changed these, and they stay: {FIRST}."]
    assert texts(mine) == {FIRST: "my answers", SECOND: "second, as published"}


def test_a_newer_lesson_replaces_an_untouched_copy_and_comes_beside_a_changed_one(ours, mine):
    lessons.copy_lessons(mine)
    (mine / FIRST).write_text("my answers")
    for name in (FIRST, SECOND):
        (ours / name).write_text("newer")
    beside = "00-start-here.newer.ipynb"
    assert lessons.copy_lessons(mine) == [
        f"You changed {FIRST}, and it stays; the newer one is {beside}.",
        f"{SECOND} was as it came, and is the newer one now.",
    ]
    expected = {FIRST: "my answers", beside: "newer", SECOND: "newer"}
    assert texts(mine) == expected
    assert lessons.copy_lessons(mine) == [f"You changed these, and they stay: {FIRST}."]
    assert texts(mine) == expected


def test_the_newer_copy_is_theirs_too_once_they_work_in_it(ours, mine):
    lessons.copy_lessons(mine)
    for at, name in enumerate((FIRST, "00-start-here.newer.ipynb", "00-start-here.newer-2.ipynb")):
        (mine / name).write_text(f"answers {at}")
        (ours / FIRST).write_text(f"version {at}")
        lessons.copy_lessons(mine)
    assert texts(mine) == {
        FIRST: "answers 0",
        "00-start-here.newer.ipynb": "answers 1",
        "00-start-here.newer-2.ipynb": "answers 2",
        "00-start-here.newer-3.ipynb": "version 2",
        SECOND: "second, as published",
    }


def test_an_untouched_newer_copy_makes_way_for_the_next(ours, mine):
    lessons.copy_lessons(mine)
    (mine / FIRST).write_text("my answers")
    for version in ("newer", "newest"):
        (ours / FIRST).write_text(version)
        lessons.copy_lessons(mine)
    assert texts(mine)["00-start-here.newer.ipynb"] == "newest"
    assert len(texts(mine)) == 3


@pytest.mark.parametrize("note", [None, "{ not json", "[]"])
def test_without_the_note_of_what_was_given_nothing_is_overwritten(ours, mine, note):
    lessons.copy_lessons(mine)
    (mine / lessons.GIVEN).unlink()
    if note is not None:
        (mine / lessons.GIVEN).write_text(note)
    (ours / FIRST).write_text("newer")
    lessons.copy_lessons(mine)
    assert texts(mine)[FIRST] == "first, as published"
    assert texts(mine)["00-start-here.newer.ipynb"] == "newer"


def test_an_interrupt_while_copying_leaves_what_was_there(ours, mine, monkeypatch):
    lessons.copy_lessons(mine)
    before = texts(mine)
    (ours / SECOND).write_text("newer")

    def stop(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", stop)
        with pytest.raises(KeyboardInterrupt):
            lessons.copy_lessons(mine)
    assert texts(mine) == before
    assert list(mine.glob(".*.part")) == []
    lessons.copy_lessons(mine)
    assert texts(mine)[SECOND] == "newer"


def test_a_folder_that_cannot_be_had_is_told_in_a_sentence(ours, tmp_path, capsys):
    file = tmp_path / "file"
    file.touch()
    assert command_line.main(["copy", str(file / "lessons")]) == 1
    said = capsys.readouterr().err
    assert f"The lessons cannot be copied to {file / 'lessons'}: Not a directory" in said
    assert "Name another folder." in said


def test_this_clone_and_the_wheel_know_their_lessons(root):
    assert lessons.lessons_folder() == root / "notebooks"


@pytest.mark.parametrize(
    ("arguments", "folder", "rest"),
    [
        ([], "gan-lessons", []),
        (["mine"], "mine", []),
        (["mine", "--port", "8899"], "mine", ["--port", "8899"]),
        (["--port", "8899"], "gan-lessons", ["--port", "8899"]),
    ],
)
def test_lab_opens_the_first_lesson_of_the_copy(
    ours, tmp_path, monkeypatch, arguments, folder, rest
):
    started = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "execve", lambda program, command, env: started.append((command, env)))
    monkeypatch.setattr(lessons.subprocess, "call", lambda command, env: 7)
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "theirs")
    if os.name == "posix":
        monkeypatch.setattr(lessons.signal, "signal", lambda *args: None)
    assert command_line.main(["lab", *arguments]) == 7
    assert texts(tmp_path / folder) == texts(ours)
    if os.name == "posix":
        [(command, environment)] = started
        command = [part for part in command if part != "--allow-root"]
        assert command[:4] == [sys.executable, "-m", "jupyterlab", "--ServerApp.ip=127.0.0.1"]
        assert command[4:] == ["--LabApp.default_url=/lab/tree/00-start-here.ipynb", *rest, folder]
        paths = environment.pop("JUPYTER_CONFIG_PATH")
        assert paths == f"{lessons.LAB_SETTINGS}:theirs"
        assert {**environment, "JUPYTER_CONFIG_PATH": "theirs"} == {**os.environ}


def test_lab_without_jupyterlab_says_what_to_install_and_copies_nothing(
    ours, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lessons, "find_spec", lambda name: None)
    assert command_line.main(["lab"]) == 2
    assert 'pip install "gan-lessons[lab]"' in capsys.readouterr().err
    assert not (tmp_path / "gan-lessons").exists()


@pytest.mark.parametrize("command", ["slides", "site"])
def test_a_command_whose_extra_is_missing_names_it(command, monkeypatch, capsys):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name="nbclient")

    assert EXTRA_OF["nbclient"] == "slides"
    monkeypatch.setattr(command_line, "import_module", missing)
    assert command_line.main([command]) == 2
    said = capsys.readouterr().err
    assert f"gan-lessons {command} needs nbclient" in said
    assert 'pip install "gan-lessons[slides]"' in said


def test_the_program_alone_tells_its_commands(capsys):
    with pytest.raises(SystemExit) as ended:
        command_line.main([])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert [name for name in command_line.COMMANDS if f"\n  {name} " not in said] == []
