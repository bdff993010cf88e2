"""Names of 10,000 characters, with HTML, quotes, newlines and ``</script>``, through every view.

    python -m tests.stress.names            # in Chromium: nothing of a name may run
    python -m tests.stress.names --keep

Nets, optimizers, parameters, steps, losses and titles carry them. What every view and export gives
is written into pages with no policy, so that nothing but our own escaping stands between a name and
the browser, and opened.
"""

from __future__ import annotations

import linecache
import tempfile
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import Any

import nbformat
import torch
from torch import nn

from gan_lessons import (
    Gan,
    cost_all,
    data,
    diagnose,
    draw_graph,
    explore,
    gains,
    record,
    same,
    terms,
    watch,
)  # fmt: skip
from gan_lessons.classroom.export import GanPage, GanSlides
from gan_lessons.strategies import Strategy
from tests.stress import report

RUNS = "window.ran=(window.ran||0)+1"
PAYLOADS = (
    f'<img src=x onerror="{RUNS}">',
    f"</script><script>{RUNS}</script>",
    f"<!--<script>{RUNS}</script>-->",
    f'"\'><svg onload="{RUNS}">',
    f"]]>\n</title></style></textarea><script>{RUNS}</script>",
    f"\\N{{}}|<b>&lt;img src=x onerror={RUNS}&gt;",
    f"`${{{RUNS}}}`\u2028{{{{ 7 * 7 }}}}{{% x %}}",
    f"javascript:{RUNS}//",
)
LENGTH = 10_000


