"""What the site shows and keeps back, without a browser: reading, pictures, docs, search."""

from __future__ import annotations

import base64
import inspect
import json
import re
from html import unescape
from importlib import import_module
from urllib.parse import unquote

import nbformat
import pytest
from IPython.display import Code

from gan_lessons.classroom.export import GanPage, GanSlides, api, docs, index, search
from gan_lessons.classroom.export.code_lines import by_lines
from gan_lessons.classroom.export.picture import TAG, picture_of
from gan_lessons.classroom.export.reading import NOT_ON_PAGE, reading, without_imports
from gan_lessons.classroom.repeats import once


def prose(source, kind=None):
    metadata = {"slideshow": {"slide_type": kind}} if kind else {}
    return nbformat.v4.new_markdown_cell(source, metadata=metadata)


def code(source, *outputs, tags=()):
    cell = nbformat.v4.new_code_cell(source, metadata={"tags": list(tags)}, execution_count=1)
    cell.outputs = list(outputs)
    return cell


def html(text):
    return nbformat.v4.new_output("display_data", {"text/html": text})


def widget(kind, group):
    return html(f'<div class="gl-{kind}" data-gl-{kind} data-gl-group="{group}"></div>')


def notebook(*cells):
    return nbformat.v4.new_notebook(cells=list(cells))


def exported(exporter, *cells):
    return exporter.from_notebook_node(notebook(*cells), {"metadata": {"name": "x"}})[0]


# What is folded -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("import torch\n\nx = 1", ("import torch", "x = 1")),
        ("from a import (\n    b,\n)\nimport c", ("from a import (\n    b,\n)\nimport c", "")),
        ("x = 1\nimport torch", ("", "x = 1\nimport torch")),
        ("%matplotlib inline\nimport torch", ("", "%matplotlib inline\nimport torch")),
    ],
)
def test_the_imports_that_a_cell_begins_with_stand_apart(source, parts):
    assert without_imports(source) == parts


def test_the_code_that_is_the_point_is_there_in_full_and_the_rest_is_folded():
    point = code("import torch\nfor step in loop:\n    step()", tags=["slide-code"])
    plumbing = code("question = ask(\n    1)\nquestion", html("<p>the form</p>"))
    raises = code("1 / 0", tags=["raises-exception"])
    exercise = code("my_answer = ...", tags=["exercise"])
    shown = reading(notebook(point, plumbing, raises, exercise))
    assert [cell.folded for cell in shown] == [False, True, False, False]
    assert (shown[0].imports_say, shown[1].says) == ("torch", "question")
    assert reading(notebook(code("show(\n    rows,\n)")))[0].says == "rows,"  # no bare bracket
    page = exported(GanPage(), prose("# T"), point, plumbing)
    open_to_all = re.sub(r"<details.*?</details>", "", page, flags=re.DOTALL)
    assert "loop" in open_to_all
    assert "import" not in open_to_all.split('id="main"')[1].split("<script")[0]
    assert "ask" not in open_to_all.split('id="main"')[1].split("<script")[0]
    assert "<p>the form</p>" in open_to_all
    assert page.count('<details class="source">') == 2


def test_what_prepares_the_computer_is_left_out():
    unseen = code("install()")
    unseen.metadata["slideshow"] = {"slide_type": "skip"}
    told = code("check()", html("<p>all here</p>"))
    told.metadata["slideshow"] = {"slide_type": "skip"}
    glossary = prose("## Glossary", "skip")
    live = [prose("## Is all here?"), code("here()", html("<p>yes, here</p>"))]
    for cell in live:
        cell.metadata["tags"] = [NOT_ON_PAGE]
    shown = reading(notebook(prose("# T"), unseen, told, glossary, *live))
    assert [cell.cell.source for cell in shown] == ["# T", "check()", "## Glossary"]


