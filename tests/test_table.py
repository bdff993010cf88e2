"""The gradient table: a view of plain data, so most of it is tested on records made by hand."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch

from gan_lessons import data, record, record_step, step_detach, tiny_gan
from gan_lessons.lens.model import Event, GradState, HeldBytes, Line, Record
from gan_lessons.lens.show import GRADIENT, GradientTable, bytes_text, describe, norm_text

NO_EVENTS = "No events: nothing in the recorded block touched these nets or optimizers."
NONE, D_GRAD = GradState(), GradState(0.5, (0,), used_by=2)


def event(index, kind, grads, *, source="", held=0, **more):
    line = Line(source, "train.py", 10 + index, "train")
    target = more.pop("target", None)
    return Event(index, kind, target, line, grads, {}, HeldBytes(held), {}, **more)


def made(*events, parameters=None, complete=True):
    parameters = parameters or {"G": {"w": (2, 3)}, "D": {"w": (1, 2), "b": (1,)}}
    return Record(parameters, {}, list(events), complete=complete)


def story():
    """zero_grad, a backward that fills G in vain and D for its step, an error."""
    before = {"G": {"w": NONE}, "D": {"w": NONE, "b": NONE}}
    after = {"G": {"w": GradState(0.25, (0,))}, "D": {"w": D_GRAD, "b": D_GRAD}}
    return made(
        event(0, "zero_grad", before, target="D", source="opt_d.zero_grad()"),
        event(1, "backward", after, call=0, source="d_loss.backward()  # both", held=2048),
        event(2, "step", after, target="D", source="opt_d.step()"),
        event(3, "error", after, call=1, message="boom", what="`x` broke", fix="<b>it</b>."),
    )


class Table(HTMLParser):
    """The rows of the table as lists of (class, text), and the tags that were never closed."""

    def __init__(self, page):
        super().__init__()
        self.rows, self.tags, self._cell = [], [], None
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        if tag != "wbr":
            self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append([dict(attributes), ""])

    def handle_endtag(self, tag):
        assert self.tags.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self.tags):
            self.rows[-1][-1][1] += data


def matrix(text):
    """The rows of the terminal's matrix: (name, cell, cell, ...)."""
    lines = [line.strip() for line in text.splitlines() if line.startswith("  ")]
    return [tuple(re.split(" {2,}", line)) for line in lines]


# What a cell says


@pytest.mark.parametrize(
    ("state", "complete", "kind", "text"),
    [
        (GradState(), True, "none", "–"),
        (GradState(0.0), True, "zero", "0"),
        (GradState(0.0, (0,)), True, "zero", "0"),
        (GradState(0.5, (0,), used_by=3), True, "fresh", "● 0.5"),
        (GradState(0.5, (0, 2), used_by=3), True, "accumulated", "⊕ 0.5 (0+2)"),
        (GradState(0.5, (0,)), True, "vain", "○ 0.5"),
        (GradState(0.5, (0, 1)), True, "vain", "○ 0.5 (0+1)"),
        (GradState(0.5, (0,)), False, "fresh", "● 0.5"),
        (GradState(0.5, (0, 1)), False, "accumulated", "⊕ 0.5 (0+1)"),
        (GradState(0.5, (), by_hand=True), True, "by_hand", "✎ 0.5"),
        (GradState(0.5, (1,), used_by=4, by_hand=True), True, "by_hand", "✎ 0.5"),
        (GradState(float("nan"), (0,), used_by=1), True, "fresh", "● nan"),
    ],
)
def test_describe(state, complete, kind, text):
    cell = describe(state, complete)
    assert (cell.kind, cell.text) == (kind, text)


def test_a_sum_that_is_in_vain_is_explained_too():
    """Its symbol is ○, so that the line on ⊕ does not stand below it."""
    both = {"G": {"w": GradState(0.5, (0, 1))}, "D": {"w": NONE, "b": NONE}}
    text = str(GradientTable(made(event(0, "backward", both, call=1))))
    assert "○ 0.5 (0+1)" in text
    assert "⊕" not in text
    assert "(0+1): the sum of what the backward calls of these numbers wrote" in text


