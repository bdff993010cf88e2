"""The names that other code relies on, and where they come from."""

import importlib.metadata
import importlib.util
from types import ModuleType

import pytest

import gan_lessons


@pytest.mark.parametrize("name", gan_lessons.__all__)
def test_every_public_name_is_there(name):
    home = gan_lessons._LAZY.get(name)
    if name in gan_lessons._MODULES:  # imported when it is asked for
        assert getattr(gan_lessons, name).__name__ == f"gan_lessons.{name}"
    elif home is None:
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