def test_a_line_of_code_knows_its_indent_and_none_is_lost():
    last = "    return f('<b>',  'and more than fits on a telephone')  # x"
    source = f'def f():\n    """One.\n\n      Two."""\n{last}'
    shown = nbformat.v4.new_output(
        "display_data", {"text/html": Code(source, language="python")._repr_html_()}
    )
    page = exported(GanPage(), prose("# T"), code(source, shown, tags=["slide-code"]))
    blocks = re.findall(r'<div class="[^"]*highlight[^"]*"><pre>(.*?)</pre>', page, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        lines = re.findall(r'<span class="line"(?: style="--in:(\d+)")?>(.*?)\n</span>', block)
        assert [indent for indent, _ in lines] == ["", "4", "", "6", "4"]
        text = [unescape(re.sub(r"<[^>]+>", "", line)) for _, line in lines]
        assert text == source.splitlines()
        assert "(</span><wbr>" in block
    assert 'class="line"' not in exported(GanSlides(), prose("# T", "slide"), code(source))


@pytest.mark.parametrize(
    "text",
    [
        "short",
        "name      one      two\nlonger    1.25     a line that is longer than a telephone",
        "<b>begins on one line that is long enough\nand ends</b> on another",
    ],
)
def test_what_fits_and_what_has_columns_is_not_taken_apart(text):
    assert by_lines(f"<pre>{text}</pre>") == f"<pre>{text}</pre>"
    long = "a sentence that is longer than a telephone is wide &lt;b&gt;"
    assert by_lines(f"<pre>{long}\n</pre>") == f'<pre><span class="line">{long}\n</span></pre>'


# What waits ---------------------------------------------------------------------------------------


def waits(*cells):
    """Of each cell: what it waits for, and whether its own output begins that."""
    shown = reading(notebook(*cells))
    lids = {cell.lid.id: cell.lid.groups for cell in shown if cell.lid}
    return [(lids.get(cell.below, ()), bool(cell.lid)) for cell in shown]


def test_an_answer_waits_and_what_is_said_about_it_up_to_the_next_heading():
    assert waits(
        prose("## Predict", "slide"),
        code("ask", widget("question", "q")),
        prose("## Run", "slide"),
        prose("Two nets."),
        code("run", html("1"), tags=["slide-code"]),
        prose("That gives it away."),
        code("compare", widget("answers", "q")),
        prose("So all four."),
        code("more", html("2")),
        prose("### Next"),
        code("after", html("3")),
    ) == [
        ((), False), ((), False), ((), False), ((), False), (("q",), True), (("q",), False),
        (("q",), False), (("q",), False), (("q",), False), ((), False), ((), False),
    ]  # fmt: skip


def test_two_questions_that_are_open_are_both_waited_for():
    found = waits(
        code("ask", widget("question", "a")),
        code("ask", widget("question", "b")),
        code("compare", widget("answers", "a")),
        code("compare", widget("answers", "b")),
    )
    assert found == [((), False), ((), False), (("a", "b"), True), (("a", "b"), False)]


def test_a_bet_on_the_lesson_and_a_question_without_answer_keep_little_back():
    sections = [(prose(f"## {n}", "slide"), code("run", html("1"))) for n in range(3)]
    cells = [cell for section in sections for cell in section]
    asked = code("ask", widget("question", "bet"), widget("question", "never answered"))
    found = waits(prose("# T", "slide"), asked, *cells, code("score", widget("answers", "bet")))
    assert [groups for groups, _ in found] == [(), (), (), ("bet",), (), (), (), (), ("bet",)]


def test_notes_are_for_teachers():
    note = prose(
        "<details><summary>For the teacher</summary>\n\nFour times yes.\n\n</details>", "notes"
    )
    cells = prose("# T", "slide"), note
    for quiet in (GanPage(), GanSlides(teacher=False)):
        assert "Four times yes" not in exported(quiet, *cells)
    for telling in (GanPage(teacher=True), GanSlides()):
        assert "Four times yes" in exported(telling, *cells)


# Pictures -----------------------------------------------------------------------------------------


def test_every_lesson_has_one_picture(notebook_path):
    cells = nbformat.read(notebook_path, as_version=4).cells
    assert sum(TAG in cell.metadata.get("tags", []) for cell in cells) == 1


def test_a_picture_is_drawn_with_fewer_bytes_and_what_is_small_stays():
    path = '<path d="M 57.60012 -3.25 1e-05"/>'
    svg = f'<svg><!-- made --><g transform="scale(0.015625)">{path}</g></svg>'
    address = f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
    cell = code("draw()", html(f'<p><img src="{address}" alt="a"></p>'), tags=[TAG])
    shown = str(picture_of(notebook(code("other", html("1")), cell)))
    assert shown.startswith("<img ")
    (drawn,) = re.findall(r'src="data:image/svg\+xml,([^"]*)"', shown)
    drawn = unquote(drawn.replace("&#39;", "'").replace("&amp;", "&"))
    assert "scale(0.015625)" in drawn
    assert "M 57.6 -3.2 1e-05" in drawn
    assert "made" not in drawn


def test_printed_text_is_a_picture_and_is_escaped():
    printed = nbformat.v4.new_output("stream", name="stdout", text="<b>1</b>\n")
    assert (
        picture_of(notebook(code("f()", printed, tags=[TAG]))) == "<pre>&lt;b&gt;1&lt;/b&gt;</pre>"
    )
    assert picture_of(notebook(code("f()", printed))) == ""


def test_a_question_is_a_picture_in_words():
    question = "<div data-gl-question><div data-gl-still><p>Who?</p></div><script>1</script></div>"
    cell = code("q", html(question), tags=[TAG])
    assert picture_of(notebook(cell)) == "<p>Who?</p>"


# Docs, API, search, index -------------------------------------------------------------------------


def test_docs_become_pages_whose_links_lead_to_pages(tmp_path):
    (tmp_path / "a.md").write_text(
        "# A `title`\n\n[b](b.md) [c](../notebooks/02-x.ipynb#Run) [d](https://x.example/d.md)\n\n"
        "![drawn](p.svg)\n\n## Part",
        encoding="utf-8",
    )
    (tmp_path / "p.svg").write_text("<svg/>", encoding="utf-8")
    ((link, page),) = docs.doc_pages(tmp_path)
    assert (link.address, link.title) == ("docs/a.html", "A title")
    for address in (
        "b.html",
        "../02-x.html#Run",
        "https://x.example/d.md",
        "#Part",
        "../index.html",
    ):
        assert f'href="{address}"' in page
    assert 'src="data:image/svg+xml;base64,' in page


def test_the_api_page_has_every_public_name_its_signature_and_what_it_says():
    page = api.api_page()
    assert " at 0x" not in page
    for module in api.MODULES:
        for name in getattr(import_module(module), "__all__", []):
            value = getattr(import_module(module), name)
            if not inspect.ismodule(value):
                assert re.search(rf'<h3 id="{name}(-\d)?"><code>{name}</code>', page), name
            if inspect.isfunction(value):
                assert re.search(rf'<pre>(<span class="line">)?{name}\(', page), name
                first = (inspect.getdoc(value) or "").split("`")[0].partition("\n")[0].strip()
                assert api.html.escape(first, quote=False) in page, name


def test_a_section_is_found_by_what_stands_below_its_heading():
    page = (
        '<main><h1 id="T">T<a class="permalink" href="#T">#</a></h1><p>one</p>'
        "<script>never()</script><div data-gl-still>nor this</div>"
        '<h2 id="Part">Part <code>x</code></h2><p>two</p><pre><i>f</i><i>(1)</i></pre></main>'
    )
    assert [*search.sections("02.html", page)] == [
        ("02.html#T", "T", "T", "one"),
        ("02.html#Part", "T", "Part x", "two f(1)"),
    ]


def test_a_card_has_whole_sentences_as_many_as_there_is_room_for():
    short, long = "One. Is that two? Three!", "It is " + "long, " * 60 + "and one."
    for text, shown in (
        (short, short),
        (f"{short} {long}", short),
        (f"{long} {short}", long),
    ):
        lesson = index.lesson_of("01-x", notebook(prose(f"# T\n\n{text}\n\nMore.")))
        assert lesson.lead == shown


def test_the_index_asks_and_one_press_answers():
    explorer, call = index.decisive()
    record = explorer.records[index.FIRST]
    assert call.source.startswith("d_loss.backward")
    assert {net for net, names in call.received.items() if names} == {"G", "D"}
    moments = explorer.data["films"][index.FIRST]["moments"]
    before, after = [m for m in moments[explorer.moment :] if not m.get("silent")][:2]
    assert before == moments[explorer.moment]
    assert "Backward from `d_loss`" in after["caption"]
    assert "in vain" in after["caption"]
    seen = [m["caption"] for m in moments[: explorer.moment + 1]]
    assert [caption for caption in seen if "ackward" in caption or "in vain" in caption] == []
    events = [e for m in record.moments[: explorer.moment + 1] for e in m.events]
    assert [e for e in events if record.events[e].kind == "backward"] == []
    assert [*explorer.data["variants"]] == [index.FIRST]
    links = [index.Link("a.html", "A", "about it"), index.Link("docs/classroom.html", "C")]
    page = index.index_page([], links)
    assert page.count('<a href="docs/classroom.html">') == 2  # a teacher need not look for it
    asked = page.partition('<header class="hero">')[2].partition("</header>")[0]
    assert "or both?" in asked
    assert call.source in asked
    assert "in vain" not in asked
    assert '<a href="a.html">A</a>: about it' in page


# Words that show a line ---------------------------------------------------------------------------

STEP = ["def step(gan):", "    fake = G(noise)", "    loss(D(fake.detach())).backward()"]
MOMENTS = [{"line": 2, "last": 2}, {"line": 3, "last": 3}]


def walked(*sources):
    films = {
        str(i): {"title": f"T{i}", "source": s, "moments": MOMENTS} for i, s in enumerate(sources)
    }
    data, repeats = once({"films": films})
    told = json.dumps({"data": data, "repeats": repeats})
    return code(
        "explore()", html(f'<div data-gl-explorer><script type="application/json">{told}</script>')
    )


def test_words_show_a_line_that_is_there_in_the_page_and_are_plain_on_a_slide():
    cells = prose("## A", "slide"), prose("See [the cut](#at=fake.detach())."), walked(STEP, STEP)
    page = exported(GanPage(), prose("# T"), *cells)
    assert '<a href="#at=fake.detach()">the cut</a>' in page
    deck = exported(GanSlides(), prose("# T", "slide"), *cells)
    assert "See the cut." in deck
    assert "#at=" not in deck


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("#at=fake.copy()", "0 lines of T0"),
        ("#at=fake", "2 lines of T0"),  # which of them?
        ("#at=def%20step", "0 lines of T0"),  # a line, but none that runs
    ],
)
def test_words_that_lead_to_no_line_or_to_several_fail_the_build(words, reason):
    cells = prose("## A", "slide"), prose(f"See [this]({words})."), walked(STEP)
    for exporter in (GanPage(), GanSlides()):
        with pytest.raises(ValueError, match=reason):
            exported(exporter, *cells)


def test_words_need_an_explorer_in_their_section_and_their_line_in_each_of_its_steps():
    words = prose("See [this](#at=G(noise)).")
    with pytest.raises(ValueError, match="its section has none"):
        exported(GanPage(), prose("## A", "slide"), words, prose("## B", "slide"), walked(STEP))
    with pytest.raises(ValueError, match="0 lines of T1"):
        exported(GanPage(), prose("## A", "slide"), words, walked(STEP, STEP[:1]))
