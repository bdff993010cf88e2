"""The article's claims about strategy 2, and what detach is for, measured without the notebook."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from gan_lessons import mlp_gan, published, record, step_detach, tiny_gan
from gan_lessons.data import noise
from gan_lessons.gan import Gan

SECOND = r"^Trying to backward through the graph a second time"
INPLACE = r"^one of the variables needed for gradient computation has been modified by an inplace"
GANS = {
    "tiny": lambda: (tiny_gan(seed=1), (2,), (2,)),
    "mlp": lambda: (mlp_gan(), (1, 8, 8), (32,)),
}
Setting = tuple[Gan, Tensor, Tensor]


@pytest.fixture(params=GANS)
def setting(request: pytest.FixtureRequest) -> Setting:
    gan, sample, latent = GANS[request.param]()
    return gan, noise(8, sample, seed=0).tanh(), noise(8, latent, seed=1)


def weights(net: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in net.parameters()]


def equal(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def s2(
    gan: Gan,
    real: Tensor,
    z: Tensor,
    cut: Callable[[Tensor], Tensor] = Tensor.detach,
    fake_for_g: Callable[[Tensor], Tensor] = lambda fake: fake,
    retain: bool = False,
) -> None:
    """Strategy 2 written out once more, with its parts to be exchanged."""
    G, D, opt_g, opt_d, loss = gan.parts
    ones, zeros = torch.ones(8, 1), torch.zeros(8, 1)
    fake = G(z)
    opt_d.zero_grad()
    d_loss = (loss(D(real), ones) + loss(D(cut(fake)), zeros)) / 2
    d_loss.backward(retain_graph=retain)
    opt_d.step()
    opt_g.zero_grad()
    loss(D(fake_for_g(fake)), ones).backward()
    opt_g.step()


def test_c07_ds_gradient_twice_gs_once(setting: Setting) -> None:
    gan, real, z = setting
    counts = dict.fromkeys([*gan.generator.parameters(), *gan.discriminator.parameters()], 0)

    def count(parameter: Tensor) -> None:
        counts[parameter] += 1  # type: ignore[index]

    for parameter in counts:
        parameter.register_post_accumulate_grad_hook(count)
    step_detach(gan, real, z)
    assert {counts[p] for p in gan.generator.parameters()} == {1}
    assert {counts[p] for p in gan.discriminator.parameters()} == {2}


def test_c08_as_printed_it_raises(setting: Setting) -> None:
    gan, real, z = setting
    before = weights(gan.generator)
    with pytest.raises(RuntimeError, match=SECOND):
        published.detach_as_printed(gan, real, z)
    assert equal(before, weights(gan.generator))


def as_printed(gan: Gan, real: Tensor, z: Tensor, retain: bool) -> None:
    """G's loss on the prediction for the detached fake."""
    G, D, opt_g, opt_d, loss = gan.parts
    ones, zeros = torch.ones(8, 1), torch.zeros(8, 1)
    pred_fake = D(G(z).detach())
    opt_d.zero_grad()
    ((loss(D(real), ones) + loss(pred_fake, zeros)) / 2).backward(retain_graph=retain)
    opt_d.step()
    opt_g.zero_grad()
    loss(pred_fake, ones).backward()
    opt_g.step()


def test_c08_obeying_the_hint_raises_the_next_error(setting: Setting) -> None:
    with pytest.raises(RuntimeError, match=SECOND):
        as_printed(*setting, retain=False)
    with pytest.raises(RuntimeError, match=INPLACE):
        as_printed(*setting, retain=True)


def test_c08_silenced_g_gets_nothing_and_never_moves(setting: Setting) -> None:
    gan, real, z = setting
    before, before_d = weights(gan.generator), weights(gan.discriminator)
    for _ in range(5):
        with torch.autograd.graph.allow_mutation_on_saved_tensors():
            as_printed(gan, real, z, retain=True)
    assert all(p.grad is None for p in gan.generator.parameters())
    assert equal(before, weights(gan.generator))
    assert not equal(before_d, weights(gan.discriminator))
    s2(gan, real, z)  # the second forward on the fake itself is what was missing
    assert not equal(before, weights(gan.generator))


def test_c08_freezing_d_turns_the_same_mistake_loud(setting: Setting) -> None:
    gan, _, z = setting
    G, D, _, _, loss = gan.parts
    loss(D(G(z).detach()), torch.ones(8, 1)).backward()  # D trains: no complaint
    assert all(p.grad is None for p in G.parameters())
    D.requires_grad_(False)
    with pytest.raises(RuntimeError, match="does not require grad and does not have a grad_fn"):
        loss(D(G(z).detach()), torch.ones(8, 1)).backward()


def test_c08_both_backwards_first_runs_and_gives_d_the_sum(setting: Setting) -> None:
    gan, real, z = setting
    G, D, opt_g, opt_d, loss = gan.parts
    ones, zeros = torch.ones(8, 1), torch.zeros(8, 1)
    before = weights(G)
    for s in (0.5, 2 / 3, 0.9):
        logit = torch.tensor([[s]]).logit().requires_grad_()
        (loss(logit.sigmoid(), zeros[:1]) / 2 + loss(logit.sigmoid(), ones[:1])).backward()
        torch.testing.assert_close(logit.grad, torch.tensor([[(3 * s - 2) / 2]]))
    pred_fake = D(G(z).detach())
    opt_d.zero_grad()
    ((loss(D(real), ones) + loss(pred_fake, zeros)) / 2).backward(retain_graph=True)
    of_d = [p.grad.clone() for p in D.parameters() if p.grad is not None]
    loss(pred_fake, ones).backward()
    opt_d.step()
    opt_g.step()
    assert equal(before, weights(G))
    assert not equal(of_d, [p.grad for p in D.parameters() if p.grad is not None])


