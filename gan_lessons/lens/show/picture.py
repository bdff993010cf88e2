"""The autograd graph as a picture: torchviz's Digraph, and laid over it what torchviz hides.

That is: who owns a node, where the graph was cut, what each node still holds for its backward,
and which parameters received gradient. Colour never says anything alone; ``.text`` says all of it.
"""

from __future__ import annotations

import ast
import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from gan_lessons.arguments import require, require_whole
from gan_lessons.lens.model import BackwardCall, Graph, Record
from gan_lessons.lens.record import caller_line, snapshot
from gan_lessons.lens.show.dot import digraph
from gan_lessons.lens.show.fold_leaves import fold_parameters, merge_leaves
from gan_lessons.lens.show.fold_modules import fold_modules
from gan_lessons.lens.show.format import event_text, visible
from gan_lessons.lens.show.graph_text import legend, spelled_out
from gan_lessons.lens.show.render import svg
from gan_lessons.lens.show.scene import Scene
from gan_lessons.lens.show.templating import page
from gan_lessons.whole_file import write_whole

LARGE = 600  # nodes; a notebook shows larger graphs in words
FOLDED_FROM = 300  # nodes; more are folded by submodule
FOLDED = (
    "{count} nodes are folded into {left}: one for each submodule in each forward, and one for "
    "each line that no net ran. fold=False shows them all."
)
DIRECTIONS = ("TB", "LR")


@dataclass(frozen=True, repr=False)
class GraphPicture:
    """A picture of an autograd graph: ``.dot``, ``.svg``, ``.text``, and a rich display.

    scene: what is shown, as data. folded: parameters are one node each.
    """

    scene: Scene
    folded: bool = True

    @property
    def graph(self) -> Graph:
        """What is shown, as data; node 12 is ``n12`` in the DOT source and in the SVG."""
        return self.scene.graph

    @cached_property
    def dot(self) -> str:
        """The DOT source."""
        return str(digraph(self.scene, folded=self.folded).source)

    @cached_property
    def text(self) -> str:
        """The same in words."""
        return spelled_out(self.scene)

    @property
    def caption(self) -> str:
        """The title, and what the picture cannot know."""
        return ". ".join([self.scene.title, *self.scene.notes])

    @cached_property
    def svg(self) -> str:
        """The SVG, laid out by Graphviz, which may take minutes; Ctrl-C stops it.

        Raises RuntimeError where there is no Graphviz.
        """
        return svg(self.dot, wait=True)

    def save(self, path: str | Path) -> Path:
        """Write .svg, .dot (or .gv) or .txt, by the ending of ``path``. Returns the path."""
        path = Path(path)
        kinds = {".svg": "svg", ".dot": "dot", ".gv": "dot", ".txt": "text"}
        if path.suffix not in kinds:
            raise ValueError(f"path must end in {', '.join(kinds)}; got {path.name!r}")
        write_whole(path, getattr(self, kinds[path.suffix]))
        return path

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__

    def _repr_html_(self) -> str:
        try:
            svg = self._svg_of_a_page()
        except RuntimeError as reason:
            return page("picture.html.j2", picture=self, reason=str(reason))
        found = re.search(r'width="(\d+)', svg)
        return page(
            "picture.html.j2",
            picture=self,
            reason="",
            image=base64.b64encode(svg.encode()).decode(),
            width=int(found[1]) if found else 800,  # one point of the layout is one CSS pixel
            legend=legend(self.scene),
        )

    def _svg_of_a_page(self) -> str:
        """Raises RuntimeError for a graph that is too large for a page, or too slow to lay out."""
        if len(self.graph.nodes) > LARGE:
            text = (
                "{count} nodes are too many to show here: use .save('graph.svg'), or read the "
                "words."
            )
            raise RuntimeError(text.format(count=len(self.graph.nodes)))
        if "svg" not in vars(self):
            vars(self)["svg"] = svg(self.dot)
        return self.svg


