"""The explorer's data, held against the record it was made from; no browser here."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest
import torch
import traitlets
from torch import nn, optim

from gan_lessons import STRATEGIES, Gan, data, dcgan, published, record_step, step_frozen, tiny_gan
from gan_lessons.classroom import (
    KIND_LETTERS,
    STATE_LETTERS,
    StrategyExplorer,
    Together,
    caption,
    explore,
    make_film,
)
from gan_lessons.classroom.explorer import colours, ending, film, folded
from gan_lessons.lens.model import STATES
from gan_lessons.lens.show import bytes_text, describe, event_text
from gan_lessons.strategies import THREE

REAL, NOISE = data.ring(4, seed=0), data.noise(4, (2,), seed=0)
LETTER_OF_STATE = {letter: state for state, letter in STATE_LETTERS.items()}
LETTER_OF_KIND = {letter: kind for kind, letter in KIND_LETTERS.items()}
STEPS = {key: STRATEGIES[key].step for key in THREE} | {
    "printed": published.retain_graph_as_printed
}


@pytest.fixture(scope="module", params=STEPS)
def pair(request):
    """(record, film) of each step."""
    rec = record_step(STEPS[request.param], tiny_gan(seed=0), REAL, NOISE)
    return rec, make_film(rec, request.param)


@pytest.fixture(scope="module")
def explorer():
    return explore()


# Frames -------------------------------------------------------------------------------------------


def test_letters_are_distinct():
    assert len(LETTER_OF_STATE) == len(STATES)
    assert len(LETTER_OF_KIND) == len(KIND_LETTERS)


def test_every_moment_shows_the_states_of_the_record(pair):
    rec, shown = pair
    assert len(shown["moments"]) == len(rec.moments)
    ids = [int(node["id"][1:]) for node in shown["nodes"]]
    for moment, frame in zip(rec.moments, shown["moments"], strict=True):
        told = dict(zip(ids, frame["states"], strict=True))
        assert {i: LETTER_OF_STATE[s] for i, s in told.items() if s != "."} == {
            i: s for i, s in moment.states.items() if i in told
        }
        assert (frame["line"], frame["held"]) == (moment.line, moment.held.activations)
        assert frame.get("raised", False) == moment.raised


def test_every_moment_shows_the_gradients_of_the_record(pair):
    rec, shown = pair
    assert [tuple(p) for p in shown["parameters"]] == [
        (net, name) for net, names in rec.parameters.items() for name in names
    ]
    for moment, frame in zip(rec.moments, shown["moments"], strict=True):
        for (net, name), letter in zip(shown["parameters"], frame["grads"], strict=True):
            state = moment.grads[net][name]
            assert LETTER_OF_KIND[letter] == kind_of(rec, net, name, state)


def kind_of(rec, net, name, state):
    """What the table says; of a sum in vain it is told here if a step has used a part."""
    kind = describe(state, True).kind
    used = [c for c in state.sources if name in rec.used(c).get(net, ())]
    return "partly" if kind == "vain" and used else kind


def test_the_matrix_is_the_records_table(pair):
    rec, shown = pair
    table = rec.table()
    own = [i for i, c in enumerate(shown["columns"]) if c["verb"] not in ("↧", "↥")]
    assert [shown["columns"][i]["text"] for i in own] == [event_text(e) for e in table.columns]
    for net, told in zip(rec.parameters, shown["rows"], strict=True):
        assert (told["net"], told["count"]) == (net, len(rec.parameters[net]))
        assert "parts" not in told  # all parameters of a net have one story in these steps
        for row in table.rows()[net]:
            cells = [told["cells"][i] for i in own]
            kinds = [LETTER_OF_KIND[cell[0]] for cell in cells]
            assert [k.replace("partly", "vain") for k in kinds] == [c.kind for c in row.cells]
            assert [tuple(cell[2]) for cell in cells] == [c.sources for c in row.cells]
            assert [bool(cell[4]) for cell in cells] == [c.used for c in row.cells]
    moments = [c["moment"] for c in shown["columns"]]
    assert moments == sorted(moments)


def test_backward_calls_mark_who_received(pair):
    rec, shown = pair
    for call, told in zip(rec.backward_calls, shown["calls"], strict=True):
        assert {tuple(shown["parameters"][i]) for i in told["received"]} == {
            (net, name) for net, names in call.received.items() for name in names
        }
        assert bool(told["nodes"]) == (call.error is None)
    frames = [f for f in shown["moments"] if "backward" in f]
    assert [f["backward"] for f in frames] == list(range(len(rec.backward_calls)))


def test_each_parameter_is_in_one_node_of_the_picture(pair):
    _, shown = pair
    members = [i for node in shown["nodes"] for i in node.get("parameters", [])]
    assert sorted(members) == list(range(len(shown["parameters"])))


def test_parameters_share_a_node_where_they_go_into_the_same_operations(pair):
    _, shown = pair
    together = [[shown["parameters"][i] for i in n["parameters"]] for n in shown["nodes"]
                if n.get("parameters")]  # fmt: skip
    layers = [["net.0.weight", "net.0.bias"], ["net.2.weight", "net.2.bias"]]
    names = [node["name"] for node in shown["nodes"]]
    assert {"G 0.weight, 0.bias", "D 0.weight, 0.bias"} <= {*names}
    assert sorted(together) == sorted(
        [[net, name] for name in names] for net in ("G", "D") for names in layers
    )


def test_the_picture_has_a_place_for_all_that_a_moment_marks(pair):
    rec, shown = pair
    layout = shown["layout"]
    nodes = {node["id"] for node in shown["nodes"]}
    outputs = {f"n{i}output" for i in rec.graph.outputs}
    assert {f"{n['id']}output" for n in shown["nodes"] if "output" in n} == outputs
    frames = {f"forward{f.index}" for f in rec.forwards}
    assert set(layout["boxes"]) == nodes | outputs | frames
    assert set(layout["paths"]) == {edge["id"] for edge in shown["edges"]}
    cuts = [edge["cut"] for edge in shown["edges"] if "cut" in edge]
    assert cuts == [cut.how for cut in rec.graph.cuts]
    assert set(layout["labels"]) == {edge["id"] for edge in shown["edges"] if "cut" in edge}
    assert {end for edge in shown["edges"] for end in edge["ends"]} <= nodes


# The players --------------------------------------------------------------------------------------


def ways(shown):
    """(from, to) of each way as it reads on the stage: a net, the title of a call, a loss."""
    stage, nets = shown["stage"], shown["nets"]
    names = {
        "net": nets,
        "call": [call["title"] for call in stage["calls"]],
        "loss": [loss["name"] for loss in stage["losses"]],
    }
    return [tuple(names[kind][i] for kind, i in edge["ends"]) for edge in stage["edges"]]


def walks(shown):
    """For each backward call: way -> what its gradient is good for."""
    found = [
        m["stage"]["walk"] for m in shown["moments"] if "backward" in m and not m.get("raised")
    ]
    return [
        {way: letter for way, letter in zip(ways(shown), walk, strict=True) if letter != "."}
        for walk in found
    ]


def test_the_first_backward_of_strategy_1_walks_on_into_g_in_vain(explorer):
    first, second = walks(explorer.data["films"]["retain_graph"])
    assert first == {
        ("D(fake)", "d_loss"): "u", ("D(real)", "d_loss"): "u", ("D", "D(fake)"): "u",
        ("D", "D(real)"): "u", ("G(noise)", "D(fake)"): "v", ("G", "G(noise)"): "v",
    }  # fmt: skip
    assert second == {
        ("D(fake)", "g_loss"): "u", ("D", "D(fake)"): "v", ("G(noise)", "D(fake)"): "u",
        ("G", "G(noise)"): "u",
    }  # fmt: skip


def test_a_cut_way_is_there_and_no_gradient_takes_it(explorer):
    for key in ("detach", "generator_first"):
        shown = explorer.data["films"][key]
        cut = [w for w, e in zip(ways(shown), shown["stage"]["edges"], strict=True) if "cut" in e]
        assert cut == [("G(noise)", "D(fake.detach())")]
        assert all(cut[0] not in walk for walk in walks(shown))


def test_walks_agree_with_who_received(pair):
    rec, shown = pair
    for call, walk in zip(
        [c for c in rec.backward_calls if not c.error], walks(shown), strict=True
    ):
        reached = {way[0]: letter for way, letter in walk.items() if way[0] in rec.parameters}
        assert {net for net, kind in reached.items() if kind == "u"} == {*rec.used(call.index)}
        assert {net for net, kind in reached.items() if kind == "v"} == {*rec.in_vain(call.index)}


def test_versions_are_those_of_the_record(pair):
    rec, shown = pair
    assert shown["versions"] == [f.weights for f in rec.forwards]  # every step moved its net here
    last = shown["moments"][-1]["stage"]["versions"]
    moved = [sum(e.kind == "step" and bool(e.moved.get(net)) for e in rec.events)
             for net in rec.parameters]  # fmt: skip
    assert last == moved
    assert rec.versions[-1] == dict(zip(rec.parameters, moved, strict=True))


def test_each_gradient_says_which_weights_it_came_through(explorer):
    def saw(key, loss):
        """What stands under both .grad right after the backward from ``loss``."""
        film = explorer.data["films"][key]
        (moment,) = [m for m in film["moments"]
                     if "backward" in m and f"`{loss}`" in m["caption"]]  # fmt: skip
        return dict(zip(film["nets"], moment["stage"]["saw"], strict=True))

    assert saw("retain_graph", "g_loss")["G"] == "through D v0"
    assert saw("detach", "g_loss")["G"] == "through D v1"  # the D that has just moved
    assert saw("generator_first", "g_loss")["G"] == "through D v0"
    assert saw("generator_first", "d_loss")["D"] == "at weights v0"


def test_a_sum_in_vain_shows_the_part_that_a_step_has_used(explorer):
    """In strategy 2, D's second gradient is added to the first, which ``opt_d`` has used."""
    data = explorer.data
    films = data["films"]
    moments = films["detach"]["moments"]
    (arrives,) = [m for m in moments if "Backward from `g_loss`" in m["caption"]]
    for moment in (arrives, moments[-1]):
        g, d = (data["kinds"][letter][3] for letter in moment["stage"]["nets"])
        assert (g, d) == ("fresh", "partly")
        assert moment["stage"]["saw"][1] == "✓ at v0 + ○ at v1"
    told = "D gets some as well, in vain, on top of what a step has used. No step of D follows."
    assert told in arrives["caption"]
    assert (arrives["sofar"]["vain"], arrives["sofar"]["received"]) == (4, 12)
    for other in ("retain_graph", "generator_first"):  # there nothing is added to what was used
        assert all("p" not in m["grads"] for m in films[other]["moments"])


