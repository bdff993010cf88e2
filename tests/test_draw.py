"""Pictures of autograd graphs: overlays on graphs made by hand, then on real records."""

from __future__ import annotations

import ast
import base64
import copy
import gc
import importlib.util
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import weakref
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
import torchviz
from IPython.core.formatters import DisplayFormatter

import gan_lessons
from gan_lessons import draw_graph, published, record, step_detach, step_retain_graph, tiny_gan
from gan_lessons.lens.model import STALE, BackwardCall, Cut, Graph, HeldBytes, Line, Node
from gan_lessons.lens.show import (
    BUFFER,
    LARGE,
    GraphPicture,
    Scene,
    fold_parameters,
    graphviz_available,
    layout,
    svg,
)
from gan_lessons.lens.show.picture import FOLDED_FROM

NOWHERE = Line("", "", 0, "")
NO_RECORD = "Without a record, cuts by detach cannot be seen, and owners are guessed"
FOREIGN = "Drawn from tensors: cuts by detach and owners are those of the graph, not of the record"
SVG = "{http://www.w3.org/2000/svg}"


def made(**changes):
    """G: weight -> transpose -> Addmm. D: weight -> Addmm -> Add, in every state. A cut between."""
    nodes = [
        Node(0, "AccumulateGrad", "G", "0.weight", (3, 2)),
        Node(1, "TBackward0", "G", None, (2, 3), (0,), forward=0),
        Node(2, "AddmmBackward0", "G", None, (4, 3), (1,), forward=0),
        Node(3, "AccumulateGrad", "D", "0.weight", (1, 3)),
        Node(4, "AddmmBackward0", "D", None, (4, 1), (3,), forward=1),
        Node(5, "SigmoidBackward0", "D", None, (4, 1), (4,), forward=1),
        Node(6, "MyLossBackward", None, None, (), (5,)),
        Node(7, "AddBackward0", None, None, (), (6, 6)),
        Node(8, "MulBackward0", None, None, (), (2,)),
        Node(9, "DivBackward0", None, None, (), (8,)),
    ]
    states = {2: "held", 4: "freed", 5: "stale", 6: "unknown", 7: "nothing"}
    graph = Graph({n.id: n for n in nodes}, {7: "d_loss", 9: "g_loss"}, (Cut(2, 4),), states)
    scene = Scene(graph, "Title", ("G", "D"), gone=frozenset({8}), lines={0: "fake = G(z)"})
    return replace(scene, **changes)


def call(**changes):
    """A backward from node 7 that reached D's weight."""
    received = {"G": (), "D": ("0.weight",)}
    plain = BackwardCall(
        0, "d_loss.backward()", NOWHERE, False, False, False, received, (1,), {}, (7, 6, 5, 4, 3),
        HeldBytes(),
    )  # fmt: skip
    return replace(plain, **changes)


def look(dot, what):
    """The attributes of a node or edge, over all its declarations."""
    found = {}
    for line in re.findall(rf"^\t{re.escape(what)} \[(.*)\]$", dot, re.MULTILINE):
        for key, value in re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', line):
            found[key] = value
    return found


def texts(svg):
    """Id of a node, edge or frame -> the lines of text in it."""
    root = ElementTree.fromstring(svg)
    groups = [g for g in root.iter(f"{SVG}g") if g.get("class") != "graph"]
    return {g.get("id"): [t.text for t in g.iter(f"{SVG}text")] for g in groups}


def recorded(step, gan=None):
    gan = gan or tiny_gan()
    real, noise = torch.zeros(4, 2), torch.ones(4, 2)
    nets = {"G": gan.generator, "D": gan.discriminator}
    with record(nets, {"G": gan.optimizer_g, "D": gan.optimizer_d}) as rec:
        step(gan, real, noise)
    return rec


# Overlays


def test_nets_differ_in_shape_and_colour():
    dot = GraphPicture(made()).dot
    g, d, loss = look(dot, "n2"), look(dot, "n4"), look(dot, "n7")
    assert "rounded" in g["style"]
    assert (g["shape"], d["shape"], loss["shape"]) == ("box", "octagon", "box")
    assert "rounded" not in loss["style"]
    assert len({g["fillcolor"], d["fillcolor"], loss["fillcolor"]}) == 3
    assert look(dot, "n0")["fillcolor"] != g["fillcolor"]  # parameters are darker


def test_every_state_has_a_look_of_its_own():
    dot = GraphPicture(made()).dot
    nodes = {"held": "n2", "freed": "n4", "stale": "n5", "unknown": "n6", "nothing": "n7"}
    looks = {state: look(dot, name) for state, name in nodes.items()} | {"absent": look(dot, "n9")}
    for state, attributes in looks.items():
        symbol = BUFFER[state][0]
        assert attributes["label"].startswith(symbol)
        assert state in attributes["class"].split()
    cues = {
        (a["label"][:1], a.get("penwidth"), a.get("peripheries"), a["style"])
        for a in looks.values()
    }
    assert len(cues) == len(looks)
    assert "stale" in looks["stale"]["label"]
    assert "dashed" in looks["freed"]["style"]
    assert "dotted" in looks["absent"]["style"]