def draw_graph(
    *outputs: Tensor,
    nets: Mapping[str, nn.Module] | None = None,
    record: Record | None = None,
    call: int | None = None,
    event: int | None = None,
    names: Sequence[str] | None = None,
    fold: bool = True,
    direction: str = "TB",
    compact: bool = False,
) -> GraphPicture:
    """Draw the autograd graph behind ``outputs``, or the graph of a whole ``record``.

    outputs: tensors with a graph. nets: name -> module, to tell whose nodes they are. names: of
    the outputs; left out, they are read from the caller's line.
    record: what ``record(...)`` gave. Without outputs, all that the recorded block built is drawn,
    in the state right after ``event`` (an index of ``record.events``; default: the end of the
    backward call ``call`` if given, else the last). call: index of the backward call whose
    receivers are marked.
    fold: a parameter is one node; with more than FOLDED_FROM nodes, each submodule in a forward.
    direction: "TB" (top to bottom) or "LR" (left to right).
    compact: small, without states: the one layout on which a page shows all moments of a record.

    Without a record it cannot know where ``detach`` cut and guesses the owners; the picture says
    so. Mutates nothing and keeps no tensor. Raises TypeError and ValueError for what cannot be
    drawn, IndexError for a call or event that is not in the record.

    >>> import torch, gan_lessons
    >>> "->" in gan_lessons.draw_graph(torch.ones(1, requires_grad=True).exp()).dot
    True
    """
    _check_kinds(record, call, event, fold, compact, nets is not None and not outputs)
    marked = _call(record, call)
    if outputs:
        scene = _scene_of_tensors(_named(outputs, names), nets, record, marked, event)
    else:
        scene = _scene_of_record(record, marked, event)
    if compact and record is not None:
        scene = replace(scene, lines={f.index: f.line.expression for f in record.forwards})
    return _picture(scene, fold, direction, compact)


def _check_kinds(
    record: Any, call: Any, event: Any, fold: Any, compact: Any, nets_alone: bool
) -> None:
    if nets_alone and isinstance(record, Record):
        raise ValueError("draw_graph() got nets= and record=, which has its own: leave out nets=")
    if record is not None:
        require("draw_graph", Record, "what record(...) gave", record=record)
    require_whole(
        "draw_graph", **{k: v for k, v in (("call", call), ("event", event)) if v is not None}
    )
    require("draw_graph", bool, "True or False", fold=fold, compact=compact)


def _picture(scene: Scene, fold: bool, direction: str, compact: bool) -> GraphPicture:
    if direction not in DIRECTIONS:
        raise ValueError(f"direction must be one of {', '.join(DIRECTIONS)}; got {direction!r}")
    graph = fold_parameters(scene.graph) if fold or compact else scene.graph
    if compact:
        graph = replace(merge_leaves(graph), states={})
    elif fold and len(graph.nodes) > FOLDED_FROM and scene.nets:
        graph, folded = fold_modules(graph)
        note = FOLDED.format(count=len(scene.graph.nodes), left=len(graph.nodes))
        gone = {i for i, nodes in folded.items() if scene.gone.issuperset(n.id for n in nodes)}
        gone |= scene.gone - {n.id for nodes in folded.values() for n in nodes}
        scene = replace(scene, notes=(*scene.notes, note), folded=folded, gone=frozenset(gone))
    scene = replace(scene, graph=graph, direction=direction, compact=compact)
    return GraphPicture(scene, fold or compact)


# What to draw -------------------------------------------------------------------------------------


def _scene_of_tensors(
    named: Mapping[str, Tensor],
    nets: Mapping[str, nn.Module] | None,
    record: Record | None,
    call: BackwardCall | None,
    event: int | None,
) -> Scene:
    if event is not None:
        raise ValueError("event= is a moment of a record; leave out the outputs to draw it")
    nets = _checked_nets(nets, record if call is not None else None)
    note = (
        "Without a record, cuts by detach cannot be seen, and owners are guessed from the "
        "parameters that an operation takes."
    )
    if record is not None:
        note = (
            "Drawn from tensors: cuts by detach and owners are those of the graph, not of the "
            "record (cuts unknown, owners guessed). The record tells only who received gradient."
        )
    return Scene(snapshot(named, nets), _title(named), tuple(nets), (note,), call)


