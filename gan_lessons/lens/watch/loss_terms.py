"""Which term of a summed loss trains which net, and how strongly.

print(terms({"adversarial": adv, "pixels": 100 * l1, "D, fake": d_fake}, {"G": G, "D": D}))
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gan_lessons.lens.model import FOLDABLE
from gan_lessons.lens.record import node_of, read_saved, storage_of, walk
from gan_lessons.lens.show import norm_text, visible

NONE = "none"  # in the table: this term does not reach that net
SAME_WAY = 0.5  # cosine of two terms' gradients from which they pull the same way

HEAD = "Length of each term's gradient, net by net"
NOBODY = "{term} trains none of these nets."
TOGETHER = (
    "{one}, which trains {net} alone, and {two}, which trains {others} through {net}, pull {net}'s "
    "output for the same input the same way (their gradients in {net} have cosine {cosine:.2f}). "
    "Players of an adversarial pair pull in opposite ways: look at the targets and signs. For a "
    "task that both share, such as naming the class, it is as it should be."
)


@dataclass(frozen=True)
class Terms:
    """``norms``: term -> net -> 2-norm of its gradient there, None where it does not reach.

    ``shares``: the same as a share of the sum over terms, net by net. ``warnings``: sentences.
    """

    norms: dict[str, dict[str, float | None]]
    warnings: tuple[str, ...]

    @property
    def shares(self) -> dict[str, dict[str, float]]:
        nets = next(iter(self.norms.values())).keys()
        totals = {net: sum(row[net] or 0.0 for row in self.norms.values()) for net in nets}
        return {
            term: {n: (row[n] or 0.0) / totals[n] if totals[n] else 0.0 for n in nets}
            for term, row in self.norms.items()
        }

    def __str__(self) -> str:
        nets = list(next(iter(self.norms.values())))
        rows = [["", *map(visible, nets)]]
        for term, row in self.norms.items():
            shares = self.shares[term]
            cells = [
                NONE if row[n] is None else f"{norm_text(row[n])} ({shares[n]:.0%})" for n in nets
            ]
            rows.append([visible(term), *cells])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(t.ljust(w) for t, w in zip(r, widths, strict=True)) for r in rows]
        return "\n".join([HEAD, *(line.rstrip() for line in lines), *self.warnings])

    __repr__ = __str__


def terms(loss_terms: Mapping[str, Tensor], nets: Mapping[str, nn.Module]) -> Terms:
    """Take the gradient of each term alone, and say how long it is in each net.

    loss_terms: name -> scalar tensor with its graph, weighted as it goes into the sum; terms of
    several players may stand together. nets: name -> module.

    Warns where two players pull one output the same way. Mutates nothing: no ``.grad`` is written,
    and the graph is kept, so that backward can be called afterwards.

    Raises TypeError for what is no tensor or module, ValueError for a term that is not a scalar,
    has no graph, or where nothing was given.

    >>> from gan_lessons import data, terms, tiny_gan
    >>> gan = tiny_gan()
    >>> verdict = gan.discriminator(gan.generator(data.noise(4, (2,))))
    >>> norms = terms({"adversarial": -verdict.log().mean()}, gan.nets).norms
    >>> norms["adversarial"]["G"] > 0
    True
    """
    _check(loss_terms, nets)
    parameters = {n: [p for p in net.parameters() if p.requires_grad] for n, net in nets.items()}
    everything = [p for own in parameters.values() for p in own]
    gradients: dict[str, dict[str, list[Tensor | None]]] = {}
    for term, loss in loss_terms.items():
        found = torch.autograd.grad(loss, everything, retain_graph=True, allow_unused=True)
        each = iter(found if everything else ())
        gradients[term] = {net: [next(each) for _ in own] for net, own in parameters.items()}
    norms = {
        term: {net: _norm(found) for net, found in row.items()} for term, row in gradients.items()
    }
    silent = [t for t, row in norms.items() if not any(row.values())]
    warnings = [NOBODY.format(term=visible(t)) for t in silent]
    return Terms(norms, (*warnings, *_together(loss_terms, nets, gradients, norms)))


def _check(loss_terms: Mapping[str, Tensor], nets: Mapping[str, nn.Module]) -> None:
    for what, given, kind in (("loss terms", loss_terms, Tensor), ("nets", nets, nn.Module)):
        if not isinstance(given, Mapping) or not all(isinstance(x, kind) for x in given.values()):
            raise TypeError(
                f"terms() got {what} of type {type(given).__name__}; expected a dict of names with "
                f"a {kind.__name__} each"
            )
        if not given:
            raise ValueError(f"terms() got no {what}; name at least one")
    for name, loss in loss_terms.items():
        if loss.numel() != 1 or not loss.requires_grad:
            graph = "with" if loss.requires_grad else "without"
            raise ValueError(
                f"terms() got {name!r} of shape {tuple(loss.shape)} {graph} a graph; expected a "
                "single number with its graph, before detach() or item()"
            )


def _norm(gradients: list[Tensor | None]) -> float | None:
    found = [g.detach().flatten().double() for g in gradients if g is not None]
    return float(torch.cat(found).norm()) if found else None


def _together(
    losses: Mapping[str, Tensor],
    nets: Mapping[str, nn.Module],
    gradients: Mapping[str, Mapping[str, list[Tensor | None]]],
    norms: Mapping[str, Mapping[str, float | None]],
) -> Iterator[str]:
    """Pairs of terms that see one input through a net: one trains it, the other goes through it."""
    trains = {term: {net for net, norm in row.items() if norm} for term, row in norms.items()}
    ways = {term: _ways(loss, nets) for term, loss in losses.items()}
    for one, two in itertools.permutations(losses, 2):
        if len(trains[one]) != 1 or not trains[one] < trains[two]:
            continue
        (net,) = trains[one]
        (into_one, _), (into_two, behind) = ways[one][net], ways[two][net]
        cosine = _cosine(gradients[one][net], gradients[two][net])
        if into_one & into_two and behind and cosine > SAME_WAY:
            others = " and ".join(visible(n) for n in nets if n in behind)
            yield TOGETHER.format(
                one=visible(one), two=visible(two), net=visible(net), others=others, cosine=cosine
            )


def _cosine(one: list[Tensor | None], two: list[Tensor | None]) -> float:
    pairs = [(a, b) for a, b in zip(one, two, strict=True) if a is not None and b is not None]
    if not pairs:
        return 0.0
    a, b = (
        torch.cat([g.detach().flatten().double() for g in side])
        for side in zip(*pairs, strict=True)
    )
    return float(torch.nn.functional.cosine_similarity(a, b, dim=0))


def _ways(loss: Tensor, nets: Mapping[str, nn.Module]) -> dict[str, tuple[set[int], set[str]]]:
    """Net -> the storages that went into its layers, and the nets that its gradient goes on to.

    ``x`` and ``x.detach()`` are one storage. Labels that a loss saved are no input of a layer, and
    class numbers are no output of a net.
    """
    owners = {p: name for name, net in nets.items() for p in net.parameters()}
    known = {storage_of(t)[0] for n in nets.values() for t in (*n.parameters(), *n.buffers())}
    found: dict[str, tuple[set[int], set[str]]] = {net: (set(), set()) for net in nets}
    behind: dict[Any, set[str]] = {}
    for node in walk([node_of(loss)]):  # inputs come before the nodes that use them
        inputs = [child for child, _ in node.next_functions if child is not None]
        leaf = getattr(node, "variable", None)
        behind[node] = {owners[leaf]} if leaf in owners else set()
        behind[node].update(*(behind[child] for child in inputs))
        layers = (_weight(child) for child in inputs)
        for net in {owners[p] for p in layers if p in owners}:
            saved = read_saved(node)[1].values()
            into = {storage_of(t)[0] for t in saved if t.is_floating_point()} - known
            found[net][0].update(into)
            found[net][1].update(behind[node] - {net})
    return found


def _weight(node: Any) -> Any:
    """A parameter, perhaps turned around (Linear's weight) on its way into a layer."""
    inputs = [child for child, _ in node.next_functions]
    folded = len(inputs) == 1 and node.name() in FOLDABLE
    return getattr(inputs[0] if folded else node, "variable", None)