def test_a_gradient_that_a_step_has_used_says_so_until_it_is_cleared_or_added_to(explorer):
    def told(key):
        """For each net: what its .grad holds in each column, and on the stage at the same time."""
        film = explorer.data["films"][key]
        moments = [film["moments"][column["moment"]]["stage"] for column in film["columns"]]
        for i, row in enumerate(film["rows"]):
            on_stage = [i in now.get("used", []) for now in moments]
            assert on_stage == [bool(cell[4]) for cell in row["cells"]]
        return {r["net"]: "".join(c[0] + "✓" * c[4] for c in r["cells"]) for r in film["rows"]}

    assert told("retain_graph") == {"G": "bvnnffff✓", "D": "nffnvff✓f✓"}
    assert told("detach") == {"G": "bbbnff✓", "D": "nff✓f✓pp"}  # p: in vain, on top of it
    assert told("generator_first") == {"G": "nff✓f✓f✓f✓", "D": "bvvnff✓"}


def test_a_verdict_on_an_error_says_why(explorer):
    told = {
        (key, v["key"]): v["outcome"]["message"]
        for key, found in explorer.data["variants"].items()
        for v in found
        if v["outcome"]["kind"] == "error"
    }
    freed = "line 18: the graph that it goes back through has been freed."
    stale = "line 19: what it needs has been rewritten since the forward: the graph is stale."
    assert told == {
        ("retain_graph", "retain"): freed, ("retain_graph", "step_first"): stale,
        ("detach", "no_detach"): freed, ("generator_first", "no_detach"): freed,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda loss: loss.detach().backward(), "line 2: no graph leads back from its loss."),
        (lambda loss: 1 / 0, "line 2: ZeroDivisionError: division by zero"),
        (lambda loss: loss, ""),
    ],
)
def test_why_a_step_raised(wrong, why):
    def my_step(gan, real, noise):
        wrong(gan.discriminator(gan.generator(noise)).mean())

    assert ending.why_raised(record_step(my_step, tiny_gan(seed=0), REAL, NOISE)) == why


