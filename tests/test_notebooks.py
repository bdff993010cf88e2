"""Every lesson is stored clean, follows the rules, and runs without an error or a warning.

That it runs once more in the same kernel is held by ``tests/browser/test_lessons.py``.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import exercise_rules
import lesson_runs as lesson_runs_tool
import lesson_sentences
import nbformat
import notebook_rules
import one_name
import pytest
import reading_time
from lesson_runs import run
from nbclient.exceptions import CellExecutionError

from gan_lessons.classroom import environment, ready

LONGEST_LESSON = 50  # minutes


def test_there_is_a_notebook(root):
    assert list((root / "notebooks").glob("*.ipynb")), "notebooks/ holds no lesson"


def test_follows_the_rules(notebook_path):
    notebook = nbformat.read(notebook_path, as_version=nbformat.NO_CONVERT)
    assert notebook_rules.problems(notebook) == []


def test_runs_in_a_fresh_kernel(notebook_path, lesson_runs):
    run = lesson_runs.of(notebook_path)
    assert run.warnings == []
    assert exercise_rules.exercise_problems(run.notebook) == []
    assert lesson_sentences.missing(notebook_path.stem, run.notebook) == []


def test_a_lesson_is_asked_in_its_kernel(write_notebook, monkeypatch):
    path = write_notebook("asked.ipynb", "found = {'met': [True, False]}")
    expression = "__import__('json').dumps(found)"
    monkeypatch.setattr(lesson_runs_tool, "ASKED", {"asked": expression})
    assert run(path).answer == {"met": [True, False]}
    monkeypatch.setattr(lesson_runs_tool, "ASKED", {"asked": "never_found"})
    with pytest.raises(AssertionError, match="never_found: NameError"):
        run(path)
    monkeypatch.setattr(lesson_runs_tool, "ASKED", {})
    assert run(path).answer is None


def first_code(path: Path) -> str:
    cells = nbformat.read(path, as_version=nbformat.NO_CONVERT).cells
    return str(next(cell.source for cell in cells if cell.cell_type == "code"))


def test_the_first_cell_is_the_same_everywhere(notebook_path, root):
    assert first_code(notebook_path) == first_code(root / "notebooks" / "00-start-here.ipynb")


@pytest.mark.parametrize("place", ["COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE", None])
def test_the_first_cell_installs_where_nothing_is_kept(place, root, monkeypatch, capsys):
    """There pip brings the package; anywhere else the learner is told, and nothing is installed."""
    ran = []
    for name in ("COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"):
        monkeypatch.delenv(name, raising=False)
    if place:
        monkeypatch.setenv(place, "1")
    shell = SimpleNamespace(run_line_magic=lambda *told: ran.append(told))
    installs = []
    monkeypatch.setattr(environment, "_install_missing", lambda: installs.append(True))
    exec(first_code(root / "notebooks" / "00-start-here.ipynb"), {"get_ipython": lambda: shell})
    assert ran == ([("pip", "install --quiet --no-deps gan-lessons")] if place else [])
    assert installs == ([True] if place else [])
    assert capsys.readouterr().out == ""  # here all is installed
    monkeypatch.setattr(environment, "_version", lambda name: None if name == "anywidget" else "1")
    ready()
    said = capsys.readouterr().out
    assert said.startswith("Missing: anywidget. ")
    assert '\n%pip install "gan-lessons[lessons]"\n' in said


def test_every_sentence_belongs_to_a_lesson(root):
    lessons = {path.stem for path in (root / "notebooks").glob("*.ipynb")}
    assert set(lesson_sentences.SENTENCES) <= lessons


def test_one_name_is_one_thing(notebook_path):
    assert one_name.two_things(reading_time.read(notebook_path)) == []


def test_names_the_minutes_that_it_takes(notebook_path):
    notebook = reading_time.read(notebook_path)
    overviews = reading_time.read_overviews(notebook_path.parent)
    assert list(reading_time.problems(notebook_path.name, notebook, overviews)) == []
    assert reading_time.readings(notebook)[0].exact <= LONGEST_LESSON


# The checks themselves: each has to find what it looks for.


def good_notebook() -> nbformat.NotebookNode:
    slide = {"slideshow": {"slide_type": "slide"}}
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell("# A lesson", metadata=slide),
            nbformat.v4.new_code_cell("1 + 1", metadata=slide),
        ]
    )
    notebook.metadata = nbformat.from_dict(notebook_rules.NOTEBOOK_METADATA)
    return notebook


def with_output(notebook):
    notebook.cells[1].outputs = [nbformat.v4.new_output("stream", text="2")]


def with_count(notebook):
    notebook.cells[1].execution_count = 1


def with_widget_state(notebook):
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {}}


def with_cell_noise(notebook):
    notebook.cells[1].metadata["collapsed"] = True


def with_old_format(notebook):
    notebook.nbformat_minor = 4
    for cell in notebook.cells:
        del cell["id"]


def with_twin_ids(notebook):
    notebook.cells[0].id = notebook.cells[1].id


def with_no_first_slide(notebook):
    del notebook.cells[0].metadata["slideshow"]


def with_written_hyphen(notebook):
    notebook.cells[1].metadata["slideshow"]["slide_type"] = "-"


def with_wrong_slide_type(notebook):
    notebook.cells[0].metadata["slideshow"]["slide_type"] = "title"


def with_unknown_slide_tag(notebook):
    notebook.cells[1].metadata["tags"] = ["slide-kode"]


def with_slide_tag_on_prose(notebook):
    notebook.cells[0].metadata["tags"] = ["slide-code"]


def with_code_on_no_slide(notebook):
    notebook.cells[1].metadata["tags"] = ["slide-code"]
    notebook.cells[1].metadata["slideshow"]["slide_type"] = "skip"


def with_long_cell(notebook):
    notebook.cells[1].source = "x = 1\n" * (notebook_rules.MAX_CODE_LINES + 1)


def with_machine_path(notebook):
    notebook.cells[1].source = "open('/home/somebody/data.csv')"


def with_windows_path(notebook):
    notebook.cells[1].source = "open('C:\\\\Users\\\\somebody\\\\data.csv')"


def with_subslides_of_one_cell(notebook):
    notebook.cells[1].metadata["slideshow"]["slide_type"] = "subslide"
    notebook.cells += [nbformat.v4.new_markdown_cell("For the teacher."), notebook.cells[1].copy()]
    for cell, kind in zip(notebook.cells[2:], ("notes", "subslide"), strict=True):
        cell.id = f"added-{kind}"
        cell.metadata = nbformat.from_dict({"slideshow": {"slide_type": kind}})


def without_code(notebook):
    del notebook.cells[1]


BREAKS = [
    (with_output, "has outputs"),
    (with_count, "execution count"),
    (with_widget_state, "notebook metadata"),
    (with_cell_noise, "collapsed"),
    (with_old_format, "format 4.4"),
    (with_twin_ids, "more than once"),
    (with_no_first_slide, "first cell"),
    (with_written_hyphen, "slide_type is '-'"),
    (with_wrong_slide_type, "slide_type"),
    (with_unknown_slide_tag, "slide-kode"),
    (with_slide_tag_on_prose, "for code cells"),
    (with_code_on_no_slide, "on no slide"),
    (with_long_cell, "lines"),
    (with_machine_path, "path of one machine"),
    (with_windows_path, "path of one machine"),
    (with_subslides_of_one_cell, "cannot reach"),
    (without_code, "no code cell"),
]


@pytest.mark.parametrize(("spoil", "said"), BREAKS, ids=[spoil.__name__ for spoil, _ in BREAKS])
def test_rules_find(spoil, said):
    notebook = good_notebook()
    assert notebook_rules.problems(notebook) == []
    spoil(notebook)
    assert [problem for problem in notebook_rules.problems(notebook) if said in problem]


TWO_THINGS = [
    ("a loss, then a text", ["loss = max", "for loss in 'ab':\n    print(loss)", "loss(1, 2)"]),
    ("read by a function", ["step = 1", "def walk():\n    return step", "step = [walk]"]),
    ("taken apart", ["a, b = 1, 2", "a, b = 3, 2", "print(a)"]),
    ("added to", ["found = []", "found = {}", "found |= {}"]),
]
ONE_THING = [
    ("a fresh start", ["gan = dict(seed=0)", "gan['x'] = 1", "gan = dict(seed=0)"]),
    ("of each cell alone", ["for x in (1, 2):\n    print(x)", "x = 'a'\nprint(x)"]),
    ("a local name", ["n = 1", "def f():\n    n = 'a'\n    return n", "print(n)"]),
    ("in a comprehension", ["n = 1", "[n for n in 'abc']", "print(n)"]),
]


def lesson_of(sources: list[str]) -> nbformat.NotebookNode:
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in sources])


@pytest.mark.parametrize("sources", [s for _, s in TWO_THINGS], ids=[i for i, _ in TWO_THINGS])
def test_a_name_for_two_things_is_found(sources):
    assert len(one_name.two_things(lesson_of(sources))) == 1


@pytest.mark.parametrize("sources", [s for _, s in ONE_THING], ids=[i for i, _ in ONE_THING])
def test_a_name_for_one_thing_is_left_alone(sources):
    assert one_name.two_things(lesson_of(sources)) == []


def long_lesson(minutes: int, plan: str = "Plan: all (20).") -> nbformat.NotebookNode:
    notebook = good_notebook()
    notebook.cells[0].source = f"# A lesson\n\n*About {minutes} minutes. You need: time.*"
    prose = nbformat.v4.new_markdown_cell("word " * 20 * reading_time.WORDS_PER_MINUTE)
    note = nbformat.v4.new_markdown_cell(f"**Teacher, 20 minutes.** {plan}\n\n</details>")
    note.metadata = nbformat.from_dict({"slideshow": {"slide_type": "notes"}})
    curious = nbformat.v4.new_markdown_cell("## For the curious: more\n\n" + "word " * 1000)
    notebook.cells += [prose, note, curious]
    return notebook


@pytest.mark.parametrize(
    ("notebook", "overview", "said"),
    [
        (long_lesson(25), "", "its first cell says (25, 0)"),
        (long_lesson(20), "", "counted: (20, 10)"),
        (long_lesson(20, "Plan: run (9), talk (12, at home)."), "", "the plan needs 21"),
        (long_lesson(20), "| [A](a.ipynb) | 35 | all |", "00 says 35 minutes"),
    ],
)
def test_wrong_minutes_are_found(notebook, overview, said):
    assert [p for p in reading_time.problems("a.ipynb", notebook, {"00": overview}) if said in p]


def test_minutes_are_mended_where_they_are_named(tmp_path, monkeypatch):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    start = nbformat.v4.new_markdown_cell("# Map\n\n| [A](a.ipynb) | 35 | all |")
    nbformat.write(nbformat.v4.new_notebook(cells=[start]), folder / "00-map.ipynb")
    (tmp_path / "README.md").write_text("| [A](notebooks/a.ipynb) | 5 | all |\n")
    nbformat.write(long_lesson(35), folder / "a.ipynb")
    assert reading_time.main([str(folder / "a.ipynb")]) == 1
    assert reading_time.main(["--fix", str(folder / "a.ipynb")]) == 0
    assert reading_time.stated(reading_time.read(folder / "a.ipynb")) == (20, 10)
    assert (tmp_path / "README.md").read_text() == "| [A](notebooks/a.ipynb) | 20 | all |\n"


@pytest.mark.parametrize(
    ("source", "shows"),
    [
        ("x = 1", False), ("x = 1\nx", True), ("print(1)\ny = f(a, b)", True), ("x.a = 2", False),
        ("def f():\n    return 1", False), ("import os", False), ("a |= b", False),
        ("f(\n    x,\n)", True), ("x = f(\n    a,\n)", False), ("a, b = f()", False),
        ("for i in x:\n    f(i)", False), ("for i in x:\n    print(i)", True),
        ("x = a == b", False), ("def f():\n    print(1)", False),
    ],
)  # fmt: skip
def test_what_shows_something_is_known(source, shows):
    assert reading_time.shows_something(source) is shows


def test_a_sentence_whose_cell_shows_otherwise_is_found(monkeypatch):
    cell = nbformat.v4.new_code_cell("1 + 1", id="sum")
    cell.outputs = [nbformat.v4.new_output("stream", text="a 2\nb 3\n")]
    notebook = nbformat.v4.new_notebook(cells=[cell])
    for patterns, problems in (((r"a 2\n", "b 3"), 0), (("b 3", "a 2"), 1), (("a 3",), 1)):
        monkeypatch.setattr(lesson_sentences, "SENTENCES", {"x": {"sum": patterns}})
        assert len(lesson_sentences.missing("x", notebook)) == problems
    monkeypatch.setattr(lesson_sentences, "SENTENCES", {"x": {"gone": ("a",)}})
    assert "no cell gone" in lesson_sentences.missing("x", notebook)[0]


def test_fix_mends_what_running_leaves_behind(tmp_path, capsys):
    notebook = good_notebook()
    for spoil in (with_output, with_count, with_widget_state, with_cell_noise, with_written_hyphen):
        spoil(notebook)
    path = tmp_path / "lesson.ipynb"
    nbformat.write(notebook, path)

    assert notebook_rules.main([str(path)]) == 1
    assert str(path) in capsys.readouterr().out
    assert notebook_rules.main(["--fix", str(path)]) == 0
    assert notebook_rules.main([str(path)]) == 0


def test_fix_leaves_a_solution_folded():
    notebook = good_notebook()
    notebook.cells[1].metadata |= {"tags": ["solution"], "jupyter": {"source_hidden": True}}
    notebook_rules.clean(notebook)
    assert notebook.cells[1].metadata["jupyter"] == {"source_hidden": True}
    assert notebook_rules.problems(notebook) == []


def test_run_reports_a_failing_cell(write_notebook):
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        run(write_notebook("bad.ipynb", "1 / 0"))


def test_run_reports_a_promised_error_that_does_not_come(write_notebook):
    path = write_notebook("tame.ipynb", "1 / 1", raises=("1 / 1",))
    with pytest.raises(AssertionError, match="was meant to raise"):
        run(path)


def test_run_accepts_a_promised_error_and_reports_what_goes_to_stderr(write_notebook):
    python, c = (
        "import warnings; warnings.warn('careful')",
        "import os; os.write(2, b'careful\\n');",
    )
    warnings = run(write_notebook("warns.ipynb", python, c, "1 / 0", raises=("1 / 0",))).warnings
    assert len(warnings) == 2
    assert all("careful" in warning for warning in warnings)
