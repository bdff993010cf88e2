"""The package as it is when it was installed from a wheel, among other libraries."""

import shutil
import subprocess
import sys
import textwrap

import pytest


@pytest.fixture(scope="module")
def installed(tmp_path_factory, root):
    """A folder named like pip's, with a copy of the package in it."""
    folder = tmp_path_factory.mktemp("python") / "site-packages"
    shutil.copytree(root / "gan_lessons", folder / "gan_lessons")
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