def test_every_kind_has_its_own_symbol():
    symbols = [symbol for symbol, _, _ in GRADIENT.values()]
    assert len(set(symbols)) == len(symbols)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (0.0456, "0.046"),
        (3.14159, "3.1"),
        (1234.5, "1234"),
        (1e-9, "1e-09"),
        (2e7, "2e+07"),
    ],
)
def test_norm_text(value, text):
    assert norm_text(value) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (14470349, "13.8 MiB"),
        (2**42, "4096.0 GiB"),
    ],
)
def test_bytes_text(count, text):
    assert bytes_text(HeldBytes(count)) == text
    assert bytes_text(HeldBytes(count, complete=False)) == f"≥ {text}"


# The terminal


def test_terminal_says_all():
    text = str(GradientTable(story()))
    assert matrix(text) == [
        ("w", "–", "○ 0.25*", "○ 0.25", "○ 0.25"),
        ("w", "–", "● 0.5*", "● 0.5 ✓", "● 0.5 ✓"),
        ("b", "–", "● 0.5*", "● 0.5 ✓", "● 0.5 ✓"),
    ]
    assert "✓ used: an optimizer step has used it" in text
    assert "1  backward call 0  d_loss.backward()\n" in text
    assert "3  error ✗" in text
    assert "2.0 KiB" in text
    assert "○ in vain:" in text
    assert "⊕" not in text  # the legend names what occurs, and no more
    assert "(0+1)" not in text
    assert text.endswith("In plain words: `x` broke <b>it</b>.")
    assert max(map(len, text.splitlines())) <= 100


def test_what_a_step_has_used_says_so_until_it_is_cleared_or_added_to():
    rec = record_step(step_detach, tiny_gan(seed=0), data.ring(4, seed=0), data.noise(4, (2,)))
    rows = GradientTable(rec).rows()
    ticks = {net: [[cell.used for cell in row.cells] for row in rows[net]] for net in rows}
    kinds = [event.kind for event in GradientTable(rec).columns]
    assert kinds == ["zero_grad", "backward", "step", "zero_grad", "backward", "step"]
    d_ticks = [False, False, True, True, False, False]  # g_loss.backward() adds to it, in vain
    assert ticks == {"G": [[False] * 5 + [True]] * 4, "D": [d_ticks] * 4}


def test_print_record_is_the_table():
    assert str(story()) == str(GradientTable(story())) == repr(GradientTable(story()))


def test_forwards_have_no_column_until_asked_for():
    grads = {"G": {"w": NONE}, "D": {"w": NONE, "b": NONE}}
    rec = made(event(0, "forward", grads, target="G", forward=0, source="fake = G(z)"))
    text = str(GradientTable(rec))
    assert "forward G" in text
    assert "No events of these kinds: zero_grad, backward, grad, step, error." in text
    assert matrix(str(GradientTable(rec, events=["forward"]))) == [
        ("w", "–"),
        ("w", "–"),
        ("b", "–"),
    ]


def test_unknown_kind_of_event():
    with pytest.raises(ValueError, match=r"events must be among forward, .*got 'backwards'"):
        GradientTable(story(), events=["backwards"])


def test_a_wide_table_continues_below():
    grads = {"G": {"w": NONE}, "D": {"w": D_GRAD, "b": D_GRAD}}
    rec = made(*(event(i, "backward", grads, call=i) for i in range(40)))
    text = str(GradientTable(rec, width=80))
    assert max(map(len, text.splitlines())) <= 80
    numbers = [
        n for line in text.splitlines() if line.startswith("parameter") for n in line.split()[1:]
    ]
    assert numbers == [str(i) for i in range(40)]


# Records that hold little or much


def test_no_events():
    table = GradientTable(made())
    assert NO_EVENTS in str(table)
    assert NO_EVENTS in table._repr_html_()


def test_a_net_without_parameters():
    rec = made(
        event(0, "step", {"G": {}, "D": {"w": D_GRAD}}), parameters={"G": {}, "D": {"w": (1,)}}
    )
    assert "G: no parameters" in str(GradientTable(rec))
    assert "G: no parameters" in GradientTable(rec)._repr_html_()


def test_an_unfinished_record_does_not_call_anything_vain():
    rec = replace(story(), complete=False)
    text = str(GradientTable(rec))
    assert "○" not in text
    assert "The recording is not over" in text


