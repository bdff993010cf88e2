"""The names that other code relies on, and where they come from."""

import importlib.metadata
import importlib.util
import subprocess
import sys
from types import ModuleType

import pytest

import gan_lessons


@pytest.mark.parametrize("name", gan_lessons.__all__)
def test_every_public_name_is_there(name):
    home = gan_lessons._LAZY.get(name)
    if home is None:
        assert name in vars(gan_lessons)
    else:
        assert importlib.util.find_spec(home), f"{name} should come from {home}"
        assert callable(getattr(gan_lessons, name))
    assert name in dir(gan_lessons)


def test_modules_are_modules():
    for name in ("losses", "published", "train"):
        assert isinstance(getattr(gan_lessons, name), ModuleType)
    assert callable(gan_lessons.train.train)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        gan_lessons.no_such_name  # noqa: B018


def test_the_version_is_told():
    assert gan_lessons.__version__ == importlib.metadata.version("gan-lessons")
    assert "__version__" in dir(gan_lessons)
    assert not {"Any", "import_module", "TYPE_CHECKING"} & set(dir(gan_lessons))


SCRIPT = """\
from gan_lessons import cost_all, diagnose, explore, record, tiny_gan

gan = tiny_gan()
with record(gan.nets, optimizer=gan.optimizers) as rec:
    pass
diagnose(record=rec, strictly=True)
explore("detach", what_ifs=True)
reveal_type(cost_all)
"""


def test_a_misspelt_argument_is_found_by_a_type_checker(tmp_path):
    """What is imported late must not be Any for those who check their own script."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "mypy", "--no-incremental", "--follow-imports=silent", script]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    for line, name in ((4, "optimizer"), (6, "strictly"), (7, "what_ifs")):
        assert f'script.py:{line}: error: Unexpected keyword argument "{name}"' in done.stdout
    assert "CostTable" in done.stdout