def test_a_step_that_moves_nothing_makes_no_version(explorer):
    (variant,) = [v for v in explorer.data["variants"]["detach"] if v["key"] == "step_first"]
    film = explorer.data["films"]["detach"] | variant["film"]
    empty = next(m for m in film["moments"] if "nothing moves" in m["caption"])
    assert empty["stage"]["versions"] == [0, 0]


def test_a_step_that_writes_the_same_values_again_makes_no_version():
    """Zeros in .grad: torch counts a change in place, and no weight has moved."""

    def my_step(gan, real, noise):
        gan.optimizer_d.zero_grad()
        gan.discriminator(real).mean().backward()
        gan.optimizer_d.zero_grad(set_to_none=False)
        gan.optimizer_d.step()
        gan.discriminator(real)

    G, D = nn.Linear(2, 2), nn.Linear(2, 2)
    gan = Gan(G, D, optim.SGD(G.parameters(), 0.1), optim.SGD(D.parameters(), 0.1))
    film = explore(
        my_step, gan=gan, real=torch.ones(4, 2), noise=torch.ones(4, 2), what_if=False
    ).data["films"]["my_step"]
    (step,) = [m for m in film["moments"] if "nothing moves" in m["caption"]]
    assert step["stage"]["versions"] == [0, 0]
    assert "moved" not in step["stage"]
    assert film["versions"] == [0, 0]
    assert "moved by a gradient" not in " ".join(m["caption"] for m in film["moments"])


def test_stale_and_mixed_calls_are_told():
    stale = explore(published.retain_graph_as_printed).data["films"]["retain_graph_as_printed"]
    assert stale["moments"][-1]["stage"]["calls"] == "hss"
    mixed = explore(published.retain_graph_before_1_5).data["films"]["retain_graph_before_1_5"]
    assert [m["stage"]["old"] for m in mixed["moments"] if "old" in m["stage"]] == [[1]]


def test_gradients_put_aside_have_columns_and_a_mark(explorer):
    film = explorer.data["films"]["retain_graph"]
    assert [(c["verb"], c["whose"]) for c in film["columns"]] == [
        ("zero", "D"), ("back", "d_loss"), ("zero", "G"), ("↧", "D"), ("back", "g_loss"),
        ("↥", "D"), ("step", "D"), ("step", "G"),
    ]  # fmt: skip
    aside = [[cell[5] for cell in row["cells"]] for row in film["rows"]]
    assert aside == [[0] * 8, [0, 0, 0, 1, 1, 0, 0, 0]]
    lines = [
        film["source"][m["line"] - 1].strip() for m in film["moments"] if "aside" in m["stage"]
    ]
    assert [line.partition(":")[0] for line in lines] == [
        "with gradients_kept(opt_d)", "g_loss.backward()"
    ]  # fmt: skip


def test_a_gradient_that_never_comes_back_was_not_put_aside():
    def my_step(gan, real, noise):
        gan.discriminator(gan.generator(noise)).mean().backward()
        for p in gan.discriminator.parameters():
            p.grad = None
        gan.optimizer_g.step()

    film = explore(my_step, what_if=False).data["films"]["my_step"]
    assert not any("aside" in m["stage"] for m in film["moments"])
    assert "aside" not in " ".join(m["caption"] for m in film["moments"])


def test_a_loss_has_its_name_however_backward_was_called():
    def my_step(gan, real, noise):
        gan.optimizer_g.zero_grad()
        g_loss = gan.discriminator(gan.generator(noise)).mean()
        torch.autograd.backward(g_loss)
        gan.optimizer_g.step()

    G, D = nn.Linear(2, 2), nn.Linear(2, 1)
    gan = Gan(G, D, optim.SGD(G.parameters(), 0.1), optim.SGD(D.parameters(), 0.1))
    shown = explore(my_step, gan=gan, real=torch.ones(4, 2), noise=torch.ones(4, 2), what_if=False)
    film = shown.data["films"]["my_step"]
    (back,) = [column for column in film["columns"] if column["verb"] == "back"]
    assert back["whose"] == "g_loss"
    (moment,) = [m for m in film["moments"] if "Backward from `g_loss`." in m["caption"]]
    pulls = [text for text in _texts(film["field"]) if "pulls the fakes" in text]
    assert pulls
    assert all("`g_loss` pulls the fakes" in text for text in pulls)
    assert moment["line"] == 4


def _texts(told):
    """All strings in nested lists and dicts."""
    if isinstance(told, str):
        return [told]
    inside = told.values() if isinstance(told, dict) else told if isinstance(told, list) else ()
    return [text for one in inside for text in _texts(one)]


def test_of_gradients_put_aside_only_those_that_come_back_are_marked():
    def my_step(gan, real, noise):
        gan.discriminator(real).mean().backward()
        weight, bias = gan.discriminator.parameters()
        kept, weight.grad, bias.grad = weight.grad, None, None
        weight.grad = kept
        gan.optimizer_d.step()

    G, D = nn.Linear(2, 2), nn.Linear(2, 2)
    gan = Gan(G, D, optim.SGD(G.parameters(), 0.1), optim.SGD(D.parameters(), 0.1))
    shown = explore(my_step, gan=gan, real=torch.ones(4, 2), noise=torch.ones(4, 2), what_if=False)
    film = shown.data["films"]["my_step"]
    (aside,) = [m for m in film["moments"] if "put aside" in m["caption"]]
    assert "D's 1 gradients are taken out of .grad and put aside." in aside["caption"]
    assert "D's 1 gradients are taken out of .grad." in aside["caption"]
    assert film["nets"][aside["stage"]["aside"][0]] == "D"
    assert [c["verb"] for c in film["columns"]] == ["back", "↧", "↥", "step"]
    parts = {p["name"]: [cell[5] for cell in p["cells"]]
             for row in film["rows"] for p in row.get("parts", ())}  # fmt: skip
    assert parts == {"weight": [0, 1, 0, 0], "bias": [0, 0, 0, 0]}