def name(kind: str, payload: str) -> str:
    """Of one kind, so that names differ; 10,000 characters."""
    return (f"{kind} {payload} " + "x" * LENGTH)[: LENGTH // 2] + (payload * LENGTH)[: LENGTH // 2]


def nasty_net(payload: str, n: int, m: int, *last: nn.Module) -> nn.Module:
    net = nn.Sequential()
    inside = name("layer", payload).replace(".", "")  # which torch forbids
    net.add_module(inside, nn.Linear(n, 3))
    net.add_module("after", nn.Linear(3, m))
    for module in last:
        net.add_module(type(module).__name__, module)
    return net


def step_named(payload: str) -> Callable[..., Any]:
    """A step whose name, line and file hold it."""
    text = (
        f"def step(gan, real, noise):\n    {payload!r}\n"
        "    G, D, opt_g, opt_d, _ = gan.parts\n"
        f"    fake = G(noise)  # {' '.join(payload.splitlines())}\n"
        f"    names = {{{payload!r}: D(fake).mean()}}\n"
        "    opt_g.zero_grad()\n"
        f"    names[{payload!r}].backward()\n"
        "    opt_g.step()\n"
    )
    file = f"<step {payload}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    names: dict[str, Any] = {}
    exec(compile(text, file, "exec"), names)
    found: Callable[..., Any] = names["step"]
    found.__name__, found.__doc__ = name("step", payload), payload
    return found


def views(payload: str, folder: Path) -> Iterator[tuple[str, str]]:
    """(view, HTML) for one payload."""
    G, D = nasty_net(payload, 2, 2), nasty_net(payload, 2, 1, nn.Sigmoid())
    gan = Gan.with_adam(G, D, nn.BCELoss())
    real, noise, step = data.ring(4), data.noise(4, (2,)), step_named(payload)
    names = name("G", payload), name("D", payload)
    nets = dict(zip(names, gan.nets.values(), strict=True))
    optimizers = dict(zip(names, gan.optimizers.values(), strict=True))
    with record(nets, optimizers) as rec:
        step(gan, real, noise)
        D(G(noise).detach()).mean().backward()
    yield "record", rec._repr_html_() + pre(str(rec))
    yield "diagnose", diagnose(rec)._repr_html_() + pre(str(diagnose(rec)))
    picture = draw_graph(record=rec)
    yield "draw_graph", picture._repr_html_() + pre(picture.text)
    yield "svg", picture.svg
    loss = D(G(noise)).mean()
    yield "draw_graph, outputs", draw_graph(loss, names=[payload], nets=nets)._repr_html_()
    yield "terms", html_of(terms({payload: loss}, nets))
    shown = explore(Strategy(payload, step, payload, payload), gan=gan, real=real, noise=noise)
    yield "explore", shown.to_html()
    saved = shown.save(folder / "explorer.html", title=payload)
    yield "saved page", saved.read_text(encoding="utf-8").replace("Content-Security-Policy", "x")
    shown.close()
    yield "cost", html_of(cost_all({payload: step}, gan, real, noise, repeat=1))
    yield "gains", html_of(gains(lambda: step(gan, real, noise), nets, optimizers, repeat=1))
    with watch(nets, optimizers) as report_:
        step(gan, real, noise)
    yield "watch", html_of(report_)

    def loop(batches: Any) -> None:
        for batch in batches:
            step(gan, *batch)

    yield "same", html_of(same(loop, loop, nets, optimizers, [(real, noise)]))
    outputs = [picture, rec, diagnose(rec)]
    for exporter in (GanPage(), GanSlides()):
        page, _ = exporter.from_notebook_node(
            notebook(payload, outputs), {"metadata": {"name": "lesson"}}
        )
        yield type(exporter).__name__, page.replace("Content-Security-Policy", "x")


def pre(text: str) -> str:
    return f"<pre>{escape(text)}</pre>"


def html_of(shown: Any) -> str:
    """As JupyterLab shows it: HTML if there is some, else text."""
    found = getattr(shown, "_repr_html_", None)
    return (found() if found else "") + pre(str(shown))


def notebook(payload: str, shown: list[Any]) -> Any:
    """A lesson that was run: its title and what it printed hold the payload too."""
    new = nbformat.v4
    cell = new.new_code_cell(f"print({payload!r})", execution_count=1)
    cell.outputs = [new.new_output("stream", name="stdout", text=payload)]
    for one in shown:
        bundle = {"text/plain": str(one), "text/html": one._repr_html_()}
        cell.outputs.append(new.new_output("display_data", data=bundle))
    title = new.new_markdown_cell(f"# `{' '.join(payload.split())}`")
    return new.new_notebook(cells=[title, cell])


def pages(folder: Path, payloads: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    """Every view of every payload as a page of its own."""
    for number, payload in enumerate(payloads):
        torch.manual_seed(0)
        for view, html in views(payload, folder):
            path = folder / f"{number} {view}.html"
            whole = html if "<html" in html else f"<!doctype html><meta charset=utf-8>{html}"
            path.write_text(whole, encoding="utf-8")
            yield view, path


# Looks through shadow roots too: an element that only a name can have made, or a handler on one.
LOOK = """() => {
  const found = [];
  const walk = root => { for (const x of root.querySelectorAll('*')) {
    if (x.getAttributeNames().some(n => n === 'onerror' || n === 'onload') || x.src?.endsWith('/x'))
      found.push(x.outerHTML.slice(0, 200));
    if (x.shadowRoot) walk(x.shadowRoot);
  } };
  walk(document);
  return [window.ran || 0, found];
}"""


def ran_in(chromium: Any, paths: list[tuple[str, Path]]) -> Iterator[str]:
    """Open each, and say where something of a name ran or became an element."""
    page = chromium.new_page()
    dialogs: list[str] = []

    def heard(dialog: Any) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", heard)
    for view, path in paths:
        page.goto(path.as_uri())
        page.keyboard.press("ArrowRight")
        ran, found = page.evaluate(LOOK)
        if ran or found or dialogs:
            yield f"{view} ({path.name}): ran {ran} times, {found[:1]} {dialogs}"
    page.close()


def main() -> None:
    from deck_browser import running_chromium

    parser = report.arguments(__doc__, cases=len(PAYLOADS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = list(pages(Path(folder), PAYLOADS[: options.cases]))
        with running_chromium() as chromium:
            bad = list(ran_in(chromium, made))
    print(*bad, sep="\n")
    text = "{n} pages of {views} views and exports, names of {length} characters: {bad} accidents"
    views_ = len({view for view, _ in made})
    told = text.format(n=len(made), views=views_, length=f"{LENGTH:,}", bad=len(bad))
    report.told("names", told, len(bad))


if __name__ == "__main__":
    main()
