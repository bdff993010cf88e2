"""The plane beside a recorded step, held against autograd and against the nets themselves."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from torch import nn, optim

from gan_lessons import STRATEGIES, Gan, data, mlp_gan, published, record_step, tiny_gan
from gan_lessons.classroom import explore
from gan_lessons.classroom.explorer import PlaneWatch
from gan_lessons.lens.cost import copied
from gan_lessons.lens.whatif import Judge, what_if
from gan_lessons.strategies import THREE

REAL, NOISE = data.ring(4, seed=0), data.noise(4, (2,), seed=1)


def seen_of(step, gan=None, real=REAL, noise=NOISE):
    """(record, field) of a step, run beside a watch."""
    watch = PlaneWatch(real)
    record = record_step(step, gan or tiny_gan(seed=0), real, noise, watch)
    return record, found(watch, record)


def found(watch, record, written=None):
    field = watch.field(record, written)
    assert field is not None
    return field


def moment_of(record, text):
    """The first moment whose line begins like this."""
    return next(m.index for m in record.moments if record.text(m).startswith(text))


def points(field, whole):
    return torch.tensor(whole, dtype=torch.float64) / field["per"]


def arrows_at(field, moment):
    """The arrows that are new at a moment: -dL/dfake."""
    new = [p for p in field["moments"][moment].get("pulls", []) if p[2]]
    return [points(field, field["arrows"][place]) / 100 for _, place, _, _ in new]


def gradient_by_hand(step_name, gan):
    """-dL/dfake of G's loss, by ``autograd.grad`` on copies, with the weights of that moment."""
    gan = copied(gan)
    G, D, _, opt_d, loss = gan.parts
    fake = G(NOISE).detach().requires_grad_()
    if step_name == "detach":  # D moves first
        opt_d.zero_grad()
        pred_fake, pred_real = D(fake.detach()), D(REAL)
        ones, zeros = torch.ones_like(pred_real), torch.zeros_like(pred_fake)
        ((loss(pred_real, ones) + loss(pred_fake, zeros)) / 2).backward()
        opt_d.step()
    (gradient,) = torch.autograd.grad(loss(D(fake), torch.ones(len(fake), 1)), fake)
    return fake.detach(), -gradient


@pytest.mark.parametrize("key", THREE)
def test_arrows_are_minus_the_gradient_at_the_fakes(key):
    fakes, pull = gradient_by_hand(key, tiny_gan(seed=0))
    record, field = seen_of(STRATEGIES[key].step)
    moment = moment_of(record, "g_loss.backward")
    (arrows,) = arrows_at(field, moment)
    assert torch.allclose(arrows, pull.double(), rtol=0, atol=1e-6)
    cloud = field["moments"][moment]["pulls"][0][0]
    assert torch.allclose(points(field, field["clouds"][cloud]), fakes.double(), rtol=0, atol=1e-4)
    assert pull.norm(dim=1).min() > 100 * 1e-6  # it is no rounding that is compared


def test_the_loss_of_d_pulls_at_the_fakes_of_s1_in_vain():
    gan = tiny_gan(seed=0)
    fake = gan.generator(NOISE).detach().requires_grad_()
    d_loss = gan.loss(gan.discriminator(fake), torch.zeros(4, 1)) / 2
    (gradient,) = torch.autograd.grad(d_loss, fake)
    record, field = seen_of(STRATEGIES["retain_graph"].step)
    moment = moment_of(record, "d_loss.backward")
    (arrows,) = arrows_at(field, moment)
    assert torch.allclose(arrows, -gradient.double(), rtol=0, atol=1e-6)
    told = field["moments"][moment]
    assert [pull[3] for pull in told["pulls"]] == [1]
    assert "downhill, but in vain" in told["words"]
    cleared = field["moments"][moment_of(record, "opt_g.zero_grad")]
    assert "pulls" not in cleared


@pytest.mark.parametrize("key", THREE)
def test_after_the_step_the_fakes_are_where_the_new_weights_put_them(key):
    gan = tiny_gan(seed=0)
    old = gan.generator(NOISE).detach().double()
    record, field = seen_of(STRATEGIES[key].step, gan)
    new = gan.generator(NOISE).detach().double()
    assert (new - old).norm(dim=1).min() > 0.005
    told = field["moments"][moment_of(record, "opt_g.step")]
    assert torch.allclose(points(field, field["clouds"][told["fakes"]]), new, rtol=0, atol=1e-4)
    assert torch.allclose(points(field, field["clouds"][told["from"]]), old, rtol=0, atol=1e-4)
    assert "pulls" not in told
    far = (new - old).norm(dim=1).mean()
    assert f"The fakes moved {far:.3f}, uphill" in told["words"]
    before = field["moments"][moment_of(record, "opt_g.step") - 1]
    assert "from" not in before