def test_the_cut_is_a_dashed_edge_with_a_label():
    cut = look(GraphPicture(made()).dot, "n2 -> n4")
    assert cut["style"] == "dashed"
    assert cut["label"].strip() == "✂ detach()"
    assert cut["id"] == "cut-n2-n4"


def test_receivers_are_marked_in_label_border_and_class():
    dot = GraphPicture(made(call=call())).dot
    got, none = look(dot, "n3"), look(dot, "n0")
    assert got["label"].startswith("∇ 0.weight")
    assert not none["label"].startswith("∇")
    assert float(got["penwidth"]) > 1
    assert "penwidth" not in none
    assert "received" in got["class"].split()
    assert look(dot, "n4 -> n5")["class"] == "edge walked"
    assert look(dot, "n6 -> n7")["class"] == "edge walked"
    # The arrow of gradient points to where gradient goes, as on the explorer's stage.
    assert look(dot, "n6 -> n7")["dir"] == "back"
    assert "dir" not in look(dot, "n1 -> n2")
    assert look(dot, "n1 -> n2")["class"] == "edge absent"
    assert "∇" not in GraphPicture(made()).dot


def test_what_was_received_in_vain_is_dashed_and_wears_the_symbol_of_the_table():
    """In the picture as in the table: what no step uses looks unlike what is used."""
    used = GraphPicture(made(call=call()))
    vain = GraphPicture(made(call=call(), in_vain={"D": ("0.weight",)}))
    assert look(vain.dot, "n3")["label"].startswith("∇○ 0.weight")
    assert "dashed" in look(vain.dot, "n3")["style"].split(",")
    assert "dashed" not in look(used.dot, "n3")["style"].split(",")
    assert "○" not in used.text + used.dot
    line = "∇○ 0.weight (1, 3) received gradient in backward call 0, in vain"
    assert line in [re.sub(" {2,}", " ", row.strip()) for row in vain.text.splitlines()]
    assert "dashed, in vain: computed, but no optimizer step uses it" in vain._repr_html_()


def test_a_folded_parameter_is_in_vain_only_if_all_behind_it_is():
    bias = Node(10, "AccumulateGrad", "D", "0.bias", (1,))
    weight = made().graph.nodes[3]
    got = call(received={"D": ("0.weight", "0.bias")})
    for vain, mark in ((("0.weight",), "∇ "), (("0.weight", "0.bias"), "∇○ ")):
        scene = made(call=got, in_vain={"D": vain}, folded={3: (weight, bias)})
        assert look(GraphPicture(scene).dot, "n3")["label"].startswith(mark)


def test_the_graph_of_a_record_knows_what_was_in_vain():
    gan = tiny_gan()
    with record(gan.nets, gan.optimizers) as rec:
        step_detach(gan, torch.rand(4, 2), torch.randn(4, 2))
    text = draw_graph(record=rec, call=1).text
    of_g, of_d = (text.split(f"Parameters of {net}\n")[1].split("\n\n")[0] for net in "GD")
    assert "in vain" not in of_g
    assert all("∇○" in line and line.endswith(", in vain") for line in of_d.splitlines())


def test_a_call_that_raised_passed_nothing():
    dot = GraphPicture(made(call=call(error="boom"))).dot
    assert "walked" not in dot


def test_true_names_are_tooltips():
    attributes = look(GraphPicture(made()).dot, "n4")
    assert attributes["label"].endswith(" Addmm")
    assert attributes["tooltip"] == "AddmmBackward0 (4, 1)"


def test_svg_ids_are_those_of_the_nodes():
    found = texts(GraphPicture(made(call=call())).svg)
    assert found["n3"] == ["∇ 0.weight", "(1, 3)"]
    assert found["n7output"] == ["d_loss"]
    assert found["forward0"] == ["G, forward 0", "fake = G(z)"]
    assert found["cut-n2-n4"][0].strip() == "✂ detach()"
    assert "n1" in texts(GraphPicture(made(), folded=False).svg)


def test_unfolded_shows_the_accumulator():
    dot = GraphPicture(made(), folded=False).dot
    assert look(dot, "n3")["label"] == "AccumulateGrad"
    assert look(dot, "n3tensor")["label"].startswith("0.weight")
    assert look(dot, "n3tensor -> n3")["class"] == "edge"
    assert look(dot, "n1")["label"] == "T"


def test_dot_is_deterministic():
    assert GraphPicture(made()).dot == GraphPicture(made()).dot
    assert not re.search(r"\d{9}", GraphPicture(made()).dot)  # no memory addresses


def test_nothing_is_scaled_up():
    assert not re.search(r"\bsize=", GraphPicture(made()).dot)


# Folding


