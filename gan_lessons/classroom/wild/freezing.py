"""Ways to let one player learn and the other not, each of them run and measured.

Nothing about them is known beforehand: ``freezing_table`` takes each way on a copy of the pair and
writes down what a record, torch's counter of FLOPs and the weights themselves tell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity
from torch.optim import Optimizer

from gan_lessons.classroom.tables import Table
from gan_lessons.gan import Gan
from gan_lessons.lens.cost import copied, counting
from gan_lessons.lens.record import record
from gan_lessons.put_back import frozen, modes_kept, trainable


@dataclass(frozen=True)
class Turn:
    """The turn of one player: it learns, and the ``other`` is not to.

    ``fake()`` makes fakes; ``loss(fake)`` is what the learner is to follow.
    """

    gan: Gan
    learner: nn.Module
    other: nn.Module
    optimizer: Optimizer
    others_optimizer: Optimizer
    noise: Tensor
    real: Tensor

    @classmethod
    def of(cls, who: str, gan: Gan, real: Tensor, noise: Tensor) -> Turn:
        G, D, opt_g, opt_d, _ = gan.parts
        sides = (G, D, opt_g, opt_d) if who == "G" else (D, G, opt_d, opt_g)
        return cls(gan, *sides, noise, real)

    def fake(self) -> Tensor:
        return self.gan.generator(self.noise)

    def loss(self, fake: Tensor) -> Tensor:
        D, loss = self.gan.discriminator, self.gan.loss
        pred = D(fake)
        if self.learner is self.gan.generator:
            return loss(pred, torch.ones_like(pred))
        return (loss(D(self.real), torch.ones_like(pred)) + loss(pred, torch.zeros_like(pred))) / 2


def nothing(turn: Turn) -> None:
    turn.loss(turn.fake()).backward()


def detach(turn: Turn) -> None:
    turn.loss(turn.fake().detach()).backward()


def no_grad_for_the_fake(turn: Turn) -> None:
    with torch.no_grad():
        fake = turn.fake()
    turn.loss(fake).backward()


def no_grad_for_the_loss(turn: Turn) -> None:
    fake = turn.fake()
    with torch.no_grad():
        loss = turn.loss(fake)
    loss.backward()


def requires_grad_false(turn: Turn) -> None:
    with frozen(turn.other):  # requires_grad_(False); thawed at the end
        turn.loss(turn.fake()).backward()


def requires_grad_false_too_late(turn: Turn) -> None:
    loss = turn.loss(turn.fake())
    with frozen(turn.other):
        loss.backward()


def eval_mode(turn: Turn) -> None:
    with modes_kept(turn.other):
        turn.other.eval()
        turn.loss(turn.fake()).backward()


def inputs_named(turn: Turn) -> None:
    turn.loss(turn.fake()).backward(inputs=trainable(turn.learner))


def zero_grad_afterwards(turn: Turn) -> None:
    turn.loss(turn.fake()).backward()
    turn.others_optimizer.zero_grad()


def toggling(turn: Turn) -> None:
    with frozen(turn.learner), frozen(turn.other):  # all is frozen, always ...
        turn.learner.requires_grad_(True)  # ... but for the player whose turn it is
        turn.loss(turn.fake()).backward()


WAYS: Mapping[str, Callable[[Turn], None]] = {
    "nothing": nothing,
    "detach() of the fake": detach,
    "no_grad() for the fake": no_grad_for_the_fake,
    "no_grad() for the loss": no_grad_for_the_loss,
    "requires_grad_(False)": requires_grad_false,
    "the same, after the forward": requires_grad_false_too_late,
    "eval()": eval_mode,
    "inputs=": inputs_named,
    "zero_grad() afterwards": zero_grad_afterwards,
    "toggling": toggling,
}


@dataclass(frozen=True)
class Row:
    """What one way did.

    ``raised``: "" or how torch's message begins. ``moved``: did the learner's step move a weight?
    ``cosine``: of its gradient to that of the way "nothing", None without a gradient; ``same``: the
    two agree but for rounding. ``written``: gradients of the other net that were written, ``left``:
    how many are there at the end. ``norms``: updates of the running statistics of the other net's
    BatchNorm. ``saved``: bytes of activations that the graph held when backward began. ``flops``:
    of the turn, forwards included.
    """

    raised: str
    moved: bool
    same: bool
    cosine: float | None
    written: int
    left: int
    norms: int
    saved: int
    flops: int


def freezing_rows(who: str, gan: Gan, real: Tensor, noise: Tensor) -> dict[str, Row]:
    """Every way, in the turn of ``who``, "G" or "D". Runs on copies of ``gan``; changes nothing."""
    return {name: measured(way, who, gan, real, noise) for name, way in WAYS.items()}


def measured(way: Callable[[Turn], None], who: str, gan: Gan, real: Tensor, noise: Tensor) -> Row:
    """One way, in the turn of ``who``."""
    taken = _Taken(way, Turn.of(who, copied(gan), real, noise))
    plain = _Taken(nothing, Turn.of(who, copied(gan), real, noise))
    mine, right = taken.gradient, plain.gradient
    assert right is not None
    again = Turn.of(who, copied(gan), real, noise)
    with counting(again.gan.nets) as count:
        _raised_by(way, again)
    other, calls = "D" if who == "G" else "G", taken.record.backward_calls
    return Row(
        raised=taken.raised,
        moved=taken.moved,
        same=mine is not None and bool((mine - right).norm() <= 1e-5 * right.norm()),
        cosine=None if mine is None else cosine_similarity(mine, right, dim=0).item(),
        written=sum(len(call.received.get(other, ())) for call in calls),
        left=sum(p.grad is not None for p in taken.turn.other.parameters()),
        norms=taken.record.batchnorm.get(other, 0),
        saved=max((call.held_before.activations for call in calls), default=0),
        flops=sum(work.flops for work in count.work),
    )


class _Taken:
    """A turn that was taken under ``record``, its learner's step included."""

    def __init__(self, way: Callable[[Turn], None], turn: Turn) -> None:
        self.turn = turn
        for optimizer in (turn.optimizer, turn.others_optimizer):
            optimizer.zero_grad()
        with record(turn.gan.nets, turn.gan.optimizers) as self.record:
            self.raised = _raised_by(way, turn)
        grads = [p.grad.flatten() for p in turn.learner.parameters() if p.grad is not None]
        self.gradient = torch.cat(grads) if grads else None
        before = [p.detach().clone() for p in turn.learner.parameters()]
        turn.optimizer.step()
        after = zip(turn.learner.parameters(), before, strict=True)
        self.moved = any(not torch.equal(p, old) for p, old in after)


