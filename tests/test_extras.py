"""The core needs torch alone, and says which extra brings the rest."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from collections.abc import Iterable

import pytest

from gan_lessons.extras import EXTRA_OF, installed_for

# A process in which these modules cannot be imported.
BLOCKED = """
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, *args):
        missing = name.partition(".")[0] in MISSING
        return None if missing else self.finder.find_spec(name, *args)

    def __getattr__(self, name):  # importlib.metadata asks finders too
        return getattr(self.finder, name)

sys.meta_path[:] = map(Without, sys.meta_path)
"""


def in_the_core(code: str, missing: Iterable[str] = EXTRA_OF) -> str:
    script = f"MISSING = {set(missing)!r}\n" + BLOCKED + textwrap.dedent(code)
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_core_records_diagnoses_counts_and_prints():
    said = in_the_core(
        """
        from gan_lessons import cost, data, diagnose, mlp_gan, record, record_step, step_detach
        from gan_lessons import draw_graph, tiny_gan, train, watch
        gan = tiny_gan()
        with record(gan.nets, gan.optimizers) as rec:
            step_detach(gan, data.ring(4), data.noise(4, (2,)))
        print(rec, diagnose(rec), cost(step_detach, gan, data.ring(4), data.noise(4, (2,))))
        print(record_step(step_detach, gan, data.ring(4), data.noise(4, (2,))).name)
        print(train.train(gan, data.ring(64), steps=3, batch_size=8, progress=False).d_loss)
        """
    )
    for words in ("backward", "Diagnosis", "FLOPs", "step_detach", "[0."):
        assert words in said


NEEDS = {  # what is asked for -> a module that is missing, and the extra that brings it
    "explore('detach')": ("(IPython|anywidget|traitlets)", "lessons"),
    "draw_graph(tiny_gan().discriminator(data.ring(4)).sum())._repr_html_()": (
        "(torchviz|graphviz)",
        "draw",
    ),
    "data.digits()": ("sklearn", "lessons"),
    "train.train(tiny_gan(), data.ring(8), steps=1, batch_size=4)": ("tqdm", "lessons"),
    "classroom.image_grid(data.noise(2, (1, 4, 4)))": ("matplotlib", "lessons"),
}


def test_what_is_missing_is_told_with_its_extra():
    said = in_the_core(
        f"""
        from gan_lessons import data, draw_graph, tiny_gan, train
        import gan_lessons
        from gan_lessons import classroom
        explore = lambda *a: gan_lessons.explore(*a)
        for code in {[*NEEDS]!r}:
            try:
                eval(code)
            except ImportError as error:
                print(repr(str(error)))
        """
    )
    for (module, extra), told in zip(NEEDS.values(), said.splitlines(), strict=True):
        assert f'pip install "gan-lessons[{extra}]"' in told
        assert re.search(module, told)


def test_all_names_can_be_imported_with_the_core_alone():
    said = in_the_core(
        """
        from gan_lessons import *
        print(record.__name__, diagnose.__name__)
        try:
            explore("detach")
        except ImportError as error:
            print(error)
        """
    )
    assert said.startswith("record diagnose\nexplore needs ")
    assert 'pip install "gan-lessons[lessons]"' in said


def test_exporters_are_there_without_what_only_slides_need():
    """JupyterLab asks every exporter for its name; one that cannot be loaded hides them all."""
    said = in_the_core(
        """
        from gan_lessons.classroom.export import GanPage, GanSlides, mathml
        print(GanSlides.export_from_notebook, GanPage.export_from_notebook)
        try:
            mathml("x")
        except ImportError as error:
            print(error)
        """,
        missing=["latex2mathml", "pyreveal"],
    )
    assert "Slides that need no network A page that needs no network" in said
    assert 'pip install "gan-lessons[slides]"' in said


def test_a_module_that_is_nobodys_extra_is_told_as_python_does():
    expected = re.escape("No module named 'no_such_module'")
    with pytest.raises(ModuleNotFoundError, match=expected), installed_for("this"):
        import no_such_module  # type: ignore[import-not-found]  # noqa: F401