def test_folding_leaves_out_what_turns_a_parameter():
    graph = made().graph
    folded = fold_parameters(graph)
    assert set(graph.nodes) - set(folded.nodes) == {1}
    assert folded.nodes[2].inputs == (0,)
    assert (folded.cuts, folded.outputs) == (graph.cuts, graph.outputs)
    assert "n0 -> n2" in GraphPicture(made(graph=folded)).dot


def test_folding_keeps_views_that_are_not_of_parameters():
    nodes = [
        Node(0, "AccumulateGrad", "G", "w"),
        Node(1, "MulBackward0", inputs=(0, 0)),
        Node(2, "ViewBackward0", inputs=(1,)),
        Node(3, "TBackward0", inputs=(0,)),
    ]
    graph = Graph({n.id: n for n in nodes}, {2: "x", 3: "y"})
    assert fold_parameters(graph) == graph  # node 3 is an output: somebody holds that tensor


# Words


def test_text_says_what_the_picture_says():
    text = GraphPicture(made(call=call(), notes=("A note.",))).text
    lines = [re.sub(" {2,}", " ", line.strip()) for line in text.splitlines()]
    assert lines[:2] == ["Title", "A note."]
    assert "G, forward 0: fake = G(z)" in lines
    for line in [
        "n2 Addmm (4, 3) ■ held from n1",
        "∇ n4 Addmm (4, 1) □ freed from D 0.weight",
        "∇ n5 Sigmoid (4, 1) ⚠ stale from n4",
        "∇ n6 MyLoss () ? unknown from n5",
        "∇ n7 Add () nothing saved from n6",
        "n8 Mul () already gone from n2",
        "n9 Div () not built yet from n8",
        "0.weight (3, 2) received nothing in backward call 0",
        "∇ 0.weight (1, 3) received gradient in backward call 0",
        "✂ detach() between n2 Addmm (G) and n4 Addmm (D): values pass, no gradient comes back.",
        "d_loss = n7",
    ]:
        assert line in lines


def test_a_leaf_that_is_no_parameter_belongs_to_no_net():
    """The fake of a gradient penalty enters D's forward, but is not D's."""
    graph = made().graph
    nodes = {**graph.nodes, 3: replace(graph.nodes[3], parameter=None)}
    picture = GraphPicture(made(graph=replace(graph, nodes=nodes), call=call()))
    assert "Leaf tensors of no net\n    leaf tensor (1, 3)\n" in f"{picture.text}\n"
    assert look(picture.dot, "n3")["shape"] == "box"
    assert "∇" not in look(picture.dot, "n3")["label"]


def test_an_empty_graph():
    scene = Scene(Graph({}), "Title", ())
    assert "An empty graph: nothing here was computed with gradients." in GraphPicture(scene).text
    assert "<svg" in GraphPicture(scene).svg


# Strangers' names


@pytest.mark.parametrize(
    "name",
    ["<script>x</script>", 'a"b', "a\\", "{a|b}", "&lt;", "<b>", "a\\n", "中文", "", "\\N", "a;b]"],
)
def test_names_are_shown_as_they_are(name):
    graph = made().graph
    nodes = {**graph.nodes, 3: replace(graph.nodes[3], parameter=name, net=name)}
    scene = made(graph=replace(graph, nodes=nodes, outputs={7: name}), nets=(name, "G"))
    picture = GraphPicture(scene)
    assert texts(picture.svg)["n3"] == [*[name] * bool(name), "(1, 3)"]
    assert texts(picture.svg)["n7output"] == [name] * bool(name)
    assert name in picture.text
    assert "<script" not in picture._repr_html_()


def test_control_characters_and_endless_names_are_tamed():
    graph = made().graph
    nodes = {**graph.nodes, 3: replace(graph.nodes[3], parameter="a\nb\0c" + "x" * 200)}
    label = texts(GraphPicture(made(graph=replace(graph, nodes=nodes))).svg)["n3"]
    assert label[0].startswith("a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}cxx")
    assert len(label[0]) == 60


# Display


def test_html_is_an_image_with_legend_and_words():
    page = GraphPicture(made(call=call()))._repr_html_()
    data = re.search(r"base64,([^\"]+)", page)
    assert data is not None
    assert base64.b64decode(data[1]).decode().startswith("<svg")
    for text in ("G", "octagon: node of D", "received gradient in backward call 0"):
        assert text in page
    assert "saved-tensor hooks" in page  # the unknown node
    assert "saved-tensor hooks" not in recorded_picture()._repr_html_()


def test_the_legend_names_every_net():
    nodes = {i: Node(i, "AddBackward0", net) for i, net in enumerate("ABCDE")}
    page = GraphPicture(Scene(Graph(nodes), "Title", tuple("ABCDE")))._repr_html_()
    for text in ("rounded box: node of A", "octagon: node of B", "hexagon: node of C",
                 "parallelogram: node of D", "rounded box: node of E"):  # fmt: skip
        assert text in page


def recorded_picture():
    return draw_graph(record=recorded(step_detach), call=0)


