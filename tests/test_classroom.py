"""Charts, verdicts and the check of the environment."""

import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace
from typing import Any

import ipywidgets
import numpy as np
import pytest
import torch
from packaging.requirements import Requirement

from gan_lessons import record, step_detach, step_retain_graph, tiny_gan
from gan_lessons.classroom import (
    Together,
    check_environment,
    environment,
    explore,
    figures,
    ready,
    verdict,
)
from gan_lessons.lens.model import Record


def recorded(step: Any = step_retain_graph) -> Record:
    gan = tiny_gan(seed=0)
    with record(gan.nets, gan.optimizers) as rec:
        step(gan, torch.zeros(4, 2), torch.ones(4, 2))
    return rec


# Charts ---------------------------------------------------------------------------------------


def test_a_chart_is_a_picture_and_words() -> None:
    chart = figures.image_grid(torch.zeros(5, 1, 8, 8), 'A "title"')
    bundle = chart._repr_mimebundle_()
    assert bundle["text/plain"] == '5 images. A "title"'
    assert 'alt="5 images. A &quot;title&quot;"' in bundle["text/html"]
    assert "data:image/svg+xml;base64," in bundle["text/html"]
    assert chart.svg.count("<svg") == 1


def test_no_chart_goes_through_pyplot() -> None:
    script = (
        "import sys, torch; from gan_lessons.classroom import figures as f;"
        "f.image_grid(torch.zeros(2, 1, 4, 4)).svg; f.spread({'a': [1.0]}, 'y').svg;"
        "f.curves([0, 1], {'a': [0, 1]}, 'x', 'y').svg;"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize("shape", [(0, 1, 8, 8), (3, 8, 8), (3, 3, 8, 8)])
def test_image_grid_refuses_what_is_no_gray_image(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected"):
        figures.image_grid(torch.zeros(shape))


def test_image_grid_shows_each_image_once_in_order() -> None:
    images = torch.arange(5.0).div(5).view(5, 1, 1, 1).expand(5, 1, 2, 2)
    (picture,) = figures.image_grid(images, columns=3).figure.axes[0].get_images()
    pixels = torch.as_tensor(picture.get_array())
    assert pixels.shape == (8, 12)  # two rows of three, 2 x 2 pixels with a border of 1
    shown = [float(pixels[r + 1, c + 1]) for r in (0, 4) for c in (0, 4, 8)]
    assert shown == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8, 0.0])


@pytest.mark.parametrize("step", [step_retain_graph, step_detach])
def test_held_bytes_are_those_of_the_record(step: Any) -> None:
    rec = recorded(step)
    chart = figures.held_bytes(rec)
    axes = chart.figure.axes[0]
    sizes = [e.held.activations for e in rec.events]
    assert [p.get_width() for p in axes.containers[0]] == [size / 1024 for size in sizes]
    assert [text.get_text() for text in axes.texts] == [f"peak: {max(sizes) / 1024:,.1f} KiB"]
    for event in rec.events:
        two = event.kind == "forward" and event.line.text.count("D(") > 1
        line = event.line.expression if two else event.line.code[:20]
        assert f"{event.index}  {line}" in chart.text


def test_held_bytes_marks_what_it_shortens() -> None:
    gan = tiny_gan(seed=0)
    with record({"D": gan.discriminator}) as rec:
        rather_long_name_for_the_points_of_the_batch = torch.zeros(4, 2)
        gan.discriminator(rather_long_name_for_the_points_of_the_batch)
    label = figures.held_bytes(rec).figure.axes[0].get_yticklabels()[0].get_text()
    assert label == "0  gan.discriminator(rather_long_name_for_the_…"


def test_held_bytes_says_when_nothing_could_be_counted() -> None:
    gan = tiny_gan(seed=0)
    hooks = torch.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: x)
    with record({"D": gan.discriminator}) as rec, hooks:
        gan.discriminator(torch.zeros(4, 2))
    with pytest.raises(ValueError, match="no bytes"):
        figures.held_bytes(rec)


def test_spread_tells_range_and_median() -> None:
    chart = figures.spread({"a": [3.0, 1.0, 2.0], "b": [5.0]}, "cosine", right=1.0)
    assert "a: from 1.00 to 3.00, median 2.00" in chart.text
    assert "b: from 5.00 to 5.00, median 5.00" in chart.text
    points: list[Any] = [line.get_ydata() for line in chart.figure.axes[0].lines[:2]]
    assert [list(values) for values in points] == [[3.0, 1.0, 2.0], [5.0]]


def test_curves_have_dashes_as_well_as_colours() -> None:
    chart = figures.curves([0, 1], {"up": [0, 2], "down": [0, -2]}, "x", "y", mark=(0.5, "half"))
    lines = chart.figure.axes[0].lines[:2]
    assert len({line.get_linestyle() for line in lines}) == 2
    assert "up: 0 → 2" in chart.text
    assert [t.get_text() for t in chart.figure.axes[0].texts] == ["half"]