def test_a_row_unfolds_where_the_parameters_of_a_net_differ():
    def my_step(gan, real, noise):
        first = next(iter(gan.discriminator.parameters()))
        gan.discriminator(real).mean().backward(inputs=[first])
        gan.optimizer_d.step()

    film = explore(my_step, what_if=False).data["films"]["my_step"]
    rows = {row["net"]: row for row in film["rows"]}
    back = next(i for i, c in enumerate(film["columns"]) if c["verb"] == "back")
    assert "parts" not in rows["G"]
    assert rows["D"]["cells"][back][0] == "m"
    parts = {part["name"]: part["cells"][back][0] for part in rows["D"]["parts"]}
    assert parts == {"net.0.weight": "a", "net.0.bias, net.2.weight, net.2.bias": "n"}


def test_players_of_any_step():
    """A critic that runs often, fakes without a graph."""
    G, D = nn.Linear(2, 2), nn.Linear(2, 2)
    gan = Gan(G, D, optim.SGD(G.parameters(), 0.1), optim.SGD(D.parameters(), 0.1))

    def my_step(gan, real, noise):
        for _ in range(3):
            with torch.no_grad():
                made = gan.generator(noise)
            gan.optimizer_d.zero_grad()
            (gan.discriminator(made) - gan.discriminator(real)).mean().backward()
            gan.optimizer_d.step()

    shown = explore(my_step, gan=gan, real=torch.ones(4, 2), noise=torch.ones(4, 2))
    film = shown.data["films"]["my_step"]
    assert len(film["stage"]["calls"]) == 9
    assert [e["cut"] for e in film["stage"]["edges"] if "cut" in e] == ["no_grad"] * 3
    assert film["versions"] == [0, 0, 0, 0, 1, 1, 0, 2, 2]
    assert_apart(film)
    assert_led(film)


def assert_apart(film):
    """No player stands on another, and all are within the size, whatever room there is."""
    stage = film["stage"]
    for size, *parts in (
        (stage["size"], *([p["box"] for p in stage[n]] for n in ("calls", "losses", "frames"))),
        *(
            (stage[form]["size"], *(stage[form][n] for n in ("calls", "losses", "frames")))
            for form in ("close", "narrow")
        ),
    ):
        calls, losses, frames = parts
        for group in ([*calls, *losses], [*frames, *losses]):
            for i, (x, y, wide, tall) in enumerate(group):
                assert 0 <= x < x + wide <= size[0]
                assert 0 <= y < y + tall <= size[1]
                for left, top, w, h in group[:i]:
                    assert x + wide <= left or left + w <= x or y + tall <= top or top + h <= y


def assert_led(film):
    """On a narrow screen each way leads from who made to who takes; what goes to different places
    shares no piece of a lane."""
    stage = film["stage"]
    narrow = stage["narrow"]
    upright: dict[str, list[tuple[Any, float, float]]] = {}
    for edge, drawn in zip(stage["edges"], narrow["edges"], strict=True):
        numbers = [float(n) for n in re.findall(r"-?[\d.]+", drawn["path"])]
        (made_by, maker), (kind, taker) = edge["ends"]
        x, y, wide, _ = narrow[{"call": "calls", "loss": "losses"}[kind]][taker]
        if made_by == "call":
            left, top, w, h = narrow["calls"][maker]
            assert numbers[0] == left + w
            assert top < numbers[1] < top + h
        if kind == "call":
            end = x if made_by == "net" else x + wide
            assert drawn["path"].endswith(f"H{end:g}")
        else:
            assert drawn["path"].endswith(f"V{y:g}")
        assert ("at" in drawn) == ("cut" in edge)
        if made_by != "net":
            into: Any = (kind, taker) if kind == "loss" else (maker, taker)
            bends = re.findall(r"Q([\d.]+),([\d.]+)", drawn["path"])
            above, below = sorted(float(b[1]) for b in bends[:2])
            upright.setdefault(bends[0][0], []).append((into, above, below))
    for pieces in upright.values():
        for i, (into, above, below) in enumerate(pieces):
            for other, top, bottom in pieces[:i]:
                assert into == other or below < top or bottom < above


def test_players_stand_apart(pair):
    assert_apart(pair[1])
    assert_led(pair[1])


def test_counts_so_far_end_in_the_totals(pair):
    _, shown = pair
    totals, last = shown["totals"], shown["moments"][-1]["sofar"]
    assert dict(zip(shown["nets"], last["forwards"], strict=True)) == totals["forwards"]
    assert dict(zip(shown["nets"], last["backwards"], strict=True)) == totals["backwards"]
    assert (last["vain"], last["peakText"]) == (totals["vain"], totals["peakText"])
    vain = [m["sofar"]["vain"] for m in shown["moments"]]
    assert vain == sorted(vain)
    assert vain[0] == 0