def test_the_grid_is_what_d_says_there():
    gan = tiny_gan(seed=0)
    before = copied(gan).discriminator
    record, field = seen_of(STRATEGIES["detach"].step, gan)
    left, bottom, right, top = field["box"]
    across, up = (torch.linspace(*ends, field["side"]).tolist()
                  for ends in ((left, right), (bottom, top)))  # fmt: skip
    places = torch.tensor([[x, y] for y in up for x in across])
    low, high = field["says"]
    told = []
    for net, moment in ((before, 0), (gan.discriminator, len(record.moments) - 1)):
        grid = field["grids"][field["moments"][moment]["d"]]
        level = torch.tensor([field["letters"].index(letter) for letter in grid])
        told.append(low + (high - low) * level / (len(field["letters"]) - 1))
        says = net(places).detach().flatten()
        assert (told[-1] - says).abs().max() <= (high - low) / 100
    assert not torch.equal(*told)
    assert [m["d"] for m in field["moments"]] == sorted(m["d"] for m in field["moments"])
    assert len(field["grids"]) == 2


def test_where_g_is_cut_off_nothing_pulls_and_nothing_moves():
    def cut_off(gan, real, noise):
        G, D, opt_g, _opt_d, loss = gan.parts
        fake = G(noise)
        opt_g.zero_grad()
        g_loss = loss(D(fake.detach()), torch.ones(len(fake), 1))
        g_loss.backward()
        opt_g.step()

    record, field = seen_of(cut_off)
    assert field["arrows"] == []
    assert all("pulls" not in m and "from" not in m for m in field["moments"])
    assert len(field["clouds"]) == 1
    assert "the fakes stand still" in field["moments"][moment_of(record, "opt_g.step")]["words"]


def test_a_missing_zero_grad_moves_the_fakes_by_both_gradients():
    """From a fresh start, without ``zero_grad`` on G, S1 steps G on the sum of both calls."""
    step = STRATEGIES["retain_graph"].step
    changed = what_if(step, "no_zero_grad_g").step
    record, field = seen_of(changed)
    moment = moment_of(record, "g_loss.backward")
    pulls = field["moments"][moment]["pulls"]
    assert [(new, vain) for _, _, new, vain in pulls] == [(0, 0), (1, 0)]
    old, new = gap_of(changed)
    right_old, right_new = gap_of(step)
    along = ((new - old) * (right_new - right_old)).sum() / (right_new - right_old).norm() ** 2
    assert 0.4 < along < 0.7  # about half as far
    watch = PlaneWatch(REAL)
    written = found(watch, record_step(step, tiny_gan(seed=0), REAL, NOISE, watch))
    shown = found(watch, record_step(changed, tiny_gan(seed=0), REAL, NOISE, watch), written)
    told = shown["moments"][moment_of(record, "opt_g.step")]["words"]
    assert f"That is {along:.2f} times as far as in the step as written." in told
    assert {n: shown[n] for n in ("zoom", "stretch", "box", "says")} == {
        n: written[n] for n in ("zoom", "stretch", "box", "says")
    }


def gap_of(step):
    gan = tiny_gan(seed=0)
    old = gan.generator(NOISE).detach()
    step(gan, REAL, NOISE)
    return old, gan.generator(NOISE).detach()


def test_a_gradient_that_points_the_other_way_is_said_to():
    def uphill(gan, real, noise):
        G, D, opt_g, _opt_d, loss = gan.parts
        opt_g.zero_grad()
        fake = G(noise)
        g_loss = loss(D(fake), torch.ones(len(fake), 1))
        g_loss.backward()
        opt_g.step()

    def wrong(gan, real, noise):
        G, D, opt_g, _opt_d, loss = gan.parts
        opt_g.zero_grad()
        fake = G(noise)
        g_loss = loss(D(fake), torch.zeros(len(fake), 1))
        g_loss.backward()
        opt_g.step()

    watch = PlaneWatch(REAL)
    written = found(watch, record_step(uphill, tiny_gan(seed=0), REAL, NOISE, watch))
    record = record_step(wrong, tiny_gan(seed=0), REAL, NOISE, watch)
    shown = found(watch, record, written)["moments"]
    assert "downhill, to where D says fake" in shown[moment_of(record, "g_loss.back")]["words"]
    told = shown[moment_of(record, "opt_g.step")]["words"]
    assert ", downhill: D gives them" in told
    assert "In the step as written they move the other way." in told