def _raised_by(way: Callable[[Turn], None], turn: Turn) -> str:
    try:
        way(turn)
    except RuntimeError as error:
        return str(error).splitlines()[0]
    return ""


def freezing_table(who: str, rows: Mapping[str, Row]) -> Table:
    """The rows in words. Bytes and FLOPs stand beside their share of the first row's."""
    other = "D" if who == "G" else "G"
    heads = (f"in {who}'s turn", f"does {who} learn?", f"{other}.grad", f"BatchNorm of {other}")
    first = next(iter(rows.values()))
    return Table(
        (*heads, "the graph saves", "FLOPs"),
        [_cells(name, row, first) for name, row in rows.items()],
    )


def _cells(name: str, row: Row, first: Row) -> tuple[str, ...]:
    if row.raised:
        learns = "✗ no: it raises"
    elif not row.moved:
        learns = "✗ no, and no error"
    elif row.same or row.cosine is None:
        learns = "✓ yes"
    else:
        learns = "≠ from another gradient (cosine {cosine:.2f})".format(cosine=row.cosine)
    grads = "✓ not written"
    if row.written:
        grads = "○ written ({count})" if row.left else "○ written ({count}), then cleared"
    norms = "moves" if row.norms else "stands still"
    saved = "{kib:,.0f} KiB ({share:.0%})".format(
        kib=row.saved / 1024, share=row.saved / first.saved
    )
    flops = "{mega:,.1f} million ({share:.0%})".format(
        mega=row.flops / 1e6, share=row.flops / first.flops
    )
    return name, learns, grads.format(count=row.written), norms, saved, flops
