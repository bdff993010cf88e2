"""The package as it is when it was installed from a wheel, among other libraries."""

import json
import re
import shutil
import subprocess
import sys
import textwrap
import zipfile
from email import message_from_bytes

import nbformat
import project_urls
import pytest
from lab_server import kernel_environment
from nbclient import NotebookClient


@pytest.fixture(scope="module")
def installed(tmp_path_factory, root):
    """A folder named like pip's, with the wheel unpacked in it."""
    folder = tmp_path_factory.mktemp("python") / "site-packages"
    wheel_of(root, folder.parent).extractall(folder)
    return folder


def wheel_of(checkout, folder):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    done = subprocess.run(build, cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    return zipfile.ZipFile(wheel)


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


# Where the project is public -------------------------------------------------------------------

TOLD = {  # as GitHub tells its runs
    "GITHUB_SERVER_URL": "https://git.example",
    "GITHUB_REPOSITORY": "somebody/lessons",
    "GITHUB_REF_NAME": "v0.1.0",
}
HOME = "https://git.example/somebody/lessons"


def metadata_in(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return message_from_bytes(wheel.read(name))


def test_a_released_wheel_says_where_the_project_is(root, tmp_path):
    """A checkout like that of the release workflow, with a stub for the code."""
    for name in ("pyproject.toml", "README.md", "LICENSE", "gan_lessons_pytest.py"):
        shutil.copy(root / name, tmp_path)
    shutil.copytree(root / "notebooks", tmp_path / "notebooks")
    (tmp_path / "gan_lessons").mkdir()
    (tmp_path / "gan_lessons" / "__init__.py").touch()
    project_urls.write_urls(tmp_path, TOLD)
    with wheel_of(tmp_path, tmp_path / "dist") as wheel:
        said = metadata_in(wheel)
        lesson = wheel.read("gan_lessons/notebooks/07-dynamics.ipynb").decode()
    assert dict(line.split(", ") for line in said.get_all("Project-URL")) == {
        "Homepage": HOME,
        "Documentation": f"{HOME}/tree/v0.1.0/docs",
        "Issues": f"{HOME}/issues",
        "Changelog": f"{HOME}/blob/v0.1.0/CHANGELOG.md",
    }
    page = said.get_payload()
    links = re.findall(r'\]\(([^)]+)\)|\bsrc="([^"]+)"', page)
    assert [a or b for a, b in links if not (a or b).startswith(("https:", "#"))] == []
    named = re.findall(rf"{HOME}/(?:blob|raw|tree)/v0.1.0/([^)#\"\s]+)", f"{page} {lesson}")
    assert {"docs/explorer.gif", "docs/dynamics.md", "notebooks/00-start-here.ipynb"} <= {*named}
    assert [path for path in named if not (root / path).exists()] == []


def test_the_lessons_of_a_release_are_the_same_but_for_their_links(root, tmp_path):
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        shutil.copy(path, tmp_path)
        copy = tmp_path / path.name
        project_urls.link_docs(copy, f"{HOME}/blob/v0.1.0")
        linked = re.sub(rf"\[(`[^`]+`)\]\({HOME}/[^)]+\)", r"\1", copy.read_text())
        assert linked == path.read_text()
        assert len(json.loads(copy.read_text())["cells"]) > 10


def test_a_wheel_that_is_built_at_home_names_no_address(root, installed):
    (said,) = installed.glob("*.dist-info/METADATA")
    assert message_from_bytes(said.read_bytes()).get_all("Project-URL") is None


def test_where_nobody_says_the_address_nothing_is_written(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[project.urls]\n")
    with pytest.raises(ValueError, match="GITHUB_SERVER_URL, GITHUB_REF_NAME not set"):
        project_urls.write_urls(tmp_path, {"GITHUB_REPOSITORY": "somebody/lessons"})
    with pytest.raises(ValueError, match="already"):
        project_urls.write_urls(tmp_path, TOLD)