def test_in_s3_d_learns_from_the_fakes_that_g_has_left():
    record, field = seen_of(STRATEGIES["generator_first"].step)
    told = field["moments"][moment_of(record, "d_loss = ")]
    assert "D looks at the old fakes: G has moved on." in told["words"]
    assert told["judged"] == ["fakes", "real"]
    assert told["from"] != told["fakes"]
    record, field = seen_of(STRATEGIES["detach"].step)
    assert not any("old fakes" in m["words"] for m in field["moments"])


def test_a_hook_on_the_fakes_is_seen_at_work():
    """What arrives at G counts, not what D sent."""

    def doubled(gan, real, noise):
        G, D, _opt_g, _opt_d, loss = gan.parts
        fake = G(noise)
        fake.register_hook(lambda gradient: 2 * gradient)
        loss(D(fake), torch.ones(len(fake), 1)).backward()

    _, pull = gradient_by_hand("retain_graph", tiny_gan(seed=0))
    record, field = seen_of(doubled)
    (arrows,) = arrows_at(field, moment_of(record, "loss(D(fake)"))
    assert torch.allclose(arrows, 2 * pull.double(), rtol=0, atol=2e-6)


def test_weights_that_are_written_by_hand_are_seen():
    def clipped(gan, real, noise):
        G, D, _opt_g, _opt_d, loss = gan.parts
        fake = G(noise)
        loss(D(fake.detach()), torch.zeros(len(fake), 1)).backward()
        for p in D.parameters():
            p.data.clamp_(-0.01, 0.01)

    record, field = seen_of(clipped)
    assert field["moments"][-1]["d"] > field["moments"][moment_of(record, "loss(D(fake")]["d"]


def test_a_gradient_that_is_only_looked_at_is_no_pull():
    def looked_at(gan, real, noise):
        G, D, _opt_g, _opt_d, loss = gan.parts
        fake = G(noise)
        g_loss = loss(D(fake), torch.ones(len(fake), 1))
        torch.autograd.grad(g_loss, list(G.parameters()), retain_graph=True)
        g_loss.backward()

    record, field = seen_of(looked_at)
    assert "pulls" not in field["moments"][moment_of(record, "torch.autograd.grad")]
    assert len(arrows_at(field, moment_of(record, "g_loss.backward"))) == 1


@pytest.mark.parametrize("key", [*THREE, "one_stage"])
def test_the_run_is_bit_identical_and_nothing_stays(key):
    step = STRATEGIES[key].step
    runs = []
    for beside in (None, PlaneWatch(REAL)):
        gan = tiny_gan(seed=0)
        torch.manual_seed(3)
        record = record_step(step, gan, REAL, NOISE, beside)
        if beside is not None:
            assert found(beside, record)["arrows"]
        state = [t for net in gan.nets.values() for t in net.state_dict().values()]
        grads = [p.grad for net in gan.nets.values() for p in net.parameters()]
        runs.append([*state, *grads, torch.get_rng_state(), *record.result])
        told = json.loads(record.to_json())
        runs[-1].append(told)
        hooks = [m._forward_hooks | m._forward_pre_hooks for net in gan.nets.values()
                 for m in net.modules()]  # fmt: skip
        assert not any(hooks)
    plain, watched = runs
    assert plain.pop() == watched.pop()  # the record is the same, every node and byte of it
    assert all(torch.equal(a, b) for a, b in zip(plain, watched, strict=True))


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_nothing_stays_when_a_step_is_cut_off(error):
    seen = []

    def cut(gan, real, noise):
        fake = gan.generator(noise)
        seen.append(fake)
        gan.discriminator(fake).mean().backward(retain_graph=True)
        raise error("stop")

    gan = tiny_gan(seed=0)
    watch = PlaneWatch(REAL)
    if error is KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt):
            record_step(cut, gan, REAL, NOISE, watch)
    else:
        record = record_step(cut, gan, REAL, NOISE, watch)
        assert found(watch, record)["arrows"]
    assert not any(m._forward_hooks or m._forward_pre_hooks for n in gan.nets.values()
                   for m in n.modules())  # fmt: skip
    (run,) = watch._runs
    arrivals = len(run.arrivals)
    gan.discriminator(seen[0]).mean().backward()  # the same node, walked again: nobody hears
    assert len(run.arrivals) == arrivals == 1


