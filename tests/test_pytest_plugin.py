"""The fixture ``recorded``, in a test run of somebody else's."""

import subprocess
import sys
import tomllib

import gan_lessons_pytest

pytest_plugins = "pytester"
LOOPS = """
from torch import nn, optim, randn
import pytest

def loop(clear_d):
    G, D = nn.Linear(2, 3), nn.Linear(3, 1)
    opt_g, opt_d = optim.Adam(G.parameters()), optim.Adam(D.parameters())
    for _ in range(2):
        yield {"G": G, "D": D}, {"G": opt_g, "D": opt_d}
        fake = G(randn(8, 2))
        if clear_d:
            opt_d.zero_grad()
        (D(fake.detach()) - D(randn(8, 3))).mean().backward()
        opt_d.step()
        opt_g.zero_grad()
        (-D(fake)).mean().backward()
        opt_g.step()

def run(recorded, clear_d, **options):
    with recorded(*next(loop(clear_d)), **options) as rec:
        pass
    iterations = loop(clear_d)
    with recorded(*next(iterations), **options) as rec:
        list(iterations)
    return rec

def test_right(recorded):
    assert len(run(recorded, True).backward_calls) == 4

def test_wrong(recorded):
    run(recorded, False)

def test_allowed(recorded):
    run(recorded, False, allow={"polluted": "wanted here"})

def test_no_reason(recorded):
    with pytest.raises(TypeError, match="expected a dict of codes with the reason of each"):
        run(recorded, True, allow={"polluted": ""})

def test_finds_its_nets(recorded):
    G, D = nn.Linear(2, 3), nn.Linear(3, 1)
    opt_d = optim.Adam(D.parameters())
    with recorded() as rec:
        D(G(randn(8, 2)).detach()).mean().backward()
        opt_d.step()
    assert rec.holds == {"opt_d": {"D": ("weight", "bias")}}

def test_own_error(recorded):
    with pytest.raises(ZeroDivisionError), recorded({"G": nn.Linear(1, 1)}):
        1 / 0
"""


def test_a_loop_on_a_wrong_gradient_fails_with_the_diagnosis(pytester):
    pytester.makepyfile(LOOPS)
    done = pytester.runpytest("-p", gan_lessons_pytest.__name__, "-p", "no:cacheprovider")
    done.assert_outcomes(passed=5, failed=1)
    done.stdout.fnmatch_lines(["*wrong gradient: polluted (D)*", "FAILED *::test_wrong*"])


def test_the_entry_point_names_a_module_that_brings_no_torch(root):
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    (name,) = project["project"]["entry-points"]["pytest11"].values()
    assert f"{name}.py" in project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    code = f"import sys, {name}; print([m for m in ('torch', 'gan_lessons') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
