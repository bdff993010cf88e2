"""Claim C1 of lesson 01, measured again, and the other moves that its sentences rely on."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import binary_cross_entropy
from torch.nn.utils import parameters_to_vector

from gan_lessons import dcgan, mlp_gan, record, tiny_gan

MAKERS = {
    "tiny": tiny_gan,
    "mlp": lambda: mlp_gan(hidden_g=(16, 16), hidden_d=(16,)),
    "dcgan": lambda: dcgan(16, 1, 4, width=4),
}
SECOND_TIME = r"^Trying to backward through the graph a second time"
IN_PLACE = r"^one of the variables needed for gradient computation has been modified by an inplace"


@pytest.fixture(params=MAKERS)
def gan(request):
    return MAKERS[request.param]()


def noise_for(gan):
    shape = (4, *gan.generator.in_shape)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def loss_of_fakes(gan, fake):
    prediction = gan.discriminator(fake)
    return gan.loss(prediction, torch.zeros_like(prediction))


def received(net):
    return [p.grad is not None for p in net.parameters()]


def scalars():
    a, b = torch.tensor(2.0, requires_grad=True), torch.tensor(3.0, requires_grad=True)
    return a, b, a * b


# C1 -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("detached", [True, False])
def test_c01_detach_leaves_all_before_it_without_gradient(gan, detached):
    noise = noise_for(gan).requires_grad_()
    fake = gan.generator(noise)
    fake.retain_grad()  # the tensor itself, G's parameters and G's input: all lie before the cut
    loss_of_fakes(gan, fake.detach() if detached else fake).backward()

    before = [fake.grad is not None, noise.grad is not None, *received(gan.generator)]
    assert before == [not detached] * len(before)
    assert all(received(gan.discriminator))


@pytest.mark.parametrize("detached", [True, False])
def test_c01_the_record_says_so(gan, detached):
    with record(gan.nets) as rec:
        fake = gan.generator(noise_for(gan))
        loss_of_fakes(gan, fake.detach() if detached else fake).backward()

    names = {net: tuple(dict(module.named_parameters())) for net, module in gan.nets.items()}
    got = {net: set(found) for net, found in rec.backward_calls[0].received.items()}
    assert got == {"G": set() if detached else set(names["G"]), "D": set(names["D"])}
    assert [cut.how for cut in rec.graph.cuts] == ["detach()"] * detached


def test_c01_only_the_way_through_that_tensor_is_cut():
    a, b, c = scalars()
    (c.clone() + a).backward()
    assert b.grad is None
    assert a.grad == 1  # a lies before the cut as well, and receives on its direct way


def test_c01_the_original_graph_survives(gan):
    gan.discriminator.eval()  # BatchNorm's statistics would move with every forward
    G, noise = gan.generator.eval(), noise_for(gan)
    true = torch.autograd.grad(loss_of_fakes(gan, G(noise)), list(G.parameters()))

    fake = G(noise)
    loss_of_fakes(gan, fake.detach()).backward()
    assert not any(received(G))
    loss_of_fakes(gan, fake).backward()
    found = parameters_to_vector([p.grad for p in G.parameters()])
    assert torch.equal(found, torch.cat([g.flatten() for g in true]))


# The other moves ----------------------------------------------------------------------------------


def test_detach_shares_memory_and_version_counter():
    _, _, c = scalars()
    c.clone().add_(10)
    assert (c.item(), c._version) == (16, 1)


def test_a_changed_saved_tensor_raises_unless_it_was_changed_through_data():
    _, b, c = scalars()
    with torch.no_grad():
        b.fill_(30)
    with pytest.raises(RuntimeError, match=IN_PLACE):
        c.backward()

    a, b, c = scalars()
    b.data.fill_(30)
    c.backward()
    assert (b._version, a.grad) == (0, 30)  # a gradient of no function: c was made with b = 3


def test_backward_adds_and_frees_what_was_saved():
    a, b, c = scalars()
    c.backward(retain_graph=True)
    c.backward()
    assert a.grad == 2 * b
    with pytest.raises(RuntimeError, match=SECOND_TIME):
        c.backward()
    total = a + b  # a sum saves nothing, so nothing is freed
    total.backward()
    total.backward()


@pytest.mark.parametrize(("set_to_none", "left", "moves"), [(True, None, False), (False, 0, True)])
def test_zero_grad_leaves_none_or_a_zero_that_momentum_acts_on(set_to_none, left, moves):
    weight = torch.tensor(1.0, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    (2 * weight).backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=set_to_none)
    assert weight.grad == left
    before = weight.item()
    optimizer.step()
    assert (weight.item() != before) is moves


numbers = st.floats(-2, 2)


@given(a=numbers, b=numbers, x=numbers, z=numbers)
def test_gan_of_two_parameters_by_hand(a, b, x, z):
    weights = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (a, b)]
    on_real, on_fake = torch.sigmoid(weights[1] * x), torch.sigmoid(weights[1] * weights[0] * z)
    one, zero = torch.ones_like(on_real), torch.zeros_like(on_fake)
    d_loss = (binary_cross_entropy(on_real, one) + binary_cross_entropy(on_fake, zero)) / 2
    g_loss = binary_cross_entropy(on_fake, one)
    found = [torch.autograd.grad(loss, weights, retain_graph=True) for loss in (d_loss, g_loss)]

    r, s = 1 / (1 + math.exp(-b * x)), 1 / (1 + math.exp(-a * b * z))
    by_hand = [(s * b * z / 2, ((r - 1) * x + s * a * z) / 2), ((s - 1) * b * z, (s - 1) * a * z)]
    assert [[float(g) for g in grads] for grads in found] == [
        pytest.approx(grads, rel=1e-9, abs=1e-12) for grads in by_hand
    ]
