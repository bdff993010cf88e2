"""The exporters without a browser: what is left out, what is refused, what a failure leaves."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from importlib import import_module
from pathlib import Path

import nbformat
import notebook_rules
import pytest
from nbconvert.exporters import get_exporter

from gan_lessons.classroom.export import (
    GanPage,
    GanSlides,
    Markdown,
    assets,
    build,
    execute,
    index_page,
    lesson_of,
    mathml,
    offline,
    page_link,
    slide_link,
    slides,
)
from gan_lessons.whole_file import write_whole

# What a site has beside its lessons, where there is no folder of documents.
BESIDE = ["api", "cheat-sheet", "embed", "explorer", "index", "search"]


def cell(source, kind=None, *, tags=(), code=False, outputs=()):
    """Without ``kind`` the cell has no slide type, as the lessons store one that goes on."""
    metadata = {"tags": list(tags)} | ({"slideshow": {"slide_type": kind}} if kind else {})
    if not code:
        return nbformat.v4.new_markdown_cell(source, metadata=metadata)
    ran = nbformat.v4.new_code_cell(source, metadata=metadata, execution_count=1)
    ran.outputs = list(outputs)
    return ran


def printed(text):
    return nbformat.v4.new_output("stream", name="stdout", text=text)


def notebook(*cells):
    return nbformat.v4.new_notebook(cells=list(cells))


def exported(exporter, *cells, name="lesson"):
    page, _ = exporter.from_notebook_node(notebook(*cells), {"metadata": {"name": name}})
    return page


# Slides -------------------------------------------------------------------------------------------


def test_slides_are_arranged_by_their_types():
    stacks = slides.arrange(
        notebook(
            cell("# Title", "slide"),
            cell("<details><summary>For the teacher</summary>\n\nAsk.\n\n</details>", "notes"),
            cell("## One", "slide"),
            cell("text"),
            cell("later", "fragment"),
            cell("more", "subslide"),
            cell("not here", "skip"),
        )
    )
    found = [[[[c.source for c in p.cells] for p in s.parts] for s in st.slides] for st in stacks]
    assert found == [[[["# Title"]]], [[["## One", "text"], ["later"]], [["more"]]]]
    assert [part.fragment for part in stacks[1].slides[0].parts] == [False, True]
    assert [slide.running for slide in stacks[1].slides] == ["", "One"]
    assert [stack.notes for stack in stacks] == [["Ask."], []]


def test_a_cell_goes_on_without_a_type_and_with_a_written_hyphen():
    for kind in (None, "-"):
        (stack,) = slides.arrange(notebook(cell("# T", "slide"), cell("text", kind)))
        assert [[c.source for c in slide.cells] for slide in stack.slides] == [["# T", "text"]]


def widget(kind, group):
    html = f'<div class="gl-{kind}" data-gl-{kind} data-gl-group="{group}"></div>'
    return nbformat.v4.new_output("display_data", {"text/html": html})


def parts_of(slide):
    """Does it wait?, and what it shows: "code" or "text" by its source, ">code" its outputs."""
    told = []
    for part in slide.parts:
        faces = [(p.cell.source, p.source, p.outputs) for p in part.pieces]
        told.append(
            (
                part.fragment,
                [("" if s else ">") + t + (" >" if s and o else "") for t, s, o in faces],
            )
        )
    return told


def test_an_answer_waits_and_all_below_it_waits_with_it():
    asked = cell("ask", code=True, outputs=[widget("question", "question-1")])
    answer = cell(
        "run",
        code=True,
        tags=["slide-code"],
        outputs=[printed("1"), widget("answers", "question-1")],
    )
    after = cell("more", code=True, outputs=[printed("2")])
    (stack,) = slides.arrange(notebook(cell("# T", "slide"), asked, answer, cell("so"), after))
    assert parts_of(stack.slides[0]) == [
        (False, ["# T", ">ask", "run"]),
        (True, [">run", "so", ">more"]),
    ]


def test_what_may_give_an_answer_away_waits_too():
    """Between a question and its answer each output has a key of its own; a question has none."""
    first = cell("one", code=True, outputs=[widget("question", "question-1")])
    second = cell("two", code=True, outputs=[widget("question", "question-2")])
    never = cell("never answered", code=True, outputs=[widget("question", "question-3")])
    between = cell("between", "subslide", code=True, outputs=[printed("1")])
    answers = [
        cell(f"answer {n}", code=True, outputs=[widget("answers", f"question-{n}")]) for n in (1, 2)
    ]
    after = cell("after", "subslide", code=True, outputs=[printed("2")])
    cells = [first, second, never, between, *answers, cell("so"), after]
    (stack,) = slides.arrange(notebook(cell("# T", "slide"), *cells))
    assert [parts_of(slide) for slide in stack.slides] == [
        [(False, ["# T", ">one", ">two", ">never answered"])],
        [(True, [">between"]), (True, [">answer 1"]), (True, [">answer 2", "so"])],
        [(False, [">after"])],
    ]


def test_a_bet_on_the_whole_lesson_keeps_back_two_sections_and_the_answer():
    bet = cell("bet", code=True, outputs=[widget("question", "question-1")])
    outputs = [cell(f"run {n}", "slide", code=True, outputs=[printed("1")]) for n in (2, 3, 4)]
    answer = cell("answer", code=True, outputs=[widget("answers", "question-1")])
    stacks = slides.arrange(notebook(cell("# T", "slide"), bet, *outputs, answer))
    assert [parts_of(stack.slides[0]) for stack in stacks[1:]] == [
        [(True, [">run 2"])],
        [(False, [">run 3"])],
        [(False, [">run 4"]), (True, [">answer"])],
    ]


def test_on_live_slides_too_what_follows_an_answer_waits_for_a_key(notebook_path):
    """There a cell without a type comes with the cell above it, and all of it was run before."""
    at_once, answer = [], None
    for cell in nbformat.read(notebook_path, as_version=4).cells:
        kind = slides.slide_type(cell)
        if kind in ("skip", "notes"):
            continue
        compares = cell.cell_type == "code" and ".compare(" in cell.source
        if answer and kind == "-" and not compares:
            at_once.append(cell.source[:60])
        answer = compares
    assert at_once == []


def test_code_is_hidden_unless_it_is_the_point():
    quiet = cell("x = 1", code=True)
    told = cell("print(1)", code=True, outputs=[printed("1")])
    shown = cell("def f(): ...", code=True, tags=["slide-code"])
    kept_back = cell("print(2)", code=True, tags=["slide-hide-output"], outputs=[printed("2")])
    page = exported(GanSlides(), cell("# T", "slide"), quiet, told, shown, kept_back)
    assert "x = 1" not in page.replace("&nbsp;", " ")
    assert '<pre class="text stdout">1</pre>' in page
    assert '<pre class="text stdout">2</pre>' not in page
    assert '<span class="nf">f</span>' in page
    assert "print" not in page.split('<div class="slides">')[1].split("<script")[0]
    # The page leaves nothing out.
    page = exported(GanPage(), cell("# T", "slide"), quiet, told, shown, kept_back)
    assert '<pre class="text stdout">2</pre>' in page
    assert page.count('class="nb"') == 2  # print, twice


def test_a_slide_that_would_be_empty_is_left_out():
    stacks = slides.arrange(notebook(cell("# T", "slide"), cell("x = 1", "subslide", code=True)))
    assert [len(stack.slides) for stack in stacks] == [1]


def test_headings_that_are_alike_get_different_anchors():
    anchors = slides.Anchors()
    given = [anchors.of(text) for text in ("Move 1: `leaf`", "Predict", "Predict", "")]
    assert given == ["Move-1:-leaf", "Predict", "Predict-2", ""]


# What goes in -------------------------------------------------------------------------------------

EVIL = "<script>alert(1)</script>"


@pytest.mark.parametrize("exporter", [GanSlides, GanPage], ids=["slides", "page"])
def test_markup_in_names_and_outputs_is_escaped(exporter):
    """A parameter may be called anything; what it is called is text, in every view of a record."""
    source = f"""