def test_a_sum_that_the_step_as_written_has_not_is_named_and_counted(explorer):
    found = {(key, v["key"]): v for key, vs in explorer.data["variants"].items() for v in vs}
    told = {where: v["outcome"]["message"].partition(" stepped on a sum: ")[::2]
            for where, v in found.items()}  # fmt: skip
    sums = {where: (text[-1], parts) for where, (text, parts) in told.items() if parts}
    assert sums == {
        ("retain_graph", "no_zero_grad_d"): ("D", "what was in .grad before and d_loss's."),
        ("retain_graph", "no_zero_grad_g"): (
            "G", "what was in .grad before, d_loss's and g_loss's."
        ),
        ("detach", "no_zero_grad_d"): ("D", "what was in .grad before and d_loss's."),
        ("detach", "no_zero_grad_g"): ("G", "what was in .grad before and g_loss's."),
        ("generator_first", "no_zero_grad_d"): (
            "D", "what was in .grad before, g_loss's and d_loss's."
        ),
        ("generator_first", "no_zero_grad_g"): ("G", "what was in .grad before and g_loss's."),
    }  # fmt: skip
    for where, variant in found.items():
        last = variant["film"]["moments"][-1]["sofar"]
        assert (where, bool(last["summed"])) == (where, where in sums)
    both = found["retain_graph", "no_zero_grad_g"]["film"]["moments"][-1]["sofar"]
    assert (both["vain"], both["summed"], both["received"]) == (4, 8, 16)
    assert all(m["sofar"]["summed"] == 0 for f in explorer.data["films"].values()
               for m in f["moments"])  # fmt: skip


def test_the_peak_has_the_line_at_which_so_much_was_kept(pair):
    rec, shown = pair
    kept: dict[int, set[str]] = {}
    for moment, told in zip(rec.moments, shown["moments"], strict=True):
        held = [moment.held] + [rec.events[i].held for i in moment.events]
        held += [c.held_before for c in rec.backward_calls
                 if any(rec.events[i].call == c.index for i in moment.events)]  # fmt: skip
        kept.setdefault(moment.line, set()).update(map(bytes_text, held))
        assert told["sofar"]["peakText"] in kept[told["sofar"]["peakLine"]]
    assert shown["moments"][-1]["sofar"]["peakText"] == bytes_text(rec.peak)


def test_the_peak_counts_what_one_line_builds_and_frees():
    """It is there when the backward begins, and at no line's end."""

    def step_in_one_line(gan, real, noise):
        gan.optimizer_g.zero_grad()
        gan.loss(gan.discriminator(gan.generator(noise)), torch.ones(4, 1)).backward()
        gan.optimizer_g.step()

    rec = record_step(step_in_one_line, tiny_gan(seed=0), REAL, NOISE)
    *_, last = make_film(rec, "step")["moments"]
    assert last["sofar"]["peakText"] == bytes_text(rec.peak) != "0 B"
    assert rec.source.split("\n")[last["sofar"]["peakLine"] - 1].strip().endswith(".backward()")


def test_where_a_call_raised_the_counter_counts_what_the_stage_and_the_matrix_show(explorer):
    """S2 without detach: d_loss filled G, and g_loss filled D before it came to what was freed."""
    (changed,) = (v for v in explorer.data["variants"]["detach"] if v["key"] == "no_detach")
    shown = explorer.data["films"]["detach"] | changed["film"]
    raised = shown["moments"][-1]
    d = shown["nets"].index("D")
    assert LETTER_OF_KIND[raised["stage"]["nets"][d]] == "partly"
    assert raised["stage"]["saw"][d] == "✓ at v0 + ○ at v1"
    assert LETTER_OF_KIND[shown["rows"][d]["cells"][-1][0]] == "partly"
    assert [m["sofar"]["vain"] for m in shown["moments"][-2:]] == [4, 8]
    assert raised["sofar"]["received"] == 12
    assert shown["totals"]["vain"] == 8


def test_it_starts_at_something_and_silent_lines_are_known(explorer):
    film = explorer.data["films"]["retain_graph"]
    assert film["source"][film["moments"][explorer.moment]["line"] - 1].strip() == "fake = G(noise)"
    silent = [film["source"][m["line"] - 1].strip() for m in film["moments"] if m.get("silent")]
    assert [line.partition(" =")[0] for line in silent] == [
        "check(gan, real, noise)", "G, D, opt_g, opt_d, loss", "ones, zeros"
    ]  # fmt: skip


def test_source_is_coloured_and_its_head_folded(explorer):
    film = explorer.data["films"]["detach"]
    assert [line.strip() for line in film["source"]][
        film["folded"] - 1
    ] == "check(gan, real, noise)"
    for line, runs in zip(film["source"], film["paint"], strict=True):
        assert sum(int(n) for n in re.findall(r"\d+", runs)) == len(line)
    assert colours(["x = 'a'  # b"]) == ["t4s3t2c3"]
    assert colours(["x = 'a", "for"])[1] in ("t3", "k3")  # no Python: something, and no error
    assert folded(["no function"]) == 0
    assert folded(["def f():", '    """Only this."""']) == 1


def test_marks_hold_the_sentences_on_gradient(explorer):
    films = explorer.data["films"].values()
    for shown in films:
        for moment in shown["moments"]:
            for start, end, kind in moment.get("marks", []):
                sentence = moment["caption"][start:end]
                assert ("in vain" in sentence) == (kind == "vain")
                assert sentence.endswith(".")
    assert all(c.isprintable() for f in films
               for m in f["moments"] for c in m["caption"])  # fmt: skip


def test_a_what_if_is_offered_at_the_line_that_it_changes(explorer):
    for key, found in explorer.data["variants"].items():
        source = explorer.data["films"][key]["source"]
        for variant in found:
            gone = {edit["old"] for edit in variant["edits"]} - {None}
            assert source[variant["line"] - 1] in gone or not gone


# The graph ----------------------------------------------------------------------------------------


def test_all_of_the_picture_is_within_its_size(pair):
    _, shown = pair
    layout = shown["layout"]
    width, height = layout["size"]
    corners = [(x, y, x + wide, y + tall) for x, y, wide, tall in layout["boxes"].values()]
    for left, top, right, bottom in corners:
        assert -0.1 <= left < right <= width + 0.1
        assert -0.1 <= top < bottom <= height + 0.1
    frames = {i: layout["boxes"][f"forward{i}"] for i in range(len(shown["forwards"]))}
    for node in shown["nodes"]:
        if "forward" in node:  # a node stands within the frame of its forward
            (x, y, wide, tall), frame = layout["boxes"][node["id"]], frames[node["forward"]]
            assert frame[0] <= x < x + wide <= frame[0] + frame[2]
            assert frame[1] <= y < y + tall <= frame[1] + frame[3]


