"""``diagnose`` on what real training code does: helpers, methods, buffers, wrappers, long lists."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn, optim

from gan_lessons import diagnose, record
from gan_lessons.lens.diagnose import Diagnosis
from tests.loops.kit import bce, mlp, noise, real, sgd


@pytest.fixture(autouse=True)
def the_same_numbers_each_time() -> None:
    torch.manual_seed(0)


def codes(diagnosis: Diagnosis, *severities: str) -> list[tuple[str, str | None]]:
    return [(f.code, f.net) for f in diagnosis.findings if f.severity in severities]


def step(optimizer: optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


class ByMethods(nn.Module):
    """Nobody calls it as a module: no hook of it ever runs."""

    def __init__(self, n: int, m: int) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(n, 8), nn.BatchNorm1d(8), nn.Linear(8, m)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.norm(self.first(x)))
        return out

    def make(self, i: int) -> Tensor:
        return self.forward(noise(i))


@pytest.mark.parametrize("alternating", [True, False])
def test_nets_that_are_run_by_a_method(alternating):
    G, D = ByMethods(2, 2), ByMethods(2, 1)
    og, od = sgd(G), sgd(D)
    with record({"G": G, "D": D}, {"G": og, "D": od}) as rec:
        for i in range(2):
            if not alternating:
                g_loss = bce(D.forward(G.make(i)), 1.0)
                og.zero_grad()
                g_loss.backward(inputs=list(G.parameters()))
            step(od, bce(D.forward(real(i)), 1.0) + bce(D.forward(G.make(i).detach()), 0.0))
            if alternating:
                g_loss = bce(D.forward(G.make(i)), 1.0)
                og.zero_grad()
                g_loss.backward(inputs=list(G.parameters()))
            og.step()
    diagnosis = diagnose(rec)
    assert rec.forwards == []
    assert ("alternating" if alternating else "simultaneous") in diagnosis.codes
    assert codes(diagnosis, "error", "wrong") == []
    (norm,) = (f for f in diagnosis.findings if (f.code, f.net) == ("batchnorm-updates", "G"))
    assert "0 forwards" not in norm.message


@pytest.mark.parametrize("no_grad", [True, False])
def test_a_forward_for_a_log_does_not_decide_about_the_kind_of_update(no_grad):
    G, D = mlp(2, 2), mlp(2, 1)
    og, od = sgd(G), sgd(D)
    with record({"G": G, "D": D}, {"G": og, "D": od}) as rec:
        for i in range(2):
            fake = G(noise(i))
            step(og, bce(D(fake), 1.0))
            with torch.set_grad_enabled(not no_grad):
                G(noise(i)).mean().item()  # for a log, in train mode
            step(od, bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0))
    assert "simultaneous" in diagnose(rec).codes
    assert "alternating" not in diagnose(rec).codes


def test_fakes_made_without_gradients_tell_the_kind_of_update():
    G, D = mlp(2, 2), mlp(2, 1)
    og, od = sgd(G), sgd(D)
    with record({"G": G, "D": D}, {"G": og, "D": od}) as rec:
        for i in range(2):
            step(og, bce(D(G(noise(i))), 1.0))
            with torch.no_grad():
                fake = (G(noise(i)) + 1) / 2
            step(od, bce(D(real(i)), 1.0) + bce(D(fake), 0.0))
    assert "alternating" in diagnose(rec).codes


def test_more_than_two_players_get_a_note_for_each_two_that_meet():
    nets = {"gen": mlp(2, 2), "one": mlp(2, 1), "two": mlp(2, 1)}
    optimizers = {name: sgd(net) for name, net in nets.items()}
    gen, *judges = nets.values()
    with record(nets, optimizers) as rec:
        for i in range(2):
            for name, D in zip(("one", "two"), judges, strict=True):
                loss = bce(D(real(i)), 1.0) + bce(D(gen(noise(i)).detach()), 0.0)
                step(optimizers[name], loss)
            losses = [bce(D(gen(noise(i))), 1.0) for D in judges]
            step(optimizers["gen"], losses[0] + losses[1])
    notes = [f.message for f in diagnose(rec).findings if f.code == "alternating"]
    assert len(notes) == 2
    assert "with one as it is" in notes[0]
    assert "with two as it is" in notes[1]


class Normed(nn.Module):
    """Keeps what its norm needs as frozen Parameters, and moves them through ``.data``."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.u = nn.Parameter(torch.randn(1, 2)), nn.Parameter(torch.randn(1))
        self.u.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        self.u.data = self.u.data * 0.9 + 0.1
        return x @ (self.w / self.u).t()


def test_waste_is_told_although_a_buffer_moves():
    G, D = mlp(2, 2), Normed()
    og, od = sgd(G), optim.SGD([D.w], lr=0.05)
    with record({"G": G, "D": D}, {"G": og, "D": od}) as rec:
        for i in range(2):
            fake = G(noise(i))
            step(od, bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0))
            step(og, bce(D(fake), 1.0))
    assert codes(diagnose(rec), "waste") == [("in-vain", "D")]


def test_lines_that_read_alike_are_told_apart():
    E, G, D = mlp(2, 2), mlp(2, 2), mlp(2, 1)
    oe, og, od = sgd(E), sgd(G), sgd(D)
    with record({"E": E, "G": G, "D": D}, {"E": oe, "G": og, "D": od}) as rec:
        for i in range(2):
            for optimizer in (oe, og, od):
                optimizer.zero_grad()
            loss = bce(D(G(E(real(i)))), 1.0)
            loss.backward()
            oe.step()
            og.step()
            og.zero_grad()
            od.zero_grad()
            loss = bce(D(G(noise(i))), 1.0)
            loss.backward()
            og.step()
            step(od, bce(D(real(i)), 1.0) + bce(D(G(noise(i)).detach()), 0.0))
    one, two = (f for f in diagnose(rec).findings if (f.code, f.net) == ("in-vain", "D"))
    assert "inputs=list(E.parameters()) + list(G.parameters())" in one.fix
    assert "inputs=list(G.parameters())" in two.fix
    for finding in (one, two):
        assert f"`loss.backward()` ({finding.evidence[0].split(': ')[0].split(', ')[1]})" in (
            finding.message
        )