import torch
from gan_lessons import record
from gan_lessons.classroom import predict_choice
net = torch.nn.Module()
net.register_parameter("{EVIL}", torch.nn.Parameter(torch.ones(1)))
evil = "{EVIL}"
question = predict_choice(evil, [evil, "b"])
with record({{evil: net}}) as rec:
    sum(net.parameters()).backward()
display(rec.table(), question, question.compare(evil))
print(evil)
raise ValueError(evil)
"""
    raising = nbformat.v4.new_code_cell(source.strip(), metadata={"tags": ["raises-exception"]})
    page = exported(exporter(), cell("# T", "slide"), raising, name=EVIL)
    assert EVIL not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 5


def test_a_widget_gives_its_html_and_a_progress_bar_nothing():
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}}
    inside = '<div data-gl-explorer><script type="application/json">{"a": 1}</script></div>'
    explorer = nbformat.v4.new_output("display_data", view | {"text/html": inside})
    bar = nbformat.v4.new_output("display_data", view | {"text/plain": "0%| 0/2000"})
    for exporter in (GanSlides(), GanPage()):
        page = exported(
            exporter, cell("# T", "slide"), cell("x", code=True, outputs=[explorer, bar])
        )
        assert inside in page
        assert "0/2000" not in page


def test_what_a_cell_printed_is_one_output():
    pieces = [printed("a\n"), printed("b\n"), printed("c\rd\n")]
    page = exported(GanPage(), cell("# T", "slide"), cell("f()", code=True, outputs=pieces))
    assert '<pre class="text stdout">a\nb\nd</pre>' in page


@pytest.mark.parametrize(
    ("line", "is_broken"), [("a row " * 20, False), ("a sentence " * 20, True)]
)
def test_a_printed_sentence_is_broken_and_a_table_is_not(line, is_broken):
    cells = cell("# T", "slide"), cell("f()", code=True, outputs=[printed(f"short\n{line}\n")])
    assert ('<pre class="text stdout sentence">' in exported(GanPage(), *cells)) is is_broken


def test_a_style_stands_once_and_scripts_stay_as_they_are():
    page = "<style>a{}</style><p></p><style>a{}</style><script>'<style>a{}</style>'</script>"
    assert assets.each_once(page) == (
        "<style>a{}</style><p></p><script>'<style>a{}</style>'</script>"
    )


def test_the_last_of_scripts_that_are_alike_is_enough():
    data = '<script type="application/json">1</script>'
    page = f"<script>go()</script>{data}<script>other()</script>{data}<script>go()</script>"
    assert assets.each_once(page) == f"{data}<script>other()</script>{data}<script>go()</script>"


def test_the_questions_of_a_page_bring_their_front_end_once():
    question = "from gan_lessons.classroom import predict_number\npredict_number('{n}?')"
    cells = [nbformat.v4.new_code_cell(question.format(n=n)) for n in "12"]
    page = exported(GanPage(), cell("# T", "slide"), *cells)
    assert page.count("data-gl-question data-gl-group=") == 2
    assert page.count("Boots the widgets of one kind") == 1


def test_folders_of_this_machine_stay_out():
    error = nbformat.v4.new_output(
        "error",
        ename="ValueError",
        evalue="no",
        traceback=[
            "-----",
            "ValueError   Traceback (most recent call last)",
            "File /home/somebody/gan_lessons/x.py:3, in f()\n      2 a\n----> 3 b\n",
            "File /home/somebody/site-packages/torch/y.py:9, in g()\n----> 9 c\n",
            "ValueError: no",
        ],
    )
    page = exported(GanPage(), cell("# T", "slide"), cell("f()", code=True, outputs=[error]))
    assert "/home/somebody" not in page
    assert "File gan_lessons/x.py:3, in f()\n----&gt; 3 b\n\nValueError: no" in page


# Nothing is loaded --------------------------------------------------------------------------------

LOADS = {
    '<script src="https://a.example/x.js"></script>': "https://a.example/x.js",
    '<img src="//a.example/x.png">': "//a.example/x.png",
    '<img src="figure.png">': "figure.png",
    '<img srcset="a.png 1x, b.png 2x">': "a.png",
    '<link rel="stylesheet" href="https://a.example/x.css">': "https://a.example/x.css",
    "<style>@import 'https://a.example/x.css';</style>": "https://a.example/x.css",
    "<style>p{background:url( https://a.example/x.png )}</style>": "https://a.example/x.png",
    '<p style="background:url(x.png)">': "x.png",
    '<iframe src="https://a.example/"></iframe>': "https://a.example/",
    '<video poster="x.jpg"></video>': "x.jpg",
    '<svg><image href="x.png"/></svg>': "x.png",
    '<object data="x.swf"></object>': "x.swf",
    '<script>fetch("https://a.example/data")</script>': "https://a.example/data",
    "<script type='module'>import x from 'https://a.example/m.js'</script>": "https://a.example/m.js",
    "<script>import('https://a.example/m.js')</script>": "https://a.example/m.js",
    '<meta http-equiv="refresh" content="0; url=https://a.example/">': "0; url=https://a.example/",
    '<form action="https://a.example/form"></form>': "https://a.example/form",
    '<form action="answer.php"></form>': "answer.php",
    '<button formaction="https://a.example/button">x</button>': "https://a.example/button",
    "<script>form.action = 'https://a.example/sent'; form.submit()</script>": "https://a.example/sent",
    "<script>location = 'https://a.example/gone'</script>": "https://a.example/gone",
    "<script>window.location.href='//a.example/href'</script>": "//a.example/href",
    '<script>location.assign("https://a.example/assign")</script>': "https://a.example/assign",
    "<script>location.replace(`https://a.example/replace`)</script>": "https://a.example/replace",
    "<script>window.open('https://a.example/window')</script>": "https://a.example/window",
    "<script>open( 'https://a.example/open' )</script>": "https://a.example/open",
}
LOADS_NOTHING = [
    '<a href="https://a.example/">a link</a>',
    '<img src="data:image/png;base64,AAAA">',
    '<svg><use href="#arrow"/></svg>',
    "<style>p{background:url(data:image/png;base64,AA)}</style>",
    "<script>const where = 'https://a.example/'; // said, not fetched</script>",
    '<script type="application/json">{"x": "fetch(\'https://a.example/\')"}</script>',
    "<pre>fetch(&quot;https://a.example/&quot;)</pre>",
    "<form><button>x</button></form>",
    "<script>location.hash = '#here'; window.open('', 'notes'); const at = location</script>",
    "<script>if (location.href == 'https://a.example/') stay()</script>",
]


@pytest.mark.parametrize(("page", "url"), LOADS.items(), ids=list(LOADS.values()))
def test_what_would_be_loaded_is_named(page, url):
    assert url in offline.loads(page)
    with pytest.raises(offline.ExternalLoadError, match=r"deck\.html would load") as caught:
        offline.require_self_contained(page, "deck.html")
    assert url in str(caught.value)


@pytest.mark.parametrize("page", LOADS_NOTHING)
def test_what_loads_nothing_is_let_through(page):
    assert offline.loads(page) == []


@pytest.mark.parametrize("exporter", [GanSlides, GanPage], ids=["slides", "page"])
def test_an_export_that_would_load_something_fails(exporter):
    with pytest.raises(offline.ExternalLoadError, match=r"a\.example/x\.png"):
        exported(exporter(), cell("# T\n\n![x](https://a.example/x.png)", "slide"))


@pytest.mark.parametrize("exporter", [GanSlides, GanPage], ids=["slides", "page"])
def test_a_page_lets_no_form_be_sent(exporter):
    """Nothing else stops a form: ``default-src`` says nothing of where it goes."""
    for page in (exported(exporter(), cell("# T", "slide")), index_page([])):
        (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
        assert "form-action 'none'" in policy.split("; ")
        assert "default-src 'none'" in policy.split("; ")
        assert not re.search(r"\*|http|ws", policy), "nor does a frame show what is elsewhere"


def test_what_pages_may_load_is_said_in_one_place(root):
    package = root / "gan_lessons"
    texts = {path for kind in ("*.py", "*.j2", "*.js") for path in package.rglob(kind)}
    said = {path.name for path in texts if "form-action" in path.read_text(encoding="utf-8")}
    assert said == {"content_policy.py"}


def test_reveal_is_in_the_deck_and_not_in_the_repository(root):
    reveal = assets.reveal_file("dist/reveal.js")
    for words in ("https://revealjs.com", "MIT licensed", "Copyright (C)", "Hakim El Hattab"):
        assert words in reveal[:300], "its licence asks that this goes wherever it goes"
    assert "</script" not in assets.reveal_file("dist/plugin/notes.js").lower()
    assert reveal in exported(GanSlides(), cell("# T", "slide"))
    ours = [path for path in (root / "gan_lessons").rglob("*") if "reveal" in path.name]
    assert ours == []


# Markdown -----------------------------------------------------------------------------------------


def test_formulas_become_mathml():
    page = Markdown(page_link)("Text $s = D(x)$ and\n\n$$\\tfrac{s}{2}$$")
    assert page.count("<math ") == 2
    assert 'display="block"' in page
    assert "$" not in page
    assert 'alttext="s = D(x)"' in page


def test_limits_stand_below_and_functions_have_room():
    assert "<munder><mo>min</mo><mi>G</mi></munder>" in mathml(r"\min_G V", block=True)
    assert "<munderover>" in mathml(r"\sum_{i=1}^n x_i", block=True)
    assert '<mi>log</mi><mspace width="0.167em"/><mi>r</mi>' in mathml(r"\log r")
    assert "<mi>log</mi><mo" in mathml(r"\log(r)")


@pytest.mark.parametrize("latex", [r"\left( x", r"\nosuchcommand x"])
def test_a_formula_that_cannot_be_read_is_named(latex):
    with pytest.raises(ValueError, match="formula"):
        mathml(latex)


def test_links_between_lessons_lead_to_what_was_exported():
    source = "[a](02-x.ipynb#The-cut,-drawn) [b](02-x.ipynb) [c](https://a.example/n.ipynb)"
    page, deck = Markdown(page_link)(source), Markdown(slide_link)(source)
    assert 'href="02-x.html#The-cut,-drawn"' in page
    assert 'href="02-x.html#/The-cut,-drawn"' in deck
    assert 'href="02-x.html"' in page
    assert 'href="https://a.example/n.ipynb"' in page


def test_the_index_reads_the_first_cell():
    source = "# Title `x`\n\nThe **first** words.\n\n- no\n\n*About 35 minutes. You need: x.*"
    lesson = lesson_of("02-title", notebook(cell(source, "slide")))
    assert (lesson.number, lesson.minutes) == ("02", "35")
    assert lesson.title == "Title <code>x</code>"
    assert lesson.lead == "The <strong>first</strong> words."


# nbconvert ----------------------------------------------------------------------------------------


def test_the_exporters_are_registered(root):
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    registered = project["entry-points"]["nbconvert.exporters"]
    for name, expected in {"gan_slides": GanSlides, "gan_page": GanPage}.items():
        module, _, attribute = registered[name].partition(":")
        assert getattr(import_module(module), attribute) is expected
    assert get_exporter(registered["gan_slides"].replace(":", ".")) is GanSlides


def test_a_notebook_that_was_not_run_is_run_in_a_copy():
    fresh = notebook(cell("# T", "slide"), nbformat.v4.new_code_cell("print(6 * 7)"))
    page, _ = GanPage().from_notebook_node(fresh, {"metadata": {"name": "fresh"}})
    assert '<pre class="text stdout">42</pre>' in page
    assert fresh.cells[1].outputs == []


# All lessons --------------------------------------------------------------------------------------


def lessons(folder: Path, **sources: str) -> list[Path]:
    paths = []
    for name, source in sources.items():
        made = notebook(cell(f"# {name}\n\nAbout it.", "slide"), nbformat.v4.new_code_cell(source))
        notebook_rules.clean(made)
        paths.append(folder / f"{name.replace('lesson', '0')}.ipynb")
        nbformat.write(made, paths[-1])
    return paths


def test_one_that_fails_is_named_and_the_others_are_built(tmp_path, capsys):
    lessons(tmp_path, lesson1="print('one')", lesson2="x = 1\n1 / 0", lesson3="print('three')")
    status = build.main(["all", "--notebooks", str(tmp_path), "--build", str(tmp_path / "out")])
    assert status == 1
    told = capsys.readouterr()
    assert "02.ipynb, cell 1 ('x = 1'): ZeroDivisionError: division by zero" in told.err
    assert "01.ipynb: 1 of 1 cells have run" in told.out
    made = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.html"))
    assert made == [
        "site/01.html",
        "site/03.html",
        *(f"site/{name}.html" for name in BESIDE),
        "site/slides/01.html",
        "site/slides/03.html",
        "slides/01.html",
        "slides/03.html",
    ]


def test_what_has_run_is_not_run_again(tmp_path):
    counter = tmp_path / "runs"
    source = f"with open({str(counter)!r}, 'a') as file:\n    file.write('x')\nprint('ran')"
    lessons(tmp_path, lesson1=source)
    for expected in ("x", "x"):  # the second time with other prose
        assert build.build("slides", [tmp_path / "01.ipynb"], tmp_path / "out") == []
        assert counter.read_text(encoding="utf-8") == expected
        changed = nbformat.read(tmp_path / "01.ipynb", as_version=4)
        changed.cells[0].source = "# Another title"
        nbformat.write(changed, tmp_path / "01.ipynb")
    deck = (tmp_path / "out" / "slides" / "01.html").read_text(encoding="utf-8")
    assert "Another title" in deck
    lessons(tmp_path, lesson1=source + " ")  # other code
    build.build("slides", [tmp_path / "01.ipynb"], tmp_path / "out")
    assert counter.read_text(encoding="utf-8") == "xx"


def test_no_lesson_at_all_is_said(tmp_path, capsys):
    assert build.main(["slides", "--notebooks", str(tmp_path)]) == 2
    assert "there is no lesson" in capsys.readouterr().err


def test_a_file_is_written_in_one_piece(tmp_path, monkeypatch):
    target = tmp_path / "deck.html"
    write_whole(target, "old")

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        write_whole(target, "new")
    assert target.read_text(encoding="utf-8") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["deck.html"]


def prose(folder: Path, **sources: str) -> None:
    """Lessons without code, which need no kernel."""
    for name, source in sources.items():
        made = notebook(cell(source, "slide"))
        nbformat.write(made, folder / f"{name.replace('lesson', '0')}.ipynb")


BROKEN = {
    "1": "",
    "2": "[]",
    "3": '{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}',
    "4": '{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": 3}',
    "5": '{"cells": [',
}


def test_what_cannot_be_built_is_named_and_linked_from_nowhere(tmp_path, capsys):
    prose(
        tmp_path,
        lesson6="# Six\n\nGood.",
        lesson7="# A limit $\\left( x$\n\nIts title has no end.",
        lesson8="# Eight\n\n![x](https://a.example/x.png)",
        lesson9="# Nine\n\nGood too.",
    )
    for number, text in BROKEN.items():
        (tmp_path / f"0{number}.ipynb").write_text(text, encoding="utf-8")
    nbformat.write(notebook(), tmp_path / "00.ipynb")  # no cell at all
    out = tmp_path / "out"
    assert build.main(["all", "--notebooks", str(tmp_path), "--build", str(out)]) == 1
    told = capsys.readouterr().err
    for number in BROKEN:
        assert f"0{number}.ipynb: cannot be read (" in told
    assert "07.ipynb: the formula" in told
    assert "a.example/x.png" in told
    assert "not built (7)" in told
    for folder in (out / "slides", out / "site" / "slides"):
        assert sorted(path.name for path in folder.iterdir()) == ["00.html", "06.html", "09.html"]
    pages = sorted(path.name for path in (out / "site").glob("*.html"))
    assert pages == ["00.html", "06.html", "09.html", *(f"{name}.html" for name in BESIDE)]
    index = (out / "site" / "index.html").read_text(encoding="utf-8")
    cards = "".join(re.findall(r'<p class="ways">.*?</p>', index, re.DOTALL))
    assert re.findall(r'href="(0\d)', index) == ["00", *re.findall(r'href="(0\d)', cards)]
    links = re.findall(r'href="([^"]*)"', cards)
    assert links == [f"{way}0{n}.html" for n in (0, 6, 9) for way in ("", "slides/")]
    turn = (out / "site" / "06.html").read_text(encoding="utf-8")
    assert re.findall(r'<a href="([^"]*)" rel="(\w+)"', turn) == [
        ("00.html", "prev"), ("09.html", "next"),
    ]  # fmt: skip


def test_a_lesson_that_only_fails_as_a_page_is_not_linked(tmp_path, capsys):
    """Its deck is fine: the cell is on no slide."""
    bad = notebook(cell("# Two", "slide"), cell("![x](x.png)", "skip"))
    nbformat.write(bad, tmp_path / "02.ipynb")
    prose(tmp_path, lesson1="# One", lesson3="# Three")
    out = tmp_path / "site"
    assert build.build("site", sorted(tmp_path.glob("*.ipynb")), tmp_path) != []
    made = sorted(path.stem for path in out.glob("*.html"))
    assert made == ["01", "03", *BESIDE]
    for name in made:
        assert "02.html" not in (out / f"{name}.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("left", ["", "[]", "half a notebook", "no cells"])
def test_what_is_left_of_an_earlier_run_does_not_stop_a_build(tmp_path, left):
    lessons(tmp_path, lesson1="print(6 * 7)")
    path = tmp_path / "01.ipynb"
    name = f"01-{execute._key(nbformat.read(path, as_version=4))}.ipynb"
    kept = tmp_path / "out" / "executed" / name
    kept.parent.mkdir(parents=True)
    whole = nbformat.writes(notebook()) if left == "no cells" else left
    kept.write_text(whole, encoding="utf-8")
    assert build.build("slides", [path], tmp_path / "out") == []
    assert ">42</pre>" in (tmp_path / "out" / "slides" / "01.html").read_text(encoding="utf-8")
    assert nbformat.read(kept, as_version=4).cells[1].execution_count == 1


def test_a_folder_that_cannot_be_written_is_said(tmp_path, capsys):
    prose(tmp_path, lesson1="# One")
    (tmp_path / "file").write_text("", encoding="utf-8")
    where = ["--notebooks", str(tmp_path), "--build", str(tmp_path / "file" / "out")]
    assert build.main(["all", *where]) == 1
    told = capsys.readouterr().err
    assert "cannot write" in told
    assert str(tmp_path / "file" / "out" / "executed" / "01-") in told
    assert "choose another folder with --build" in told


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files there")
@pytest.mark.parametrize("kind", ["slides", "site"])
def test_a_full_disk_is_said(tmp_path, capsys, kind):
    import resource

    prose(tmp_path, lesson1="# One")
    out, before = tmp_path / "out", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))  # bytes; a page has more
    try:
        status = build.main([kind, "--notebooks", str(tmp_path), "--build", str(out)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    told = capsys.readouterr().err
    assert status == 1
    assert re.search(r"cannot write \S+01\.html: File too large; what was finished", told)
    assert [path.suffix for path in out.rglob("*") if path.is_file()] == [".ipynb"]


def test_a_notebook_can_be_run_where_a_loop_is_running(tmp_path):
    """As JupyterLab does for "Save and Export As"."""

    async def run():
        fresh = notebook(nbformat.v4.new_code_cell("print(6 * 7)"))
        return execute.execute(fresh, tmp_path, "fresh")

    assert asyncio.run(run()).cells[0].outputs[0].text == "42\n"


PID = "import os, time; print(os.getpid(), file=open({pids!r}, 'a'), flush=True)\n"
# What a kernel does before it is there, in its cell, and when it is told to end.
SLOW = {
    "start": ("if 'ipykernel_launcher' in sys.orig_argv: time.sleep(100)", ""),
    "cell": ("", "time.sleep(100)"),
    "end": ("", "import atexit; atexit.register(time.sleep, 2)"),
}


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
@pytest.mark.parametrize("where", SLOW)
def test_an_interrupt_ends_the_kernels_and_leaves_nothing_half_done(where, tmp_path):
    """And it comes out as one: nothing is called a lesson that failed."""
    pids, out = tmp_path / "pids", tmp_path / "out"
    at_start, in_cell = SLOW[where]
    says = PID.format(pids=str(pids))
    # In a shell's background job Ctrl-C is ignored, and whoever is started from there inherits it.
    heeds = "import signal, sys\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    started = f"{heeds}if 'ipykernel_launcher' in sys.orig_argv:\n    {says}{at_start}\n"
    (tmp_path / "sitecustomize.py").write_text(started, encoding="utf-8")
    inside = tmp_path / "inside"
    source = f"import time\nopen({str(inside)!r}, 'a').write('x')\n{in_cell}"
    lessons(tmp_path, lesson1=source, lesson2=source)
    command = [sys.executable, "-m", "gan_lessons.classroom.export.build", "slides"]
    found = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    running = subprocess.Popen(
        [*command, "--notebooks", str(tmp_path), "--build", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": found},
    )
    try:
        wait_for(lambda: pids.exists() and len(pids.read_text().split()) == 2)
        if where == "cell":
            wait_for(lambda: inside.exists() and inside.read_text() == "xx")
        elif where == "end":
            assert running.stdout is not None
            assert "1 of 1 cells have run" in running.stdout.readline()
        running.send_signal(signal.SIGINT)
        printed_, told = running.communicate(timeout=60)
    finally:
        running.kill()
    assert (running.returncode, told) == (130, "interrupted; what was finished is complete\n")
    assert "Error" not in printed_
    assert [path for path in out.rglob("*") if path.suffix not in ("", ".ipynb")] == []
    for pid in map(int, pids.read_text().split()):
        wait_for(lambda pid=pid: not alive(pid))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.1)