def test_saved_tensors_are_told_with_shapes_and_bytes(pair):
    rec, shown = pair
    for node in shown["nodes"]:
        saved = rec.graph.saved.get(int(node["id"][1:]), ())
        assert [(name, size) for name, _, size, _ in node["saved"]] == [
            (s.name, s.bytes) for s in saved
        ]
    assert any(node["saved"] for node in shown["nodes"])


def test_totals_are_counted_from_the_record(explorer):
    films = explorer.data["films"]
    counts = {key: (f["totals"]["forwards"], f["totals"]["backwards"]) for key, f in films.items()}
    assert counts == {
        "retain_graph": ({"G": 1, "D": 2}, {"G": 2, "D": 2}),
        "detach": ({"G": 1, "D": 3}, {"G": 1, "D": 2}),
        "generator_first": ({"G": 1, "D": 3}, {"G": 1, "D": 2}),
    }
    for key, rec in explorer.records.items():
        held = max(m.held.activations for m in rec.moments)
        assert films[key]["totals"]["peak"] >= held > 0
        # 2 FLOPs for each multiply-add: a forward of D on 4 points is 2 * 4 * (2*3 + 3*1).
        assert films[key]["totals"]["flops"] % 24 == 0
    vain = {key: f["totals"]["vain"] for key, f in films.items()}
    assert vain == {"retain_graph": 8, "detach": 4, "generator_first": 4}


def test_phases_name_what_a_line_works_for(pair):
    rec, shown = pair
    if rec.name == "step_detach":
        order = list(dict.fromkeys(f["phase"] for f in shown["moments"]))
        assert order == ["start", "backward D", "step D", "backward G", "step G", ""]


def test_a_large_graph_has_no_picture_and_all_the_rest(monkeypatch):
    gan = dcgan(size=16, channels=1, noise_dim=8, width=4)
    shown = explore("detach", gan=gan, what_if=False).data["films"]["detach"]
    assert shown["layout"]
    assert [row["net"] for row in shown["rows"]] == ["G", "D"]
    monkeypatch.setattr(film.show, "LARGE", len(shown["nodes"]) - 1)
    larger = explore("detach", gan=gan, what_if=False).data["films"]["detach"]
    assert larger == shown | {"layout": None}


def test_without_graphviz_all_the_rest_is_there(monkeypatch):
    def nothing(dot):
        raise RuntimeError("no Graphviz")

    whole = explore("detach", what_if=False).data["films"]["detach"]
    monkeypatch.setattr(film.show, "layout", nothing)
    film._layout.cache_clear()
    try:
        shown = explore("detach", what_if=False).data["films"]["detach"]
    finally:
        film._layout.cache_clear()
    assert shown == whole | {"layout": None}


def test_numbers_in_labels_are_left_as_they_are():
    """Coordinates are rounded in the picture, and nothing else is."""

    def my_step(gan, real, noise):
        gan.discriminator(gan.generator(noise) * 0.125).sum().backward()

    shown = explore(my_step, what_if=False).data["films"]["my_step"]
    (name,) = [node["output"] for node in shown["nodes"] if "output" in node]
    assert name == "gan.discriminator(gan.generator(noise) * 0.125).sum()"
    layout = json.dumps([shown["layout"][part] for part in ("boxes", "paths", "labels")])
    assert max(len(n) for n in re.findall(r"\d\.(\d+)[ ,\"\]C]", layout)) == 1


def test_a_gradient_penalty_can_be_walked():
    def my_step(gan, real, noise):
        G, D, _, opt_d, _ = gan.parts
        between = ((real + G(noise).detach()) / 2).requires_grad_()
        (slope,) = torch.autograd.grad(D(between).sum(), between, create_graph=True)
        opt_d.zero_grad()
        d_loss = D(real).mean() + ((slope.norm(dim=1) - 1) ** 2).mean()
        d_loss.backward()
        opt_d.step()

    film = explore(my_step).data["films"]["my_step"]
    assert film["error"] == ""
    assert film["totals"]["flops"] > 0
    assert any("without being written" in m["caption"] for m in film["moments"])


# What if ------------------------------------------------------------------------------------------


def test_every_switch_that_applies_is_there_with_what_became_of_it(explorer):
    kinds = {
        key: {v["key"]: v["outcome"]["kind"] for v in found}
        for key, found in explorer.data["variants"].items()
    }
    assert kinds["detach"] == {
        "no_detach": "error",
        "no_zero_grad_d": "wrong",
        "no_zero_grad_g": "wrong",
        "retain": "waste",
        "freeze_d": "same",
        "step_first": "wrong",
    }
    assert kinds["retain_graph"]["step_first"] == "error"
    assert kinds["generator_first"]["no_detach"] == "error"


def test_a_variant_shows_its_own_source_and_its_own_run(explorer):
    for key, found in explorer.data["variants"].items():
        base = explorer.data["films"][key]
        for variant in found:
            whole = base | variant["film"]
            assert whole["source"] != base["source"]
            for edit in variant["edits"]:
                if edit["new"] is not None:
                    assert whole["source"][edit["line"] - 1] == edit["new"]
                if edit["old"] is not None:
                    assert edit["old"] in base["source"]
            raised = [m["caption"] for m in whole["moments"] if m.get("raised")]
            assert bool(raised) == (variant["outcome"]["kind"] == "error")
            assert variant["outcome"]["message"]


# Captions -----------------------------------------------------------------------------------------


def captions(step):
    rec = record_step(step, tiny_gan(seed=0), REAL, NOISE)
    return {rec.text(m).partition("  #")[0]: caption(rec, m) for m in rec.moments}