def _scene_of_record(record: Record | None, call: BackwardCall | None, event: int | None) -> Scene:
    if record is None:
        raise ValueError("nothing to draw: pass tensors, such as draw_graph(loss), or record=")
    if not record.complete:
        raise ValueError("the record is not complete: draw it after its with block has ended")
    nets, lines = tuple(record.parameters), {f.index: f.line.code for f in record.forwards}
    graph, title = record.graph, _title(dict.fromkeys(record.graph.outputs.values()))
    if not record.events and event is None:
        return Scene(graph, title, nets, lines=lines)
    if event is None:
        event = -1 if call is None else record.end_of(call.index).index
    graph, now = record.graph_at(event), record.events[event]
    seen = {i for e in record.events[: now.index + 1] for i in e.states}
    what = ": ".join(filter(None, [event_text(now), visible(now.line.code)]))
    text = "{title}, right after event {index}: {what}"
    title = text.format(title=title, index=now.index, what=what)
    vain = {} if call is None else record.in_vain(call.index)
    return Scene(graph, title, nets, (), call, vain, frozenset(seen - set(now.states)), lines)


def _title(outputs: Iterable[str]) -> str:
    names = ", ".join(map(visible, outputs))
    return "Autograd graph of {outputs}".format(outputs=names or "what was recorded")


# What was asked for -------------------------------------------------------------------------------


def _named(outputs: tuple[Tensor, ...], names: Sequence[str] | None) -> dict[str, Tensor]:
    for i, output in enumerate(outputs):
        if not isinstance(output, Tensor):
            raise TypeError(
                f"outputs must be tensors, got {type(output).__name__} at position {i}; "
                "unpack a list with draw_graph(*losses), and pass a record as record="
            )
    names = _as_written(len(outputs)) if names is None else names
    if len(names) != len(outputs) or len(set(names)) != len(names):
        raise ValueError(
            f"names must be one distinct name for each of the {len(outputs)} outputs; got {names!r}"
        )
    for name, output in zip(names, outputs, strict=True):
        if output.grad_fn is None:
            raise ValueError(
                f"{name} has no graph (grad_fn is None): it was detached, or nothing that trains "
                "made it; draw a loss before it is detached, or draw a record with record="
            )
    return dict(zip(names, outputs, strict=True))


def _as_written(count: int) -> list[str]:
    """The outputs as the caller's line names them: ``d_loss`` in ``draw_graph(d_loss)``.

    Read from the source and not from the caller's variables: asking a frame for those keeps them
    alive, and with them the graph.
    """
    try:
        tree = ast.parse(caller_line().text)
    except SyntaxError:  # a line that is no statement of its own
        tree = ast.Module([], [])
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(draw_graph.__name__):
            written = [ast.unparse(a) for a in node.args if not isinstance(a, ast.Starred)]
            if len(written) == len(set(written)) == count:
                return written
    return [f"output {i}" for i in range(count)]


def _checked_nets(
    nets: Mapping[str, nn.Module] | None, record: Record | None
) -> Mapping[str, nn.Module]:
    nets = {} if nets is None else nets
    if not isinstance(nets, Mapping) or not all(isinstance(n, nn.Module) for n in nets.values()):
        raise TypeError(
            'nets must map names to modules, such as {"G": generator}; '
            f"got a {type(nets).__name__} of something else"
        )
    if record is not None and (not nets or not set(nets) <= set(record.parameters)):
        raise ValueError(
            f"to mark who received, pass nets= under the names of the record "
            f"({', '.join(record.parameters)}); got {', '.join(nets) or 'none'}"
        )
    return nets


def _call(record: Record | None, call: int | None) -> BackwardCall | None:
    if call is None:
        return None
    if record is None:
        raise ValueError("call= is a backward call of a record: pass record= as well")
    calls = record.backward_calls
    if not -len(calls) <= call < len(calls):
        raise IndexError(
            f"backward call {call} of a record with {len(calls)}; see record.backward_calls"
        )
    return calls[call]