def test_c08_requires_grad_silences_the_error_of_a_frozen_d(setting: Setting) -> None:
    gan, _, z = setting
    G, D, _, _, loss = gan.parts
    D.requires_grad_(False)
    loss(D(G(z).detach()).requires_grad_(), torch.ones(8, 1)).backward()
    assert all(p.grad is None for p in [*G.parameters(), *D.parameters()])


def test_c09_gs_graph_lives_longer_than_ds_update(setting: Setting) -> None:
    gan, real, z = setting
    with record(gan.nets, gan.optimizers) as rec:
        step_detach(gan, real, z)
    of_g = [i for i, n in rec.graph.nodes.items() if n.net == "G" and n.parameter is None]
    moved = next(e for e in rec.events if (e.kind, e.target) == ("step", "D"))
    last = [e for e in rec.events if e.kind == "backward"][-1]
    assert "held" in [moved.states.get(i) for i in of_g]
    assert moved.held.activations > 0
    assert "held" not in [last.states.get(i) for i in of_g]
    assert last.held.activations == 0


def test_c19_without_detach_the_reused_fake_raises(setting: Setting) -> None:
    with pytest.raises(RuntimeError, match=SECOND):
        s2(*setting, cut=lambda fake: fake)


class OnNoise(nn.Module):
    """Makes the fake anew, whatever it is given."""

    def __init__(self, generator: nn.Module, z: Tensor) -> None:
        super().__init__()
        self.generator, self.z = generator, z

    def forward(self, _: Tensor) -> Tensor:
        made: Tensor = self.generator(self.z)
        return made


def test_c19_detach_keeps_ds_loss_out_of_gs_gradient(setting: Setting) -> None:
    """Cleared at the start of the step only, G's gradient is right with detach, wrong without."""
    _, real, z = setting

    def of_g(cut: Callable[[Tensor], Tensor], clear: bool) -> list[Tensor]:
        gan, _, _ = GANS["tiny" if real.ndim == 2 else "mlp"]()
        if not clear:
            gan.optimizer_g.zero_grad = lambda: None  # type: ignore[method-assign, misc, assignment]
        s2(gan, real, z, cut, retain=True)
        return [p.grad for p in gan.generator.parameters() if p.grad is not None]

    assert equal(of_g(Tensor.detach, True), of_g(Tensor.detach, False))
    assert equal(of_g(Tensor.detach, True), of_g(lambda fake: fake, True))
    assert not equal(of_g(Tensor.detach, True), of_g(lambda fake: fake, False))


@pytest.mark.parametrize("how", ["retained", "new fake"])
def test_c19_elsewhere_it_saves_work_and_changes_no_weight(setting: Setting, how: str) -> None:
    gan, real, z = setting
    results = []
    for cut in (Tensor.detach, lambda fake: fake):
        trial, _, _ = GANS["tiny" if real.ndim == 2 else "mlp"]()
        again = {"retained": nn.Identity(), "new fake": OnNoise(trial.generator, z)}[how]
        with record(trial.nets, trial.optimizers) as rec:
            s2(trial, real, z, cut, fake_for_g=again, retain=how == "retained")
        wasted = len(rec.backward_calls[0].received["G"])
        results.append((weights(trial.generator) + weights(trial.discriminator), wasted))
    (with_detach, saved), (without, wasted) = results
    assert equal(with_detach, without)
    assert saved == 0
    assert wasted == len(list(gan.generator.parameters()))


def test_c20_the_order_is_ds_step_then_gs(setting: Setting) -> None:
    gan, real, z = setting
    with record(gan.nets, gan.optimizers) as rec:
        step_detach(gan, real, z)
    assert [e.target for e in rec.events if e.kind == "step"] == ["D", "G"]
    # The paper draws new noise for G; this step makes one fake, and both phases use it.
    assert [f.net for f in rec.forwards].count("G") == 1
    g_call = rec.backward_calls[1]
    assert {rec.forwards[f].weights for f in g_call.forwards if rec.forwards[f].net == "D"} == {1}


def paper_step(
    gan: Gan, draw_real: Callable[[], Tensor], draw_z: Callable[[], Tensor], k: int
) -> None:
    """One iteration of Algorithm 1 of arXiv 1406.2661, with the losses of this course."""
    G, D, opt_g, opt_d, loss = gan.parts
    ones, zeros = torch.ones(8, 1), torch.zeros(8, 1)
    for _ in range(k):
        opt_d.zero_grad()
        fake = G(draw_z()).detach()
        ((loss(D(draw_real()), ones) + loss(D(fake), zeros)) / 2).backward()
        opt_d.step()
    opt_g.zero_grad()
    loss(D(G(draw_z())), ones).backward()
    opt_g.step()


def test_c20_with_one_step_of_d_and_the_same_noise_the_papers_step_is_s2(setting: Setting) -> None:
    _, real, z = setting
    gans = [GANS["tiny" if real.ndim == 2 else "mlp"]()[0] for _ in range(4)]
    other = noise(8, tuple(z.shape[1:]), seed=5)
    step_detach(gans[0], real, z)
    paper_step(gans[1], lambda: real, lambda: z, k=1)
    draws = iter([z, other])
    paper_step(gans[2], lambda: real, lambda: next(draws), k=1)
    paper_step(gans[3], lambda: real, lambda: z, k=2)
    s2_weights, same, fresh, twice = (weights(g.generator) + weights(g.discriminator) for g in gans)
    for a, b in zip(s2_weights, same, strict=True):
        torch.testing.assert_close(a, b)
    assert not equal(s2_weights, fresh)  # fresh noise for G makes it another step,
    assert not equal(same, twice)  # and so does a second step of D