def test_mimebundle_and_repr():
    picture = GraphPicture(made())
    bundle, _ = DisplayFormatter().format(picture)
    assert set(bundle) == {"text/plain", "text/html"}
    assert bundle["text/plain"] == picture.text == str(picture) == repr(picture)


@pytest.mark.parametrize("ending", ["svg", "dot", "gv", "txt"])
def test_save(tmp_path, ending):
    path = GraphPicture(made()).save(tmp_path / f"graph.{ending}")
    start = {"svg": "<svg", "dot": "digraph", "gv": "digraph", "txt": "Title"}[ending]
    assert path.read_text(encoding="utf-8").startswith(start)


def test_save_refuses_other_endings(tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.svg.*'graph.png'"):
        GraphPicture(made()).save(tmp_path / "graph.png")


def test_a_large_graph_is_shown_in_words():
    nodes = {i: Node(i, "MulBackward0", inputs=(i - 1,) if i else ()) for i in range(LARGE + 1)}
    page = GraphPicture(Scene(Graph(nodes), "Long", ()))._repr_html_()
    assert f"{LARGE + 1} nodes are too many" in page
    assert "<img" not in page


# Tensors


def test_drawn_from_tensors():
    gan = tiny_gan()
    fake = gan.generator(torch.ones(4, 2))
    g_loss = gan.discriminator(fake).mean()
    picture = draw_graph(g_loss, nets={"G": gan.generator, "D": gan.discriminator})
    assert "Autograd graph of g_loss" in picture.text
    assert NO_RECORD in picture.text
    assert NO_RECORD in picture.caption
    assert "No cuts." not in picture.text
    assert {(n.net, n.parameter) for n in picture.graph.nodes.values() if n.parameter} == {
        (net, name)
        for net, module in (("G", gan.generator), ("D", gan.discriminator))
        for name, _ in module.named_parameters()
    }


def test_names_of_tensors():
    x = torch.ones(2, requires_grad=True)
    loss = x.sum()
    both = draw_graph(loss, x * 2)
    assert set(both.graph.outputs.values()) == {"loss", "x * 2"}
    assert set(draw_graph(*[loss]).graph.outputs.values()) == {"output 0"}
    again = draw_graph(loss, loss)
    assert "output 0, output 1" in again.text
    assert set(draw_graph(loss, names=["mine"]).graph.outputs.values()) == {"mine"}
    assert "leaf tensor" in draw_graph(loss).text


class Mark:
    """Something that dies with its node."""


def test_a_picture_keeps_no_graph_alive():
    x = torch.ones(2, requires_grad=True)
    loss = x.exp().sum()
    assert loss.grad_fn is not None
    mark = Mark()
    loss.grad_fn.metadata["mark"] = mark  # type: ignore[index]
    gone = weakref.ref(mark)
    picture = draw_graph(loss)
    del loss, mark
    gc.collect()
    assert gone() is None
    assert "Exp" in picture.dot


def test_a_long_chain():
    x = torch.ones((), requires_grad=True)
    y = x
    for _ in range(3000):
        y = y * 2
    limit = sys.getrecursionlimit()
    picture = draw_graph(y)
    assert picture.dot.count("MulBackward0") >= 3000
    assert "n3000" in texts(picture.svg)
    assert sys.getrecursionlimit() == limit


def test_the_recursion_limit_is_not_touched(monkeypatch):
    def refused(limit):
        raise AssertionError("the limit belongs to the whole process")

    nodes = {i: Node(i, "MulBackward0", inputs=(i - 1,) if i else ()) for i in range(3000)}
    monkeypatch.setattr(sys, "setrecursionlimit", refused)
    assert GraphPicture(Scene(Graph(nodes), "Long", ())).dot.count("->") == 2999


def test_torchviz_decides_what_is_drawn_and_in_which_order(monkeypatch):
    """The Digraph is torchviz's: what it leaves out is not there, what it turns round is."""
    original = torchviz.make_dot

    def altered(outputs):
        dot = original(outputs)
        dot.body = [line for line in reversed(dot.body) if "->" not in line]
        return dot

    before = re.findall(r"^\t(n\d+(?:output)?) \[", GraphPicture(made()).dot, re.MULTILINE)
    monkeypatch.setattr(torchviz, "make_dot", altered)
    dot = GraphPicture(made()).dot
    assert re.findall(r"^\t(n\d+(?:output)?) \[", dot, re.MULTILINE) == before[::-1]
    assert re.findall(r"^\t(n\d+ -> n\d+) ", dot, re.MULTILINE) == ["n2 -> n4"]  # the cut is ours


# Records


def test_record_of_s2():
    rec = recorded(step_detach)
    picture = draw_graph(record=rec, call=0)
    assert {n.parameter for n in marked(picture)} == set(rec.backward_calls[0].received["D"])
    assert {n.net for n in marked(picture)} == {"D"}
    (cut,) = picture.graph.cuts
    assert (picture.graph.nodes[cut.source].net, picture.graph.nodes[cut.target].net) == ("G", "D")
    assert f"n{cut.source} -> n{cut.target}" in picture.dot
    assert "not built yet" in picture.text  # the forward for G comes later
    assert "right after event 4: backward call 0: d_loss.backward()" in picture.text
    assert {n.net for n in marked(draw_graph(record=rec, call=1))} == {"G", "D"}


def marked(picture):
    """The nodes that bear the mark of having received."""
    return [
        node
        for node in picture.graph.nodes.values()
        if "received" in look(picture.dot, f"n{node.id}")["class"].split()
    ]


def test_moments_of_a_record():
    rec = recorded(step_retain_graph)
    first, last = draw_graph(record=rec, event=0), draw_graph(record=rec)
    assert "right after event 0: forward G" in first.text
    assert "■ held" in first.text
    assert f"right after event {len(rec.events) - 1}: step G" in last.text
    assert "□ freed" in last.text
    assert set(first.graph.nodes) == set(last.graph.nodes)  # one union, nothing jumps


def test_stale_buffers_of_the_printed_listing():
    gan = tiny_gan()
    nets = {"G": gan.generator, "D": gan.discriminator}
    with pytest.raises(RuntimeError, match="modified by an inplace"), record(nets) as rec:
        published.retain_graph_as_printed(gan, torch.zeros(4, 2), torch.ones(4, 2))
    picture = draw_graph(record=rec)
    assert "⚠ stale" in picture.text
    assert "⚠ stale" in "".join(t for lines in texts(picture.svg).values() for t in lines)


def test_tensors_with_a_record():
    gan = tiny_gan()
    nets = {"G": gan.generator, "D": gan.discriminator}
    with record(nets) as rec:
        loss = gan.discriminator(gan.generator(torch.ones(4, 2))).mean()
        loss.backward(retain_graph=True, inputs=list(gan.generator.parameters()))
    picture = draw_graph(loss, nets=nets, record=rec, call=0)
    assert {n.net for n in marked(picture)} == {"G"}
    assert FOREIGN in picture.text
    with pytest.raises(ValueError, match=r"names of the record \(G, D\); got none"):
        draw_graph(loss, record=rec, call=0)


def test_the_moment_of_a_call_is_its_end():
    """An optimizer may step inside backward: that is an event of the call, and not its last."""
    gan = tiny_gan()
    for parameter in gan.discriminator.parameters():
        parameter.register_post_accumulate_grad_hook(lambda _: gan.optimizer_d.step())
    with record({"D": gan.discriminator}, {"D": gan.optimizer_d}) as rec:
        gan.discriminator(torch.zeros(4, 2)).mean().backward()
    kinds = [event.kind for event in rec.events]
    assert kinds.index("step") < kinds.index("backward")
    picture = draw_graph(record=rec, call=0)
    assert f"right after event {kinds.index('backward')}: backward call 0" in picture.text


def test_record_without_events():
    with record(tiny_gan_nets()) as rec:
        pass
    assert (
        "An empty graph: nothing here was computed with gradients." in draw_graph(record=rec).text
    )


def tiny_gan_nets():
    gan = tiny_gan()
    return {"G": gan.generator, "D": gan.discriminator}


# What cannot be drawn


def test_errors():
    x = torch.ones(2, requires_grad=True)
    loss, rec = x.sum(), recorded(step_detach)
    with pytest.raises(ValueError, match="nothing to draw"):
        draw_graph()
    with pytest.raises(TypeError, match="got list at position 0"):
        draw_graph([loss])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="x has no graph"):
        draw_graph(x)
    with pytest.raises(ValueError, match="direction must be one of TB, LR; got 'RL'"):
        draw_graph(loss, direction="RL")
    with pytest.raises(ValueError, match="one distinct name for each of the 1 outputs"):
        draw_graph(loss, names=["a", "b"])
    with pytest.raises(TypeError, match="nets must map names to modules"):
        draw_graph(loss, nets={"G": loss})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="pass record= as well"):
        draw_graph(loss, call=0)
    with pytest.raises(ValueError, match="leave out the outputs"):
        draw_graph(loss, record=rec, event=0)
    with pytest.raises(IndexError, match="backward call 2 of a record with 2"):
        draw_graph(record=rec, call=2)
    with pytest.raises(IndexError, match="event 99"):
        draw_graph(record=rec, event=99)
    with record(tiny_gan_nets()) as unfinished, pytest.raises(ValueError, match="not complete"):
        draw_graph(record=unfinished)