def test_there_is_no_plane_where_the_data_have_none():
    def field_of(gan, real, noise):
        watch = PlaneWatch(real)
        return watch.field(record_step(STRATEGIES["detach"].step, gan, real, noise, watch))

    digits = mlp_gan(hidden_g=(8,), hidden_d=(8,))
    assert field_of(digits, torch.zeros(4, 1, 8, 8), torch.zeros(4, 32)) is None
    large = mlp_gan((2,), 2, (256, 256), (8,))
    assert field_of(large, REAL, NOISE) is None
    G = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.Linear(8, 2))
    D = nn.Sequential(nn.Linear(2, 1), nn.Sigmoid())
    gan = Gan(G, D, optim.SGD(G.parameters(), 0.1), optim.SGD(D.parameters(), 0.1))
    assert field_of(gan, REAL, NOISE) is None  # the same noise gives other fakes each time


def test_there_is_no_plane_where_a_net_cannot_be_asked_again():
    class Labelled(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(3, 1)

        def forward(self, x, label):
            return self.net(torch.cat([x, label], 1)).sigmoid()

    def step(gan, real, noise):
        fake = gan.generator(noise)
        gan.discriminator(fake, torch.ones(len(fake), 1)).mean().backward()
        gan.optimizer_g.step()

    G, D = nn.Linear(2, 2), Labelled()
    gan = Gan(G, D, optim.SGD(G.parameters(), 0.1), optim.SGD(D.parameters(), 0.1))
    assert explore(step, gan=gan, real=REAL, noise=NOISE).data["films"]["step"]["field"] is None


@pytest.mark.parametrize("rate", [float("inf"), float("nan")])
def test_there_is_no_plane_for_what_is_no_number(rate):
    gan = tiny_gan(seed=0)
    for optimizer in gan.optimizers.values():
        optimizer.param_groups[0]["lr"] = rate
    shown = explore("detach", gan=gan, what_if=False)
    assert shown.data["films"]["detach"]["field"] is None
    json.dumps(shown.data["films"], allow_nan=False)


def test_there_is_no_plane_where_d_says_nothing():
    def step(gan, real, noise):
        gan.generator(noise).mean().backward()
        gan.optimizer_g.step()

    watch = PlaneWatch(REAL)
    assert watch.field(record_step(step, tiny_gan(seed=0), REAL, NOISE, watch)) is None


def test_batchnorm_and_buffers_are_copied_with_the_weights():
    G = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    D = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1), nn.Sigmoid())
    gan = Gan(G, D, optim.SGD(G.parameters(), 0.1), optim.SGD(D.parameters(), 0.1))
    record, field = seen_of(STRATEGIES["detach"].step, gan)
    new = copied(gan).generator(NOISE).detach().double()
    told = field["moments"][moment_of(record, "opt_g.step")]
    assert torch.allclose(points(field, field["clouds"][told["fakes"]]), new, rtol=0, atol=1e-4)
    updates = [b for name, b in D.named_buffers() if "num_batches" in name]
    assert int(updates[0]) == 3  # those of the step alone


def test_every_film_of_the_explorer_has_its_plane():
    shown = explore()
    for key, film in shown.data["films"].items():
        assert len(film["field"]["moments"]) == len(film["moments"])
        for variant in shown.data["variants"][key]:
            whole = film | variant["film"]
            assert len(whole["field"]["moments"]) == len(whole["moments"]), variant["key"]
            assert whole["field"]["zoom"] == film["field"]["zoom"]
    assert len(json.dumps(shown.data)) < 500_000


def test_a_step_that_raises_has_its_plane_until_there():
    film = explore(published.retain_graph_as_printed).data["films"]["retain_graph_as_printed"]
    assert len(film["field"]["moments"]) == len(film["moments"])
    assert film["field"]["moved"] is None


def test_lines_that_python_cannot_read_have_no_plane():
    text = "lambda gan, real, noise: gan.discriminator(gan.generator(noise)).mean().backward()"
    step = eval(text)
    film = explore(step, what_if=False).data["films"]["<lambda>"]
    assert film["field"] is None


def test_a_debugger_hears_as_before():
    heard = []

    def trace(frame, kind, arg):
        heard.append(frame.f_code.co_name)
        return trace

    outer = sys.gettrace()
    sys.settrace(trace)
    try:
        Judge(STRATEGIES["detach"].step, tiny_gan(seed=0), REAL, NOISE, 0, PlaneWatch(REAL))
        assert sys.gettrace() is trace
    finally:
        sys.settrace(outer)
    assert "step_detach" in heard
