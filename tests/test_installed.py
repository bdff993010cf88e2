"""The package as it is when it was installed from a wheel, among other libraries."""

import subprocess
import sys
import textwrap
import zipfile

import nbformat
import pytest
from lab_server import kernel_environment
from nbclient import NotebookClient


@pytest.fixture(scope="module")
def installed(tmp_path_factory, root):
    """A folder named like pip's, with the wheel unpacked in it."""
    folder = tmp_path_factory.mktemp("python") / "site-packages"
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder.parent]
    done = subprocess.run(build, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.parent.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def run(installed, code):
    script = f"import sys; sys.path.insert(0, {str(installed)!r})\n" + textwrap.dedent(code)
    command = [sys.executable, "-P", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=installed)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_record_still_shows_the_lines_of_the_steps(installed):
    """They stand among the libraries then, whose lines are not shown as anybody's training code."""
    said = run(
        installed,
        """
        import gan_lessons
        from gan_lessons import data, record, step_detach, tiny_gan
        assert gan_lessons.__file__.startswith(sys.path[0])
        gan = tiny_gan()
        with record(gan.nets, gan.optimizers) as rec:
            step_detach(gan, data.ring(4), data.noise(4, (2,)))
        print(*[call.source for call in rec.backward_calls], sep="\\n")
        print({event.line.file.rsplit("/", 1)[-1] for event in rec.events})
        """,
    )
    assert said.splitlines()[:2] == ["d_loss.backward()", "g_loss.backward()"]
    assert said.splitlines()[2] == "{'steps.py'}"


def test_the_wheel_has_each_lesson_once_and_no_more(installed, root):
    carried = sorted(path.relative_to(installed).as_posix() for path in installed.rglob("*.ipynb"))
    assert carried == [
        f"gan_lessons/notebooks/{p.name}"
        for p in sorted((root / "notebooks").iterdir())
        if p.suffix == ".ipynb"
    ]


def test_a_lesson_runs_from_the_learners_copy(installed, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(installed))
    mine = tmp_path / "my lessons"
    copy = [sys.executable, "-P", "-m", "gan_lessons", "copy", mine]
    done = subprocess.run(copy, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"The lessons are in {mine}. Begin with 00-start-here.ipynb.\n"
    notebook = nbformat.read(mine / "00-start-here.ipynb", as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell("import gan_lessons; gan_lessons.__file__"))
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(mine)}})
    client.execute(env=kernel_environment(tmp_path))
    assert repr(str(installed / "gan_lessons" / "__init__.py")) in str(notebook.cells[-1].outputs)