def test_parameters_that_never_receive_are_noted():
    class Labelled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.labels, self.body = nn.Embedding(3, 2), mlp(2, 2)

        def forward(self, z: Tensor) -> Tensor:
            out: Tensor = self.body(z)
            return out

    G, D = Labelled(), mlp(2, 1)
    og, od = sgd(G), sgd(D)
    with record({"G": G, "D": D}, {"G": og, "D": od}) as rec:
        for i in range(2):
            step(od, bce(D(real(i)), 1.0) + bce(D(G(noise(i)).detach()), 0.0))
            step(og, bce(D(G(noise(i))), 1.0))
    (note,) = (f for f in diagnose(rec).findings if f.code == "never-received")
    assert (note.net, note.severity) == ("G", "info")
    assert "labels.weight" in note.message


def test_what_waste_costs_is_said():
    G, D = mlp(2, 2), mlp(2, 1)
    og, od = sgd(G), sgd(D)
    with record({"G": G, "D": D}, {"G": og, "D": od}) as rec:
        step(od, bce(D(real(0)), 1.0) + bce(D(G(noise(0)).detach()), 0.0))
        step(og, bce(D(G(noise(0))), 1.0))
    (waste,) = (f for f in diagnose(rec).findings if f.code == "in-vain")
    assert f"({sum(p.numel() for p in D.parameters())} numbers)" in waste.message


def test_the_title_says_what_was_judged():
    G = mlp(2, 1)
    og = sgd(G)
    with record({"G": G}, {"g": og}) as rec:
        pass
    assert str(diagnose(rec)).startswith("Diagnosis: no step of an optimizer and no backward")
    with record({"G": G}, {"g": og}) as rec:
        step(og, G(noise(0)).mean())
    title = str(diagnose(rec)).splitlines()[0]
    assert "no wrong gradient was found in 1 × step of g, 1 × backward" in title


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_exception_the_title_does_not_say_that_nothing_raises(error):
    G = mlp(2, 1)
    og = sgd(G)

    def raising() -> None:
        raise error("enough")

    with pytest.raises(error), record({"G": G}, {"g": og}) as rec:
        raising()
    diagnosis = diagnose(rec)
    assert "nothing that raises" not in str(diagnosis)
    (finding,) = (f for f in diagnosis.findings if f.code == "exception")
    assert f"{error.__name__}: enough" in finding.message
    assert "raise error" in finding.evidence[0]
    assert diagnosis.sound is (error is KeyboardInterrupt)


def test_two_optimizers_for_matrices_and_biases_are_one_player():
    G, D = mlp(2, 2), mlp(2, 1)
    split = {n: [p for p in D.parameters() if (p.dim() > 1) == (n == "matrices")]
             for n in ("matrices", "biases")}  # fmt: skip
    optimizers = {n: optim.SGD(ps, lr=0.05) for n, ps in split.items()}
    with record({"G": G, "D": D}, {"G": sgd(G), **optimizers}) as rec:
        for i in range(2):
            for optimizer in optimizers.values():
                optimizer.zero_grad()
            (bce(D(real(i)), 1.0) + bce(D(G(noise(i)).detach()), 0.0)).backward()
            for optimizer in optimizers.values():
                optimizer.step()
    assert codes(diagnose(rec), "error", "wrong", "info") == []


def test_a_sum_is_told_although_one_parameter_is_cleared_by_hand():
    D = mlp(2, 1)
    od = sgd(D)
    with record({"D": D}, {"D": od}) as rec:
        for i in range(2):
            next(D.parameters()).grad = None
            bce(D(real(i)), 1.0).backward()
            od.step()
    assert codes(diagnose(rec), "wrong") == [("polluted", "D")]


def test_what_left_torch_for_a_log_is_not_taken_for_what_a_term_was_made_of():
    """Two fakes went to NumPy: the line that is told is of the one that came back to the judge."""
    G, D = mlp(2, 2), mlp(2, 1)
    og, od = sgd(G), sgd(D)
    with record({"G": G, "D": D}, {"G": og, "D": od}) as rec:
        for i in range(2):
            step(od, bce(D(real(i)), 1.0) + bce(D(G(noise(i)).detach()), 0.0))
            fake = G(noise(i))
            rows = torch.from_numpy(fake.detach().numpy().clip(-5, 5))
            verdict = D(rows).mean()
            logged = G(noise(i + 1)).detach().numpy().copy()
            step(og, 0.1 * (fake[:4] - fake[4:]).abs().mean() - verdict)
            del logged
    (found,) = (f for f in diagnose(rec).findings if f.code == "cut-off")
    assert "left torch for NumPy in `rows = " in found.message


def test_a_sum_is_told_although_one_parameter_is_scaled_by_hand():
    """That one may be momentum of somebody's own; the others are a sum that nobody cleared."""
    D = mlp(2, 1)
    od = sgd(D)
    with record({"D": D}, {"D": od}) as rec:
        for i in range(2):
            if (grad := next(D.parameters()).grad) is not None:
                grad.mul_(0.9)
            bce(D(real(i)), 1.0).backward()
            od.step()
    assert codes(diagnose(rec), "wrong") == [("polluted", "D")]
