"""The set-up files agree: pyproject.toml, constraints.txt, environment.yml, Makefile, README."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from gan_lessons.classroom.lessons import LAB_SETTINGS

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
CORE = [Requirement(line) for line in PROJECT["dependencies"]]


def required(*extras: str) -> list[Requirement]:
    """What the extras add to torch; an extra may include another one, as `gan-lessons[that]`."""
    lines = dict.fromkeys(line for extra in extras for line in EXTRAS[extra])
    ours = [line for line in lines if line.startswith("gan-lessons[")]
    included = [line[len("gan-lessons[") : -1] for line in ours]
    more = required(*included) if included else []
    return more + [Requirement(line) for line in lines if line not in ours]


FOR_LEARNERS = CORE + required("lab", "slides")
ALL = CORE + required("lab", "slides", "deck", "test")

# Where conda-forge calls a package by another name than PyPI.
CONDA_NAMES = {
    "torch": "pytorch-cpu",
    "graphviz": "python-graphviz",
    "matplotlib": "matplotlib-base",
}
# The package itself, installed by pip into the conda environment, brings these along.
LEFT_TO_PIP = {"torchviz", "pygraphviz", "pyreveal", "latex2mathml"}
REASONS = "docs/dependencies.md"
DOCS = list((ROOT / "docs").glob("*.md"))
ONLY_CONDA = {"python", "pip", "graphviz"}


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@cache
def pins() -> dict[str, str]:
    lines = [line for line in read("constraints.txt").splitlines() if line and line[0] != "#"]
    found = [line.split("==") for line in lines]
    assert all(len(parts) == 2 for parts in found), "every line reads name==version"
    return {canonicalize_name(name): version for name, version in found}


def conda_requirements() -> dict[str, Requirement]:
    entries = yaml.safe_load(read("environment.yml"))["dependencies"]
    found = [Requirement(entry) for entry in entries if isinstance(entry, str)]
    return {requirement.name: requirement for requirement in found}


def name_of(requirement: Requirement) -> str:
    return canonicalize_name(requirement.name)


@pytest.mark.parametrize("requirement", ALL, ids=name_of)
def test_pin_lies_in_the_range(requirement):
    assert requirement.specifier.contains(pins()[name_of(requirement)])


def test_torch_is_pinned_for_every_kind_of_build():
    assert pins()["torch"] == "2.13.0"


def test_no_pin_names_a_build():
    assert [line for line in pins().values() if "+" in line] == []


def test_every_pin_holds_for_our_oldest_python():
    """Debian 12 has Python 3.11.2; a pin that wants 3.11.5 would fail after minutes."""
    oldest = re.fullmatch(r">=(\d+\.\d+)", PROJECT["requires-python"])
    assert oldest
    asked = {name: wanted for name in pins() if (wanted := wanted_python(name))}
    assert len(asked) > 100
    assert {n: w for n, w in asked.items() if not SpecifierSet(w).contains(f"{oldest[1]}.0")} == {}


def wanted_python(name: str) -> str | None:
    """What the pinned version of an installed package says; another version says nothing."""
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:  # of another system
        return None
    return found.metadata["Requires-Python"] if found.version == pins()[name] else None


def test_everything_that_is_installed_for_us_is_pinned():
    """Walks the installed packages from ours on: a new indirect dependency needs its pin. One that
    stands here in another version than is pinned says nothing of ours."""
    waiting = [(requirement, frozenset(requirement.extras)) for requirement in ALL]
    seen = set()
    while waiting:
        requirement, extras = waiting.pop()
        key = (name_of(requirement), extras)
        if key in seen or not applies(requirement.marker, frozenset()):
            continue
        seen.add(key)
        for line in requires_of_the_pinned(requirement.name):
            child = Requirement(line)
            if applies(child.marker, extras):
                waiting.append((child, frozenset(child.extras)))
    # CUDA builds of torch bring their libraries, which a CPU build has not.
    names = {name for name, _ in seen if not name.startswith(("nvidia-", "cuda-", "triton"))}
    assert names - set(pins()) == set()
    assert len(names) > len(ALL)


def requires_of_the_pinned(name: str) -> list[str]:
    installed = Version(metadata.version(name)).public  # torch's has its kind of build behind it
    pin = pins().get(canonicalize_name(name), installed)
    return (metadata.requires(name) or []) if pin == installed else []


def applies(marker: Marker | None, extras: frozenset[str]) -> bool:
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ["", *extras])


@pytest.mark.parametrize("requirement", FOR_LEARNERS, ids=name_of)
def test_conda_has_the_same_range(requirement):
    name = name_of(requirement)
    if name in LEFT_TO_PIP:
        return
    assert conda_requirements()[CONDA_NAMES.get(name, name)].specifier == requirement.specifier


def test_conda_has_nothing_else():
    ours = {name_of(requirement) for requirement in FOR_LEARNERS} - LEFT_TO_PIP
    expected = {CONDA_NAMES.get(name, name) for name in ours} | ONLY_CONDA
    assert set(conda_requirements()) == expected


def test_conda_installs_the_package_and_its_python_fits():
    entries = yaml.safe_load(read("environment.yml"))["dependencies"]
    assert {"pip": ["-e .[slides]"]} in entries
    python = conda_requirements()["python"]
    assert str(python.specifier) == PROJECT["requires-python"]


@pytest.mark.parametrize("requirement", ALL, ids=name_of)
def test_the_docs_say_what_each_dependency_is_for(requirement):
    name = name_of(requirement)
    rows = re.findall(rf"^\| `{re.escape(name)}` \| (.+?) \| (.+) \|$", read(REASONS), re.M)
    assert len(rows) == 1, f"{REASONS} has {len(rows)} rows for {name}, expected one"
    needed_for = rows[0][0].strip("`")
    expected = next(
        (
            extra
            for extra, lines in EXTRAS.items()
            if name in {canonicalize_name(Requirement(line).name) for line in lines}
        ),
        "core",
    )
    assert needed_for == expected


def test_the_docs_name_no_other_dependency():
    rows = re.findall(r"^\| `([\w-]+)` \|", read(REASONS), re.M)
    assert sorted(rows) == sorted(name_of(requirement) for requirement in ALL)


@pytest.mark.parametrize("page", ["README.md", *sorted(f"docs/{p.name}" for p in DOCS)])
def test_links_of_a_page_exist(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", read(page))
    folder = (ROOT / page).parent
    assert [link for link in links if not (folder / link).exists()] == []


def test_the_readme_leads_to_every_page_and_stays_short():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", read("README.md"))
    assert {f"docs/{page.name}" for page in DOCS} <= set(links)
    assert len(read("README.md").splitlines()) < 120


def test_readme_lists_every_lesson():
    linked = re.findall(r"\]\(notebooks/([^)]+\.ipynb)\)", read("README.md"))
    assert linked == sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))


def test_makefile_installs_torch_first_and_alone():
    done = make("--always-make", "--dry-run", "test", "TORCH_INDEX=https://index.invalid/cpu")
    assert done.returncode == 0, done.stderr
    installs = re.findall(r"pip install (.+)", done.stdout.replace("\\\n", ""))
    first, second = (" ".join(line.split()) for line in installs)
    assert first.startswith("--no-deps -c constraints.txt")
    assert first.endswith(f"torch=={pins()['torch']}")
    assert '--index-url "https://index.invalid/cpu"' in first
    assert second.startswith("--progress-bar off -c constraints.txt")
    assert second.split(" >")[0].endswith('--no-compile -e ".[lab,slides,deck,test]"')


@pytest.mark.parametrize("fails", ["none", "ruff", "mypy", "pytest"])
def test_make_test_runs_every_check_and_fails_if_one_does(tmp_path, fails):
    copy_makefile(tmp_path)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    for stamp in (".created", ".torch", ".test"):
        (tmp_path / ".venv" / stamp).touch()
    python.write_text(f'#!/bin/sh\n[ $1 != -m ] || (shift; echo "said $@"; [ $1 != {fails} ])\n')
    python.chmod(0o755)
    done = make("test", cwd=tmp_path)
    assert (done.returncode == 0) == (fails == "none")
    said = re.findall(r"^said (.+)", done.stdout, re.M)
    ran = ["ruff check .", "ruff format --check .", "pytest -n auto --dist loadfile", "mypy"]
    assert said == ran[: 1 if fails == "ruff" else None]


def test_make_present_reads_our_settings_and_writes_none_of_the_users():
    done = make("--dry-run", "present", "ARGS=--port 8899")
    assert done.returncode == 0, done.stderr
    told = dict(re.findall(r'(JUPYTER\w+)="([^"]+)"', done.stdout))
    config, _, users = told.pop("JUPYTER_CONFIG_PATH").partition("$")
    assert (Path(config) / "labconfig" / "default_setting_overrides.json").is_file()
    assert users == "{JUPYTER_CONFIG_PATH:+:$JUPYTER_CONFIG_PATH}"
    assert set(told) == {"JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR"}
    assert all(Path(folder).is_relative_to(ROOT / ".venv") for folder in told.values())
    assert "--port 8899 notebooks" in done.stdout


def test_make_says_when_python_is_too_old(tmp_path):
    copy_makefile(tmp_path)
    old = tmp_path / "python-old"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.1 && exit 0\nexit 1\n')
    old.chmod(0o755)
    done = make("lab", f"PYTHON={old}", cwd=tmp_path)
    assert done.returncode != 0
    assert "Python 3.9.1 is too old, 3.11 or newer is needed" in done.stderr


def test_make_says_when_there_is_no_python(tmp_path):
    copy_makefile(tmp_path)
    done = make("lab", "PYTHON=no-such-python", cwd=tmp_path)
    assert done.returncode != 0
    assert "'no-such-python' was not found" in done.stderr


def test_a_failed_installation_leaves_no_stamp_and_says_what_to_do(tmp_path):
    copy_makefile(tmp_path)
    venv = tmp_path / ".venv"
    python = venv / "bin" / "python"
    python.parent.mkdir(parents=True)
    (venv / ".created").touch()
    fails = "[ \"$2\" = pip ] || exit 0\necho 'ERROR: No space left on device' >&2\nexit 1\n"
    python.write_text("#!/bin/sh\n" + fails)
    python.chmod(0o755)
    done = make("lab", cwd=tmp_path)
    assert done.returncode != 0
    assert "The installation did not finish" in done.stderr
    assert not (venv / ".torch").exists()

    python.write_text("#!/bin/sh\nexit 0\n")  # the network is back
    assert make("lab", cwd=tmp_path).returncode == 0
    assert (venv / ".torch").exists()
    again = make("--dry-run", "lab", cwd=tmp_path)
    assert "pip install" not in again.stdout


def test_make_lab_opens_the_first_lesson_and_installs_what_lessons_use():
    done = make("--always-make", "--dry-run", "lab", "ARGS=--no-browser")
    assert re.findall(r'-e "\.\[(.+?)\]"', done.stdout) == ["lab"]
    opens = done.stdout.splitlines()[-1]
    assert opens.endswith(
        "--no-browser notebooks --LabApp.default_url=/lab/tree/00-start-here.ipynb"
    )
    config, _, users = re.findall(r'JUPYTER_CONFIG_PATH="([^"]+)"', done.stdout)[0].partition("$")
    assert Path(config) == LAB_SETTINGS
    assert users == "{JUPYTER_CONFIG_PATH:+:$JUPYTER_CONFIG_PATH}"


@pytest.fixture
def installed_clone(tmp_path):
    """A clone with the parts of its .venv in which the folder is written."""
    clone = tmp_path / "my clone 课程"
    clone.mkdir()
    copy_makefile(clone)
    binaries, library = clone / ".venv" / "bin", clone / ".venv" / "lib/python3.11/site-packages"
    for folder in (binaries, library):
        folder.mkdir(parents=True)
    (binaries / "python").symlink_to(sys.executable)
    (library / "_editable_impl_gan_lessons.pth").write_text(f"{clone}\n{clone}")
    quotes = "'" * 3  # as pip writes a script where a path has a space in it
    script = [
        "#!/bin/sh",
        f'{quotes}exec\' "{clone}/.venv/bin/python" "$0" "$@"',
        f"' {quotes}",
        "print('ran')",
    ]
    (binaries / "gan-lessons").write_text("\n".join(script))
    (binaries / "gan-lessons").chmod(0o755)
    for stamp in (".created", ".torch", ".lab"):
        (clone / ".venv" / stamp).touch()
    return clone


@pytest.mark.parametrize("how", ["moved", "copied"])
def test_a_clone_that_was_moved_is_mended(installed_clone, tmp_path, how):
    new = tmp_path / "elsewhere"
    if how == "moved":
        installed_clone.rename(new)
    else:
        shutil.copytree(installed_clone, new, symlinks=True)
    said = make("usable", cwd=new).stdout
    assert f"This clone was at {installed_clone}. Its .venv follows to {new}." in said
    assert (
        new / ".venv/lib/python3.11/site-packages/_editable_impl_gan_lessons.pth"
    ).read_text() == f"{new}\n{new}"
    script = new / ".venv/bin/gan-lessons"
    ran = subprocess.run([script], capture_output=True, text=True, check=True)
    assert ran.stdout == "ran\n"
    assert "follows" not in make("usable", cwd=new).stdout


def test_a_python_that_is_gone_is_told(installed_clone):
    python = installed_clone / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("no-such-python")
    done = make("lab", cwd=installed_clone)
    assert done.returncode != 0
    assert "the Python that it was made with is gone. Type 'make clean'" in done.stderr


@pytest.mark.parametrize(
    ("closed", "said"), [(".", "You may not read or write"), (".venv", "You may not write")]
)
def test_a_clone_of_another_user_is_told_in_a_sentence(closed, said):
    with tempfile.TemporaryDirectory() as name:
        clone = Path(name)
        copy_makefile(clone)
        (clone / ".venv").mkdir()
        for folder in (clone, clone / ".venv"):
            folder.chmod(0o777)
        (clone / closed).chmod(0o555)
        done = subprocess.run(
            ["sh", "tools/usable.sh"], cwd=clone, capture_output=True, text=True, check=False,
            user=65534 if os.geteuid() == 0 else None,  # root may write everywhere
        )  # fmt: skip
        (clone / closed).chmod(0o777)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{said} ")
    assert name in done.stderr


def test_make_clean_needs_nothing_to_be_there(tmp_path):
    copy_makefile(tmp_path)
    (tmp_path / "deep" / "__pycache__").mkdir(parents=True)
    assert make("clean", cwd=tmp_path).returncode == 0
    assert not (tmp_path / "deep" / "__pycache__").exists()


def test_ci_calls_the_readmes_test_command():
    commands = re.findall(r"^(make \w+)", read("README.md").split("```sh\n")[1], re.M)
    assert commands == ["make lab", "make test"]
    lines = [line for line in read(".ci/run").splitlines() if "make" in line]
    assert lines == ["make .venv/.test", "make test"]  # the first is what the second begins with
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def copy_makefile(folder: Path) -> None:
    for name in ("notebooks", "tools"):
        (folder / name).mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    for name in ("usable.sh", "moved_clone.py"):
        shutil.copy(ROOT / "tools" / name, folder / "tools")


def make(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    # A `make test` around this test must not hand its own flags and variables down.
    outer = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES"}
    environment = {name: value for name, value in os.environ.items() if name not in outer}
    return subprocess.run(
        ["make", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


# What runs on GitHub alone: it cannot be tried here, so its parts are looked at one by one.
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def steps(workflow: Path) -> list[dict[str, str]]:
    jobs = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_names_what_there_is(workflow):
    commands = "\n".join(step["run"] for step in steps(workflow) if "run" in step)
    checked = subprocess.run(["bash", "-n"], input=commands, text=True, capture_output=True)
    assert checked.stderr == ""
    for target in re.findall(r"\bmake (\w+)", commands):
        assert re.search(rf"^{target}:", read("Makefile"), re.M), target
    for path in re.findall(r"\b(?:tests|docs|tools)/[\w./]+", commands):
        assert (ROOT / path).exists(), path
    for extra in re.findall(r'"\.\[([\w,]+)\]"', commands):
        assert set(extra.split(",")) <= EXTRAS.keys()
    assert all(
        re.fullmatch(r"actions/[\w-]+@v\d+", s["uses"]) for s in steps(workflow) if "uses" in s
    )


def test_a_release_writes_its_addresses_before_it_builds_the_wheel():
    (workflow,) = (path for path in WORKFLOWS if path.stem == "release")
    ran = [step.get("run", "") for step in steps(workflow)]
    assert ran.index("python tools/project_urls.py") < next(
        number for number, run in enumerate(ran) if "pip wheel" in run
    )


def test_a_workflow_runs_the_floor_of_torch_and_the_newest():
    jobs = yaml.safe_load(read(".github/workflows/torch.yml"))["jobs"]
    tried = [row["torch"] for row in jobs["core"]["strategy"]["matrix"]["include"]]
    floor = re.search(r">=([\d.]+)", PROJECT["dependencies"][0])
    assert floor
    assert tried == [f"torch=={floor[1]}.0", "torch"]