def test_captions_of_strategy_1():
    told = captions(STEPS["retain_graph"])
    d_backward = told["d_loss.backward(retain_graph=True)"]
    assert d_backward.startswith(
        "Backward from `d_loss`. D gets its gradient. G gets some as well, in vain. Line 15"
    )
    assert "The graph stays" in d_backward
    assert told["opt_g.zero_grad()"] == (
        "G's 4 gradients are cleared. What `d_loss` had put there was in vain: no step has used it."
    )
    assert told["with gradients_kept(opt_d):"] == "D's 4 gradients are put back into .grad."
    assert told["g_loss.backward()"].startswith(
        "Backward from `g_loss`. G gets its gradient. D gets some as well, in vain"
    )
    assert told["opt_g.step()"] == "G moves: its 4 parameters go from version 0 to version 1."


def test_gradient_in_vain_says_why_by_the_line_that_takes_it(explorer):
    def told(rec, text):
        return next(caption(rec, m) for m in rec.moments if rec.text(m).startswith(text))

    rec = record_step(STEPS["retain_graph"], tiny_gan(seed=0), REAL, NOISE)
    clears, puts_back = line_of(rec, "opt_g.zero_grad()"), line_of(rec, "with gradients_kept")
    why = f"in vain. Line {clears} clears it before a step uses it."
    assert why in told(rec, "d_loss.backward(")
    assert f"in vain. Line {puts_back} puts the old one back." in told(rec, "g_loss.backward(")
    rec = record_step(STEPS["generator_first"], tiny_gan(seed=0), REAL, NOISE)
    why = f"Line {line_of(rec, 'opt_d.zero_grad()')} clears it before a step uses it."
    assert why in told(rec, "g_loss.backward(")
    (changed,) = (v for v in explorer.data["variants"]["retain_graph"] if v["key"] == "retain")
    moments = changed["film"]["moments"]
    (raised,) = (m["line"] for m in moments if m.get("raised"))
    why = f"D gets gradient in vain. Line {raised} raises before a step uses it."
    assert why in next(m["caption"] for m in moments if "backward" in m)


def test_gradient_that_one_line_gave_and_cleared_names_no_other_line():
    def step(gan, real, noise):
        g, d, opt_g, opt_d, loss = gan.parts
        loss(d(g(noise)), torch.ones(4, 1)).backward(), opt_g.zero_grad(), opt_d.zero_grad()

    told = " ".join(captions(step).values())
    assert told.count("in vain") >= 2
    assert "puts back" not in told


def line_of(rec, text):
    return next(m.line for m in rec.moments if rec.text(m).startswith(text))


def test_captions_of_strategy_2():
    told = captions(STEPS["detach"])
    forward = told["pred_fake, pred_real = D(fake.detach()), D(real)"]
    assert forward.startswith("D runs forward twice: `D(fake.detach())` and `D(real)`.")
    assert "detach()` cuts: values pass to D" in forward
    assert told["d_loss.backward()"].startswith(
        "Backward from `d_loss`. D gets its gradient. The graph"
    )
    assert "third time" in told["g_loss = loss(D(fake), ones)"]
    assert "this is D of version 1." in told["g_loss = loss(D(fake), ones)"]
    assert "freed: 0 B are left" in told["g_loss.backward()"]


def test_the_end_says_who_learned_from_what(explorer):
    def end(key, what_if=""):
        changed = {v["key"]: v["film"] for v in explorer.data["variants"][key]}
        film = explorer.data["films"][key] | changed.get(what_if, {})
        return film["moments"][-1]["caption"]

    assert end("retain_graph") == (
        "The step is over. D learned from `d_loss`. G learned from `g_loss`, through D v0. "
        "G's gradient from `d_loss` (line 12) and D's gradient from `g_loss` (line 18) "
        "were in vain."
    )
    assert "G learned from `g_loss`, through D v1. D's gradient" in end("detach")
    assert "through D v0. D learned from `d_loss`." in end("generator_first")
    left = end("retain_graph", "no_zero_grad_g")
    assert "through D v0, and from what was in .grad before." in left
    assert "No optimizer step moved D. D's gradient from `d_loss`" in end("detach", "step_first")


def test_the_end_of_a_step_that_wastes_nothing():
    *_, told = captions(step_frozen).values()
    assert told == (
        "The step is over. G learned from `g_loss`, through D v0. D learned from `d_loss`. "
        "No gradient of a parameter was wasted."
    )


def test_what_was_in_grad_before_is_explained_where_the_step_begins(explorer):
    sentence = "The .grad of {nets} is from before: the last training step left it there."
    for key, nets in (("retain_graph", "G and D"), ("detach", "G and D"), ("generator_first", "D")):
        first, *later = [m["caption"] for m in explorer.data["films"][key]["moments"]
                         if "silent" not in m]  # fmt: skip
        assert first.endswith(sentence.format(nets=nets))
        assert "is from before" not in " ".join(later)
    fresh = captions(STEPS["detach"]).values()  # a GAN that has not run: .grad is empty
    assert "is from before" not in " ".join(fresh)


def test_what_is_stale_and_never_walked_again_is_no_alarm(explorer):
    last = explorer.data["films"]["retain_graph"]["moments"][-1]
    assert "s" not in last["stage"]["calls"]
    assert "o" in last["stage"]["calls"]
    told = " ".join(m["caption"] for m in explorer.data["films"]["retain_graph"]["moments"])
    assert "it is stale. No backward comes through there any more" in told
    assert "will raise" not in told


def test_what_still_runs_after_an_error_says_why():
    """`gradients_kept` puts back what it laid aside, and the error goes on."""
    changed = explore("retain_graph").data["variants"]["retain_graph"]
    (film,) = (variant["film"] for variant in changed if variant["key"] == "retain")
    *_, raised, after = film["moments"]
    assert raised["raised"]
    assert after["caption"] == (
        "The error is on its way out of the step, and the end of this block still runs. "
        "D's 4 gradients are put back into .grad."
    )


def test_captions_of_an_error_say_why():
    told = captions(STEPS["printed"])
    assert "A backward through there will raise." in told["opt_d.step()"]
    assert "stale" in told["opt_d.step()"]
    assert "`opt_d.step()` has rewritten it since" in told["g_loss.backward()"]