def test_curves_draw_dots_over_the_lines_and_say_where() -> None:
    chart = figures.curves([0, 1], {"up": [0, 2]}, "x", "y", dots={"counted": [(0, 0), (1, 2)]})
    dots = next(line for line in chart.figure.axes[0].lines if line.get_label() == "counted")
    assert dots.get_linestyle() == "None"
    assert np.asarray(dots.get_xydata()).tolist() == [[0, 0], [1, 2]]
    assert "counted: 0: 0, 1: 2" in chart.text


# Verdicts -------------------------------------------------------------------------------------


def test_a_verdict_shows_claim_measure_and_evidence() -> None:
    right, wrong = verdict("C1", True, "0 < 1"), verdict("C1", torch.tensor(False), "<b>")
    assert "detach() cuts the gradient: nothing before that tensor receives any." in str(right)
    assert "✓ holds: 0 < 1" in str(right)
    assert "✗ does not hold" in str(wrong)
    assert "&lt;b&gt;" in wrong._repr_html_()


@pytest.mark.parametrize("value", [None, "yes", 1, 0.0])
def test_a_verdict_needs_a_truth_value(value: Any) -> None:
    with pytest.raises(TypeError, match="True or False"):
        verdict("C1", value, "")


def test_an_unknown_claim_names_the_known() -> None:
    with pytest.raises(KeyError, match="C1, C2"):
        verdict("C99", True, "")


# The environment ------------------------------------------------------------------------------


def test_everything_is_found_here() -> None:
    found = check_environment()
    assert found.ready
    assert found.summary == "Everything is here."
    assert {part.found for part in found.parts if part.name == "torch"} == {torch.__version__}


def test_what_is_missing_is_named_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "scikit-learn":
            raise PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(environment, "version", version)
    monkeypatch.setattr(environment, "graphviz_available", lambda: False)
    monkeypatch.setattr(environment, "OLDEST_PYTHON", (99, 0))
    found = check_environment()
    assert not found.ready
    assert found.summary == "Missing: Python, scikit-learn, Graphviz. The table says how to get it."
    assert "%pip install scikit-learn" in repr(found)
    assert "%pip install pygraphviz" in found._repr_html_()
    assert "99.0" in repr(found)


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A machine with a few packages, and a pip that brings any other one at its first version."""
    here = {"gan-lessons": "0.1.0", "torch": "2.8.0+cu126", "ipywidgets": "7.6.0", "tqdm": "4.70"}
    asks = {
        "gan-lessons": ["torch>=2.8,<3", "gan-lessons[draw]; extra == 'lessons'",
                        "torchviz<1; extra == 'draw'", "ipywidgets>=7.7.1,<9; extra == 'lessons'",
                        "anywidget>=0.9; extra == 'lessons'", "pytest; extra == 'test'"],
        "anywidget": ["ipywidgets>=8", "psygnal", "watchfiles; extra == 'dev'"],
    }  # fmt: skip
    calls: list[list[str]] = []

    def run(command: list[str], check: bool) -> SimpleNamespace:
        calls.append([part for part in command[2:] if part != "pip"])
        here.update((Requirement(part).name, "1") for part in command[6:])
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(environment, "_version", here.get)
    monkeypatch.setattr(environment, "_requires", lambda name: asks.get(name, ()))
    monkeypatch.setattr(environment.subprocess, "run", run)
    return SimpleNamespace(here=here, calls=calls, asks=asks)


def test_what_is_missing_is_installed_and_nothing_else_is_changed(
    pip: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    before = dict(pip.here)
    ready(install=True)
    options = ["install", "--quiet", "--no-deps"]
    assert pip.calls == [[*options, "torchviz<1", "anywidget>=0.9"], [*options, "psygnal"]]
    assert pip.here == before | dict.fromkeys(("torchviz", "anywidget", "psygnal"), "1")
    said = capsys.readouterr().out
    assert "ipywidgets 7.6.0 is installed here, and the lessons were made for ipywidgets" in said
    assert "was left as it is" in said
    asked = re.findall(r'%pip install "ipywidgets(.+)"', said)
    assert [set(ranges.split(",")) for ranges in asked] == [{">=7.7.1", "<9"}]
    assert "torch 2.8" not in said  # it fits, its build tag notwithstanding


def test_without_the_word_nothing_is_installed(
    pip: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    ready()
    assert pip.calls == []
    assert capsys.readouterr().out.startswith("Missing: torchviz, ")


def test_an_installation_that_fails_is_not_tried_again(
    pip: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        environment.subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=1)
    )
    ready(install=True)
    assert capsys.readouterr().out.startswith("Missing: torchviz, ")


def test_a_page_follows_the_toggle_with_the_widgets_of_colab(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """ipywidgets 7 has no Stack: the kernel shows the page of the chosen strategy."""
    monkeypatch.delattr(ipywidgets, "Stack")
    both = Together(explore("detach", "retain_graph"), cost={"detach": "S2", "retain_graph": "S1"})
    page = both.children[2]
    assert page.value == "<p>S2</p>"
    both.toggle.index = 1
    assert page.value == "<p>S1</p>"
