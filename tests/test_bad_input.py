"""Bad input is refused with a clear error, and before anything is changed."""

import copy
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim import LBFGS, SGD, Adam

from gan_lessons import (
    Gan,
    data,
    dcgan,
    draw_graph,
    losses,
    mlp_gan,
    published,
    record,
    tiny_gan,
)
from gan_lessons.lean_steps import step_by_halves, step_frozen, step_one_stage, step_selective
from gan_lessons.steps import step_detach, step_generator_first, step_retain_graph
from tests.stress import bad_input

STEPS = [
    step_retain_graph,
    step_detach,
    step_generator_first,
    published.retain_graph_as_printed,
    published.detach_as_printed,
    published.retain_graph_before_1_5,
    step_frozen,
    step_selective,
    step_one_stage,
    step_by_halves,
]


def frozen_state(gan):
    """Copies of all that a step may change: weights, buffers, grads, modes, optimizers, RNG."""
    nets = (gan.generator, gan.discriminator)
    return {
        "weights and buffers": [copy.deepcopy(net.state_dict()) for net in nets],
        "grads": [copy.deepcopy(p.grad) for net in nets for p in net.parameters()],
        "grad objects": [id(p.grad) for net in nets for p in net.parameters()],
        "modes": [m.training for net in nets for m in net.modules()],
        "optimizers": [copy.deepcopy(o.state_dict()) for o in (gan.optimizer_g, gan.optimizer_d)],
        "random state": torch.get_rng_state(),
    }


def assert_same(first, second):
    """Bit by bit, through lists and dicts."""
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_same(first[key], second[key])
    elif isinstance(first, list | tuple):
        assert len(first) == len(second)
        for a, b in zip(first, second, strict=True):
            assert_same(a, b)
    else:
        assert first == second


def with_value(tensor, value):
    tensor = tensor.clone()
    tensor.view(-1)[-1] = value
    return tensor


