"""Write anew what the tests of ``diagnose`` make it say: ``python -m tests.said [FILE ...]``."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Generator, Sequence

import pytest

from tests import said
from tests import test_loops_together as loops
from tests.loops import LOOPS


class Writing:
    """A plugin for pytest: what each test said."""

    def __init__(self) -> None:
        self.said = defaultdict[str, dict[str, str]](dict)

    @pytest.hookimpl(wrapper=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> Generator[None, object, object]:
        with said.noted() as made:
            result = yield
        if made:
            self.said[pyfuncitem.path.stem][pyfuncitem.name] = said.whole(made)
        return result


def main(files: Sequence[str]) -> None:
    if loops.SOONER in files:
        said.written(loops.SOONER, {one.name: loops.told_after_each(one) for one in LOOPS})
        print(f"{loops.SOONER}: {len(LOOPS)} loops")
    files = [file for file in files if file != loops.SOONER]
    plugin, said.ANEW = Writing(), True
    tests = [f"tests/{file}.py" for file in files]
    if tests and pytest.main(["-q", "-n", "0", *tests], [plugin]):
        sys.exit("a test failed: nothing is written")
    for file in files:
        said.written(file, plugin.said[file])
        print(f"{file}: {len(plugin.said[file])} tests")


if __name__ == "__main__":
    main(sys.argv[1:] or [*said.FILES, loops.SOONER])