# Graphviz


@pytest.fixture
def fake_dot(tmp_path, monkeypatch):
    """Put a program called dot first on the PATH; it runs the given Python."""

    def install(code):
        program = tmp_path / "dot"
        program.write_text(f"#!{sys.executable}\nimport sys\n{code}\n", encoding="utf-8")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    return install


def without_wheel(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


needs_scripts = pytest.mark.skipif(os.name == "nt", reason="a script with #! is no program there")


@needs_scripts
def test_the_systems_dot_comes_first(fake_dot):
    fake_dot("print('<?xml?><svg>', sys.argv[1:], sys.stdin.read().strip(), '</svg>')")
    assert svg("digraph {}") == "<svg> ['-Kdot', '-Tsvg'] digraph {} </svg>\n"


@needs_scripts
def test_a_broken_dot_does_not_hide_the_wheel(fake_dot):
    fake_dot("sys.exit('Format: \"svg\" not recognized')")
    assert "<title>a</title>" in svg("digraph {a}")
    assert [node["name"] for node in layout("digraph {a}")["objects"]] == ["a"]


@needs_scripts
def test_a_broken_dot_alone_is_explained(fake_dot, monkeypatch):
    fake_dot("sys.exit('Format: \"svg\" not recognized')")
    without_wheel(monkeypatch)
    with pytest.raises(
        RuntimeError, match=r'could not lay out this graph: .*Format: "svg" not rec'
    ):
        svg("digraph {a}")


def test_no_graphviz_at_all(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    without_wheel(monkeypatch)
    picture = GraphPicture(made())
    assert not graphviz_available()
    with pytest.raises(RuntimeError, match="pip install pygraphviz"):
        _ = picture.svg
    page = picture._repr_html_()
    assert "pip install pygraphviz" in page
    assert "■ held" in page


def test_bad_dot_is_explained_and_says_nothing_else(capfd):
    with pytest.raises(
        RuntimeError, match=r"could not lay out this graph: .*syntax error in line 1"
    ):
        svg("digraph { a -> }")
    assert capfd.readouterr().err == ""


def test_what_graphviz_says_of_a_picture_is_passed_on(capfd):
    """Fontconfig's warning is not: it comes with the first picture of a process, see below."""
    assert "<title>a</title>" in svg("digraph { a [shape=nothing_like_it] }")
    told = capfd.readouterr().err
    assert "unknown shape nothing_like_it" in told
    assert "Fontconfig" not in told
    assert svg("digraph {a}").startswith("<svg")
    assert capfd.readouterr().err == ""  # each is told once


def test_standard_error_of_this_process_is_not_touched(monkeypatch, capfd):
    """It belongs to the whole process: others write to it while a graph is drawn."""

    def refused(*descriptors):
        raise AssertionError("others write there")

    with monkeypatch.context() as patch:  # capfd needs it afterwards
        patch.setattr(os, "dup2", refused)
        assert svg("digraph {a}").startswith("<svg")
    os.write(2, b"still here\n")
    assert capfd.readouterr().err == "still here\n"


def test_graphviz_is_not_loaded_into_this_process():
    """Interrupted here, it closes a graph twice, and the kernel is dead."""
    code = (
        "import sys; from gan_lessons.lens.show import svg; svg('digraph {a}'); "
        "print('pygraphviz' in sys.modules)"
    )
    assert run("-c", code).stdout == "False\n"


INTERRUPTED = """
import os, random, signal, sys, time
from pathlib import Path
from gan_lessons.lens.show import svg

def interrupt(*_):
    raise KeyboardInterrupt

def draw(i):
    assert f"<title>node{i}</title>" in svg(f"digraph {{node{i}}}")  # nobody else's answer

random.seed(0)
signal.signal(signal.SIGALRM, interrupt)
draw(0)
begun = time.perf_counter()
for i in range(20):
    draw(i)
usual, interrupts = (time.perf_counter() - begun) / 20, 0
for i in range(100):
    try:
        signal.setitimer(signal.ITIMER_REAL, random.random() * usual + 1e-6)
        draw(i)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        interrupts += 1
    draw(1000 + i)
children = Path(f"/proc/self/task/{os.getpid()}/children")
for _ in range(100):  # one that was stopped needs a moment to end
    left = len(children.read_text().split()) if children.exists() else 1
    time.sleep(0.1 if left > 1 else 0)
print(interrupts > 5, left <= 1)
"""


@pytest.mark.skipif(os.name == "nt", reason="no timers there that send a signal")
def test_interrupted_many_times():
    done = run("-X", "faulthandler", "-W", "ignore::ResourceWarning", "-c", INTERRUPTED)
    assert (done.returncode, done.stdout) == (0, "True True\n"), done.stderr


FORKED = """
import os
from gan_lessons.lens.show import svg

def draw(name):
    for i in range(30):
        assert f"<title>{name}{i}</title>" in svg(f"digraph {{{name}{i}}}")

draw("before")
child = os.fork()
draw("child" if child == 0 else "parent")
if child == 0:
    os._exit(0)
print(os.waitpid(child, 0)[1])
"""


@pytest.mark.skipif(os.name == "nt", reason="no fork there")
def test_a_forked_process_gets_its_own_answers():
    done = run("-W", "ignore", "-c", FORKED)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


@pytest.fixture
def slow_graph():
    """284 nodes, more than a minute of layout: residuals, and a gradient of a gradient."""
    layers = [torch.nn.Linear(3, 3) for _ in range(40)]
    x = torch.ones(2, 3, requires_grad=True)
    y = x
    for first, second in zip(layers[::2], layers[1::2], strict=True):
        y = y + second(torch.tanh(first(torch.tanh(y))))
    (gradient,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    return draw_graph(gradient.norm() + y.mean())


def test_a_page_does_not_wait_for_a_layout_that_takes_long(slow_graph, monkeypatch):
    monkeypatch.setattr("gan_lessons.lens.show.render.LIMIT", 0.3)
    assert len(slow_graph.graph.nodes) <= LARGE
    with pytest.raises(RuntimeError, match=r"stopped after 0\.3 seconds.*\.save\('graph\.svg'\)"):
        svg(slow_graph.dot)
    page = slow_graph._repr_html_()
    assert "stopped after 0.3 seconds" in page
    assert "TanhBackward0" not in page  # no picture,
    assert "Tanh (2, 3)" in page  # but the words
    monkeypatch.undo()  # a new process starts for it, which may take longer than that
    assert svg("digraph {a}").startswith("<svg")  # the next is drawn


@pytest.mark.skipif(os.name == "nt", reason="no timers there that send a signal")
def test_who_waits_for_a_layout_is_told_and_can_stop_it(slow_graph, monkeypatch, capsys):
    monkeypatch.setattr("gan_lessons.lens.show.render.LIMIT", 0.2)

    def interrupt(*_):
        raise KeyboardInterrupt

    assert "Tanh" in slow_graph.dot  # what is timed is the layout
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 2)
    try:
        with pytest.raises(KeyboardInterrupt):
            _ = slow_graph.svg
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert capsys.readouterr().err.count("Graphviz needs long to lay out this graph") == 1
    monkeypatch.undo()  # a new process starts for it, which may take longer than that
    assert svg("digraph {a}").startswith("<svg")
    assert capsys.readouterr().err == ""


@needs_scripts
def test_the_systems_dot_is_stopped_too(fake_dot, monkeypatch):
    monkeypatch.setattr("gan_lessons.lens.show.render.LIMIT", 0.3)
    fake_dot("import time; time.sleep(60)")
    with pytest.raises(RuntimeError, match=r"stopped after 0\.3 seconds"):
        svg("digraph {a}")


@pytest.fixture
def worker(tmp_path, monkeypatch):
    """Lay out with another program than ours; it runs the given Python."""
    rendering = importlib.import_module("gan_lessons.lens.show.render")
    monkeypatch.setattr(shutil, "which", lambda name: None)

    def install(code):
        rendering._end_all()
        program = tmp_path / "worker.py"
        program.write_text(code, encoding="utf-8")
        monkeypatch.setattr(rendering, "_WORKER", program)

    yield install
    rendering._end_all()


def test_a_crash_of_graphviz_is_explained(worker):
    worker("import os; os._exit(7)")
    with pytest.raises(RuntimeError, match=r"could not lay out .* ended with status 7 and no pic"):
        svg("digraph {a}")


def test_a_process_that_ended_meanwhile_is_replaced(worker):
    worker("""import os; input(); print(f'["<svg>{os.getpid()}", ""]', flush=True)""")
    first = svg("digraph {a}")
    importlib.import_module("gan_lessons.lens.show.render")._idle[-1].wait(60)
    assert first != svg("digraph {a}")


def test_the_first_picture_of_a_process_is_silent():
    code = "from gan_lessons.lens.show import svg; print(svg('digraph {a}')[:4])"
    done = run("-W", "error", "-c", code)
    assert (done.stdout, done.stderr) == ("<svg\n", "")


def test_torchviz_warns_no_learner():
    code = (
        "import torch; from gan_lessons import draw_graph; x = torch.ones(2, requires_grad=True); "
        "print(draw_graph(x.sum()).dot[:7])"
    )
    done = run("-W", "error::DeprecationWarning", "-c", code)
    assert (done.stdout, done.stderr) == ("digraph\n", "")


def run(*arguments):
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=120
    )


# Every text has its use


SOURCES = {
    path: ast.parse(path.read_text(encoding="utf-8"))
    for path in Path(gan_lessons.__file__).parent.rglob("*.py")
}
USES = {
    path: {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    for path, tree in SOURCES.items()
}


def constants(path):
    """The names in capitals that a module gives a value to."""
    targets = [t for n in SOURCES[path].body if isinstance(n, ast.Assign) for t in n.targets]
    names = [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
    return {name for name in names if name.isupper()}


def test_no_constant_is_left_over():
    """A translator should not translate what nobody reads."""
    rooms = [path for path in SOURCES if path.parent.name == "show"]
    left = {
        name for path in rooms for name in constants(path) if name not in set.union(*USES.values())
    }
    assert left == set()
    assert len(set.union(*map(constants, rooms))) > 20  # they were found


def test_symbols_are_a_common_vocabulary():
    """What is said in one place stands there."""
    (symbols,) = (path for path in SOURCES if path.name == "symbols.py")
    users = {name: sum(name in found for found in USES.values()) for name in constants(symbols)}
    assert {name for name, count in users.items() if count < 2} == set()
    assert {"GRADIENT", "BUFFER"} <= users.keys()


def test_a_label_that_starts_with_an_empty_line_does_not_crash_the_process() -> None:
    """torchviz writes such labels, and the wheel's Graphviz dies of them, from the second on."""
    script = """
from gan_lessons.lens.show import svg
dot = 'digraph { c [label=c]; c -> a; a [label="\\\\n (2, 3)"]; b [label="\\n 4"] }'
print(len({svg(dot) for _ in range(30)}))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


def deep(layers: int) -> torch.nn.Sequential:
    block = (torch.nn.Linear(4, 4), torch.nn.Tanh(), torch.nn.Linear(4, 4))
    return torch.nn.Sequential(*[torch.nn.Sequential(*copy.deepcopy(block)) for _ in range(layers)])


def test_a_large_graph_is_folded_by_submodule_and_says_so():
    G, D = deep(15), deep(15)
    with record({"G": G, "D": D}) as rec:
        D(G(torch.randn(2, 4)).detach()).mean().backward()
        D(G(torch.randn(2, 4))).mean().backward()
    whole, folded = draw_graph(record=rec, fold=False), draw_graph(record=rec)
    assert len(whole.graph.nodes) > FOLDED_FROM > len(folded.graph.nodes)
    assert (
        f"{len(whole.graph.nodes)} nodes are folded into {len(folded.graph.nodes)}" in folded.text
    )
    assert folded.svg.startswith("<svg")
    # Every submodule of every forward, and each is made from the one before it.
    modules = [n for n in folded.graph.nodes.values() if n.net == "D" and n.forward == 3]
    assert [n.op for n in modules] == [f"{i}: 3 operations" for i in range(15)]
    for before, after in itertools.pairwise(modules):
        assert before.id in after.inputs
    assert len(folded.graph.cuts) == 1
    assert {*folded.graph.outputs.values()} == {*whole.graph.outputs.values()}
    everything = {n.id for nodes in folded.scene.folded.values() for n in nodes}
    alone = folded.graph.nodes.keys() - folded.scene.folded.keys()
    assert everything | alone == fold_parameters(rec.graph).nodes.keys()


def test_a_folded_parameter_received_what_one_of_its_parts_received():
    G, D = deep(40), deep(40)
    with record({"G": G, "D": D}) as rec:
        D(G(torch.randn(2, 4)).detach()).mean().backward()
        D(G(torch.randn(2, 4))).mean().backward()
    for call, nets in ((0, {"D"}), (1, {"G", "D"})):
        scene = draw_graph(record=rec, call=call).scene
        leaves = [n for n in scene.graph.nodes.values() if n.is_leaf]
        assert {n.net for n in leaves if scene.received(n)} == nets
        walked = {n.forward for n in scene.graph.nodes.values() if n.net and scene.walked(n.id)}
        assert walked - {None} == {*rec.backward_calls[call].forwards}


def test_a_gradient_of_a_gradient_is_drawn_within_seconds():
    """Residuals and a double backward: unfolded, its layout takes minutes."""
    net = deep(40)
    x = torch.ones(2, 4, requires_grad=True)
    with record({"net": net}) as rec:
        (slope,) = torch.autograd.grad(net(x + net(x)).sum(), x, create_graph=True)
        slope.square().sum().backward()
    picture = draw_graph(record=rec)
    assert len(rec.graph.nodes) > 800
    assert len(picture.graph.nodes) <= 120
    assert picture.svg.startswith("<svg")


def test_a_folded_submodule_is_in_the_gravest_state_of_its_parts():
    """One part that a backward would stumble over makes the whole one that it stumbles over."""
    net = deep(120)
    with record({"net": net}) as rec:
        kept = net(torch.randn(2, 4)).sum()
        with torch.no_grad():
            net.get_parameter("60.0.weight").mul_(1)  # what was saved of it is stale now
        assert kept.requires_grad
        net[0].zero_grad()  # an event after it
    scene = draw_graph(record=rec).scene
    states = {
        scene.graph.nodes[i].op.partition(":")[0]: {scene.graph.states.get(i)}
        for i in scene.folded
        if not scene.graph.nodes[i].is_leaf
    }
    of_parts = {
        scene.graph.nodes[i].op.partition(":")[0]: {
            rec.graph_at(-1).states.get(n.id) for n in nodes
        }
        for i, nodes in scene.folded.items()
        if not scene.graph.nodes[i].is_leaf
    }
    mixed = [name for name, found in of_parts.items() if len(found - {None}) > 1]
    assert mixed
    stale = [name for name, found in of_parts.items() if STALE in found]
    assert stale
    assert all(states[name] == {STALE} for name in stale)