NAN, INF = float("nan"), float("inf")
BAD_BATCHES = {
    "no tensor": (lambda r, z: (r.numpy(), z), TypeError, "real must be a tensor, got ndarray"),
    "no noise": (lambda r, z: (r, None), TypeError, "noise must be a tensor, got NoneType"),
    "empty": (lambda r, z: (r[:0], z[:0]), ValueError, "real must hold at least one sample"),
    "empty noise": (lambda r, z: (r, z[:0]), ValueError, "noise must hold at least one sample"),
    "no batch": (lambda r, z: (r.sum(), z), ValueError, r"at least one sample.*got shape \(\)"),
    "sizes differ": (lambda r, z: (r, z[:3]), ValueError, "same batch size, got 4 and 3"),
    "real shape": (
        lambda r, z: (r[..., :-1], z),
        ValueError,
        r"real has shape \(4, 1, 16, 15\), the discriminator expects \(batch, 1, 16, 16\)",
    ),
    "noise shape": (
        lambda r, z: (r, z[:, :-1]),
        ValueError,
        r"noise has shape \(4, 4\), the generator expects \(batch, 5\)",
    ),
    "flat images": (lambda r, z: (r.flatten(1), z), ValueError, r"real has shape \(4, 256\)"),
    "nan": (
        lambda r, z: (with_value(r, NAN), z),
        ValueError,
        r"real holds 1 values that are NaN or infinite, the first at index \(3, 0, 15, 15\)",
    ),
    "inf": (lambda r, z: (with_value(r, -INF), z), ValueError, "real holds 1 values"),
    "nan noise": (lambda r, z: (r, with_value(z, NAN)), ValueError, "noise holds 1 values"),
    "double": (
        lambda r, z: (r.double(), z),
        ValueError,
        r"real is torch.float64, the discriminator torch.float32; call real.to\(torch.float32\)",
    ),
    "bytes": (lambda r, z: (r.byte(), z), ValueError, "real is torch.uint8, the discriminator"),
    "half noise": (lambda r, z: (r, z.half()), ValueError, "noise is torch.float16, the generator"),
    "device": (
        lambda r, z: (r.to("meta"), z),
        ValueError,
        r"real is on meta, the discriminator on cpu; call real.to\('cpu'\)",
    ),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("case", BAD_BATCHES)
def test_a_bad_batch_changes_nothing(step, case):
    make, error, text = BAD_BATCHES[case]
    gan = dcgan(16, 1, 5, width=2)
    list(gan.discriminator.modules())[-1].eval()
    real, noise = torch.rand(4, 1, 16, 16), torch.randn(4, 5)
    step_generator_first(gan, real, noise)  # there are grads and optimizer states to spoil
    real, noise = make(real, noise)
    before = frozen_state(gan)
    with pytest.raises(error, match=text):
        step(gan, real, noise)
    assert_same(frozen_state(gan), before)


@settings(max_examples=30, deadline=None)
@given(
    place=st.integers(0, 7),
    value=st.sampled_from([NAN, INF, -INF]),
    in_real=st.booleans(),
    scale=st.sampled_from([1e-30, 1.0, 1e38]),
)
def test_one_bad_number_is_found_anywhere(place, value, in_real, scale):
    gan = tiny_gan()
    real, noise = scale * data.ring(4), scale * data.ring(4, seed=1)
    gan.check(real, noise)
    bad = real if in_real else noise
    bad.view(-1)[place] = value
    with pytest.raises(ValueError, match=rf"index \({place // 2}, {place % 2}\)"):
        gan.check(real, noise)


def test_large_numbers_are_not_infinite():
    largest = torch.full((4, 2), torch.finfo(torch.float32).max)
    assert largest.sum().isinf()
    tiny_gan().check(largest, largest)


def test_check_leaves_no_trace():
    gan = dcgan(16, 1, 5, width=2)
    real, noise = torch.rand(4, 1, 16, 16, requires_grad=True), torch.randn(4, 5)
    before = frozen_state(gan)
    gan.check(real, noise)
    assert_same(frozen_state(gan), before)
    assert real.grad is None


def test_nets_on_the_meta_device_have_no_values_to_check():
    gan = tiny_gan()
    G, D = gan.generator.to("meta"), gan.discriminator.to("meta")
    gan = Gan(G, D, SGD(G.parameters(), 0.1), SGD(D.parameters(), 0.1))
    gan.check(torch.empty(4, 2, device="meta"), torch.empty(4, 2, device="meta"))


class Table(nn.Module):
    """A stranger's generator: class numbers (batch,) -> samples (batch, 2)."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(3, 2)

    def forward(self, label):
        return self.table(label)


def test_whole_numbers_are_welcome_where_they_are_looked_up():
    G, D = Table(), tiny_gan().discriminator
    gan = Gan(G, D, SGD(G.parameters(), 0.1), SGD(D.parameters(), 0.1))
    for step in STEPS[:3]:
        step(gan, torch.randn(4, 2), torch.tensor([0, 1, 2, 0]))


# The parts of a Gan that do not fit together.


def nets():
    gan = tiny_gan()
    return gan.generator, gan.discriminator


def build(G=None, D=None, opt_g=None, opt_d=None, loss=None):
    first, second = nets()
    G, D = G or first, D or second
    loss = loss or nn.BCELoss()
    return Gan(G, D, opt_g or SGD(G.parameters(), 0.1), opt_d or SGD(D.parameters(), 0.1), loss)


def sgd(net):
    return SGD(net.parameters(), 0.1)


def swapped():
    G, D = nets()
    return Gan(G, D, sgd(D), sgd(G))


def both_nets_in_one():
    G, D = nets()
    return Gan(G, D, SGD([*G.parameters(), *D.parameters()], 0.1), sgd(D))


def other_copy():
    G, D = nets()
    return Gan(copy.deepcopy(G), D, sgd(G), sgd(D))


def no_parameters():
    G, D = nets()
    return Gan(nn.Tanh(), D, sgd(G), sgd(D))


def lbfgs():
    G, D = nets()
    return Gan(G, D, LBFGS(G.parameters()), sgd(D))


def replaced(**parts):
    return replace(tiny_gan(), **parts)


BAD_PARTS = {
    "class": (
        lambda: replaced(generator=nn.Linear),
        TypeError,
        "got Linear; pass an instance, not the class",
    ),
    "function": (
        lambda: replaced(discriminator=torch.sigmoid),
        TypeError,
        "discriminator must be a torch.nn",
    ),
    "list": (lambda: build(opt_g=[0.1]), TypeError, "optimizer_g must be a torch.optim.*got list"),
    "loss": (lambda: build(loss="bce"), TypeError, "loss must be callable, such as .*, got str"),
    "no parameters": (no_parameters, ValueError, "generator has no parameters, so there is nothi"),
    "swapped": (swapped, ValueError, "were optimizer_g and optimizer_d swapped"),
    "copy": (other_copy, ValueError, "optimizer_g holds none of the generator's parameters"),
    "shared": (both_nets_in_one, ValueError, "4 parameters are held by both optimizers"),
    "closure": (lbfgs, ValueError, "optimizer_g is LBFGS, whose step.. must be given the loss"),
    "dtypes": (
        lambda: build(G=nets()[0].double()),
        ValueError,
        "must share one dtype, got torch.float64 and torch.float32",
    ),
    "devices": (
        lambda: build(D=nets()[1].to("meta")),
        ValueError,
        "must share one device, got cpu and meta",
    ),
    "shapes": (
        lambda: build(G=mlp_gan((3,), 4, (5,), (5,)).generator),
        ValueError,
        r"makes samples of shape \(3,\), discriminator expects \(2,\)",
    ),
    "loss per sample": (
        lambda: build(loss=nn.BCELoss(reduction="none")),
        ValueError,
        r"one number .* got shape \(2, 1\); use reduction='mean'",
    ),
    "loss of floats": (
        lambda: build(loss=lambda p, t: 0.5),
        TypeError,
        "loss must return a tensor, got float",
    ),
    "loss cut off": (
        lambda: build(loss=lambda p, t: nn.BCELoss()(p.detach(), t)),
        ValueError,
        "without grad_fn; do not detach it",
    ),
    "logits loss": (
        lambda: build(loss=losses.bce_with_logits),
        ValueError,
        r"returns probabilities, the loss expects logits; use nn.BCELoss\(\) or .*logits=True",
    ),
    "probability loss": (
        lambda: replace(mlp_gan(logits=True), loss=nn.BCELoss()),
        ValueError,
        "returns logits, the loss expects probabilities; use losses.bce_with_logits or",
    ),
}


@pytest.mark.parametrize("case", BAD_PARTS)
def test_parts_that_do_not_fit_are_refused(case):
    make, error, text = BAD_PARTS[case]
    with pytest.raises(error, match=text):
        make()


def test_building_a_gan_changes_nothing():
    gan = dcgan(16, 1, 5, width=2)
    before = frozen_state(gan)
    Gan(gan.generator, gan.discriminator, gan.optimizer_g, gan.optimizer_d)
    assert_same(frozen_state(gan), before)


@pytest.mark.parametrize("reduce", [torch.no_grad, torch.enable_grad])
def test_a_gan_can_be_built_in_any_grad_mode(reduce):
    with reduce():
        assert isinstance(build(), Gan)


def test_a_moved_or_copied_gan_is_checked_as_it_is_now():
    gan = copy.deepcopy(tiny_gan())
    gan.generator.double()
    gan.discriminator.double()
    gan.check(torch.randn(4, 2).double(), torch.randn(4, 2).double())
    with pytest.raises(ValueError, match=r"real is torch\.float32, the"):
        gan.check(torch.randn(4, 2), torch.randn(4, 2))


def test_adam_with_part_of_a_net_is_allowed():
    G, D = nets()
    Gan(G, D, Adam(list(G.parameters())[-1:]), sgd(D))


def test_nets_beside_a_record_are_not_ignored():
    gan = tiny_gan()
    with record(gan.nets, gan.optimizers) as rec:
        step_detach(gan, data.ring(4), torch.randn(4, 2))
    with pytest.raises(ValueError, match="leave out nets="):
        draw_graph(record=rec, nets=gan.nets)


def test_every_public_function_says_what_is_wrong():
    """The short form of ``python -m tests.stress.bad_input``."""
    few = ("None", "a text", "minus one", "a dict of numbers", "a tensor")
    wrong = {name: bad_input.WRONG[name] for name in few}
    fell = [
        f"{function}({argument}={name}): {said}"
        for function, argument, name, outcome, said in bad_input.tried(wrong)
        if outcome not in ("refused", "accepted") and not bad_input.is_known(function, argument)
    ]
    assert fell == []


@pytest.mark.parametrize("yes", [True, False])
def test_true_is_no_number(yes):
    with pytest.raises(TypeError, match=rf"seed={yes}, of type bool; expected a whole number"):
        tiny_gan(seed=yes)
    with pytest.raises(TypeError, match=rf"std={yes}, of type bool; expected a number"):
        data.ring(4, std=yes)
