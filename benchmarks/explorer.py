"""How fast the explorer is: its making, its size, a step and a toggle in a browser.

    python benchmarks/explorer.py [--quick]

Ratios are taken within one run, from interleaved repetitions; times depend on the machine. Of the
making, the time of the processor stands beside that of the clock: others may use the machine.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

from explorer_page import ExplorerPage
from lab_browser import CHROMIUM_FLAGS, find_chromium
from playwright.sync_api import Page, sync_playwright

from gan_lessons import data, dcgan, record_step, step_detach
from gan_lessons.classroom import StrategyExplorer, explore

# From the input to the frame after the one in which it is painted.
_TIMED = """
(section, act) => new Promise(resolve => {
    const start = performance.now();
    act === 'toggle'
        ? section.querySelector('.strategies [aria-pressed=false]').click()
        : section.querySelector('.transport .next').click();
    requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - start)));
})
"""


# In a process of its own, after ``import torch``: what torch loads with the first optimizer of any
# script, and what the first explorer takes beyond that.
_FIRST = """
import json, time
import torch
torch.set_num_threads(1)
def timed(call):
    clock, processor = time.perf_counter(), time.process_time()
    call()
    return [time.perf_counter() - clock, time.process_time() - processor]
def explorer():
    from gan_lessons.classroom import explore
    explore()
optimizer = timed(lambda: torch.optim.SGD([torch.zeros(1)], lr=1.0))
print(json.dumps([optimizer, timed(explorer)]))
"""


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def processor_seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def making(repeat: int) -> StrategyExplorer:
    print("explore(), three strategies on the tiny GAN")
    runs = [json.loads(subprocess.check_output([sys.executable, "-c", _FIRST])) for _ in range(3)]
    for i, name in enumerate(("torch's own, with the first optimizer", "first explore() after it")):
        clock, processor = (_spread([run[i][k] for run in runs]) for k in (0, 1))
        print(f"  {name}: {clock}; of the processor {processor}")
    explore()
    times = [seconds(explore) for _ in range(repeat)]
    processor = _spread([processor_seconds(explore) for _ in range(repeat)])
    print(f"  then {_spread(times)}; of the processor {processor}")
    print(f"  without what-ifs {_spread([seconds(plain) for _ in range(repeat)])}")
    shown = explore()
    size = len(json.dumps(shown.data))
    print(
        f"  embedded JSON {size / 1000:.0f} kB, whole fragment {len(shown.to_html()) / 1000:.0f} kB"
    )
    return shown


def plain() -> StrategyExplorer:
    return explore(what_if=False)


def _spread(times: list[float], unit: float = 1.0, name: str = "s") -> str:
    low, middle, high = min(times), statistics.median(times), max(times)
    return f"{middle * unit:.3g} {name} ({low * unit:.3g} to {high * unit:.3g})"


def recording(repeat: int) -> None:
    """record_step against the plain step on a DCGAN pair, batch 8."""
    gan = dcgan(size=64, width=32)
    real, noise = data.noise(8, (3, 64, 64), seed=0), data.noise(8, (100,), seed=1)
    ratios = []
    for _ in range(repeat):
        mine, theirs = copy.deepcopy(gan), copy.deepcopy(gan)
        bare = seconds(partial(step_detach, theirs, real, noise))
        watched = seconds(partial(record_step, step_detach, mine, real, noise))
        ratios.append(watched / bare)
    print(
        f"record_step / plain step, DCGAN 64x64, width 32, batch 8: {_spread(ratios, name='times')}"
    )


def browsing(shown: StrategyExplorer, repeat: int) -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder, "page.html")
        path.write_text(f"<!doctype html><meta charset=utf-8>{shown.to_html()}", encoding="utf-8")
        executable = find_chromium()
        if executable is None:
            print("no Chromium here: steps and toggles were not timed")
            return
        browser = playwright.chromium.launch(executable_path=executable, args=list(CHROMIUM_FLAGS))
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        page.goto(path.as_uri())
        for act in ("step", "toggle"):
            times = [_timed(page, act) for _ in range(repeat)]
            last = sorted(times)[int(0.95 * (len(times) - 1))]
            told = _spread(times, name="ms")
            print(f"{act} in Chromium, input to painted: {told}, p95 {last:.1f} ms")
        browser.close()


def _timed(page: Page, act: str) -> float:
    explorer = ExplorerPage(page.locator("section.explorer"))
    shown = explorer.shown()
    index, count = shown.count.split(" of ")
    if act == "step" and index == count:
        explorer.press("Home")
    return float(explorer.section.evaluate(_TIMED, act))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few repetitions, to see it work")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    shown = making(2 if quick else 10)
    recording(2 if quick else 15)
    browsing(shown, 10 if quick else 200)


if __name__ == "__main__":
    main()