def test_many_parameters_with_one_story_share_a_row():
    state, odd = GradState(3.0, (0,), used_by=1), GradState(4.0, (0,))
    grads = {"G": {f"w{i}": odd if i == 5 else state for i in range(400)}}
    shapes = {"G": {f"w{i}": (2,) for i in range(400)}}
    rec = made(event(0, "backward", grads, call=0), event(1, "step", grads), parameters=shapes)
    rows = GradientTable(rec).rows()["G"]
    assert [row.name for row in rows] == ["w0 … w399 (399 alike)", "w5"]
    assert rows[0].cells[0].value == pytest.approx(3.0 * 399**0.5)
    assert "parameters with the same story share a row" in str(GradientTable(rec))
    assert len(GradientTable(rec, fold=400).rows()["G"]) == 400


@pytest.mark.parametrize(("steps", "rows"), [(6, 12), (40, 2)])
def test_a_net_whose_rows_would_fill_pages_is_folded_however_small(steps, rows):
    """Twelve parameters have a row each, unless there is a column for each of many events."""
    odd = {"w5": GradState(4.0, (0,))}
    grads = {"G": {f"w{i}": GradState(3.0, (0,), used_by=1) for i in range(12)} | odd}
    shapes = {"G": dict.fromkeys(grads["G"], (2,))}
    rec = made(*(event(i, "backward", grads, call=0) for i in range(steps)), parameters=shapes)
    assert len(GradientTable(rec).rows()["G"]) == rows
    assert ("share a row" in str(GradientTable(rec))) == (rows == 2)
    assert len(GradientTable(rec, fold=12 * steps).rows()["G"]) == 12


# The notebook


def test_html_is_well_formed_and_says_all():
    page = Table(GradientTable(story())._repr_html_())
    assert page.tags == []
    heads = [text for _, text in page.rows[0]]
    assert heads[:3] == [
        "parameter",
        "0 zero_grad Dopt_d.zero_grad()",
        "1 backward call 0d_loss.backward()",
    ]
    assert [(a["class"], text) for a, text in page.rows[2][1:]] == [
        ("none", "–"), ("vain changed", "○ 0.25"), ("vain", "○ 0.25"), ("vain", "○ 0.25"),
    ]  # fmt: skip
    assert [text for _, text in page.rows[-1]] == [
        "held by the graph",
        "0 B",
        "2.0 KiB",
        "0 B",
        "0 B",
    ]


def test_every_heading_has_a_scope():
    page = GradientTable(story())._repr_html_()
    assert page.count("<th ") == page.count('scope="')
    assert "<th>" not in page


def test_html_escapes_names_and_explanations():
    nasty = "<script>alert('x')</script>"
    state = {nasty: {nasty: D_GRAD}}
    rec = made(
        event(0, "step", state, target=nasty, source=nasty), parameters={nasty: {nasty: (1,)}}
    )
    page = GradientTable(rec)._repr_html_()
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 3
    assert "<code>x</code> broke &lt;b&gt;it&lt;/b&gt;." in GradientTable(story())._repr_html_()


def test_names_stay_on_one_line():
    rec = made(event(0, "step", {"G": {"a\nb": NONE}}), parameters={"G": {"a\nb": (1,)}})
    assert "  a\N{REPLACEMENT CHARACTER}b" in str(GradientTable(rec))


# A real record


def test_table_of_a_real_step():
    gan = tiny_gan()
    real, noise = torch.zeros(4, 2), torch.ones(4, 2)
    nets = {"G": gan.generator, "D": gan.discriminator}
    with record(nets, {"G": gan.optimizer_g, "D": gan.optimizer_d}) as rec:
        step_detach(gan, real, noise)
    rows = GradientTable(rec, events=["backward"]).rows()
    assert {cell.kind for row in rows["G"] for cell in row.cells[:1]} == {"none"}
    assert {cell.kind for row in rows["G"] for cell in row.cells[1:]} == {"fresh"}
    assert {cell.kind for row in rows["D"] for cell in row.cells[:1]} == {"fresh"}
    assert {(cell.kind, cell.sources) for row in rows["D"] for cell in row.cells[1:]} == {
        ("vain", (0, 1))
    }
    used = GradientTable(rec, events=["step"]).rows()
    assert all(cell.used for row in used["D"] for cell in row.cells[:1])
    assert all(cell.used for row in used["G"] for cell in row.cells[1:])