def test_captions_speak_of_what_was_there_before():
    gan = tiny_gan(seed=0)
    STEPS["generator_first"](gan, REAL, NOISE)
    rec = record_step(STEPS["generator_first"], gan, REAL, NOISE)
    told = {rec.text(m): caption(rec, m) for m in rec.moments}
    assert told["check(gan, real, noise)"] == "Nothing changes for gradients, graph or memory."
    assert told["opt_g.zero_grad()"] == (
        "G's 4 gradients are cleared. "
        "The .grad of D is from before: the last training step left it there."
    )


# The widget ---------------------------------------------------------------------------------------


def test_explore_runs_copies_and_leaves_the_dice():
    gan = tiny_gan(seed=0)
    before = [p.detach().clone() for net in gan.nets.values() for p in net.parameters()]
    state = torch.get_rng_state()
    explore(gan=gan)
    assert torch.equal(torch.get_rng_state(), state)
    after = [p for net in gan.nets.values() for p in net.parameters()]
    assert all(torch.equal(p, q) for p, q in zip(before, after, strict=True))
    assert all(p.grad is None for p in after)


FIRST_CALL = """
import json, sys
import torch
from gan_lessons import data, explore, step_detach, tiny_gan

first = explore(what_if=False)
assert "torch._dynamo" not in sys.modules
gans, batch = (tiny_gan(), tiny_gan()), (data.ring(4), data.noise(4, (2,)))
for step, gan in zip((step_detach, torch.compile(step_detach, backend="eager")), gans):
    step(gan, *batch)
assert torch.equal(*(next(gan.generator.parameters()) for gan in gans))
assert json.dumps(explore(gan=tiny_gan(), what_if=False).data) == json.dumps(first.data)
"""


def test_the_first_call_does_not_load_torchs_compiler_which_works_afterwards():
    subprocess.run([sys.executable, "-W", "ignore", "-c", FIRST_CALL], check=True)


def test_a_learners_own_step_and_nets():
    G, D = nn.Linear(3, 2), nn.Sequential(nn.Linear(2, 1), nn.Sigmoid())
    gan = Gan(G, D, optim.SGD(G.parameters(), 0.1), optim.SGD(D.parameters(), 0.1))

    def my_step(gan, real, noise):
        """Only G learns."""
        loss = -gan.discriminator(gan.generator(noise)).log().mean()
        loss.backward()
        gan.optimizer_g.step()

    real, noise = torch.zeros(5, 2), torch.ones(5, 3)
    shown = explore(my_step, "detach", gan=gan, real=real, noise=noise).data
    assert shown["order"] == ["my_step", "detach"]
    assert shown["films"]["my_step"]["summary"] == "Only G learns."
    assert shown["films"]["my_step"]["totals"]["forwards"] == {"G": 1, "D": 1}
    with pytest.raises(ValueError, match="pass real= and noise="):
        explore(my_step, gan=gan)


def test_bad_input_is_refused():
    with pytest.raises(KeyError, match="Did you mean 'detach'"):
        explore("detatch")
    with pytest.raises(TypeError, match="expected the name of a strategy"):
        explore(3)  # type: ignore[arg-type]
    with pytest.raises(KeyError, match="compare='x'"):
        explore("detach", compare="x")


def test_traits_agree(explorer):
    explorer.strategy = "generator_first"
    assert explorer.index == 2
    explorer.index = 1
    assert explorer.strategy == "detach"
    with pytest.raises(traitlets.TraitError, match="no strategy 'x' here"):
        explorer.strategy = "x"
    explorer.index = 0


def test_both_homes_are_in_the_bundle(explorer):
    shown, _ = explorer._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in shown
    assert shown["text/html"] == explorer.to_html()
    assert "S2: detach" in shown["text/plain"]


def test_the_fragment_asks_for_nothing(explorer):
    fragment = explorer.to_html()
    loads = re.findall(r'(?:src|href)="(?!data:)([^"]*)"|url\(([^)#]+)\)|import\(', fragment)
    assert loads == []
    assert len(json.dumps(explorer.data)) < 500_000


def test_the_fragment_says_all_without_scripts(explorer):
    fragment = re.sub(r"<script.*?</script>", "", explorer.to_html(), flags=re.DOTALL)
    assert "data:image/svg+xml;base64," in fragment
    assert "What every .grad holds after each event" in fragment


def test_names_cannot_become_markup():
    evil = "<script>alert(1)</script><!--"
    G, D = nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 1), nn.Sigmoid())
    gan = Gan(G, D, optim.SGD(G.parameters(), 0.1), optim.SGD(D.parameters(), 0.1))
    G.register_parameter(evil, nn.Parameter(torch.zeros(2)))

    def my_step(gan, real, noise):
        extra = gan.generator.get_parameter(evil)
        gan.discriminator(gan.generator(noise) + extra).mean().backward()

    my_step.__name__ = evil
    shown = explore(my_step, gan=gan, real=torch.zeros(2, 2), noise=torch.ones(2, 2))
    assert any(evil in name for _, name in shown.data["films"][evil]["parameters"])
    fragment = shown.to_html()
    assert len(re.findall("<script", fragment)) == len(re.findall("</script>", fragment)) == 2
    assert "<!--" not in fragment


def test_one_choice_for_many_views(explorer):
    pages = {key: f"page of {key}" for key in THREE}
    views = Together(explorer, cost=pages)
    assert list(views.toggle.options) == [STRATEGIES[key].title for key in THREE]
    fragment = views.to_html()
    shown = re.findall(r'<div data-gl-page="(\w+)" data-gl-group="([^"]+)"( hidden)?>', fragment)
    assert [(key, bool(hidden)) for key, _, hidden in shown] == [
        (key, key != explorer.strategy) for key in THREE
    ]
    assert {group for _, group, _ in shown} == {explorer.group}
    with pytest.raises(ValueError, match="no page for detach, generator_first"):
        Together(explorer, cost={"retain_graph": "x"})
    with pytest.raises(TypeError, match="HTML display"):
        Together(explorer, cost=dict.fromkeys(THREE, 3))


def test_it_is_a_widget(explorer):
    assert isinstance(explorer, StrategyExplorer)
    assert "export default" in str(explorer._esm)
