"""Self-checks of exercises, and the rules for exercises in notebooks."""

from __future__ import annotations

import asyncio
import copy
import math

import exercise_rules
import nbformat
import pytest
import torch
from lab_server import kernel_environment
from nbclient import NotebookClient
from torch import nn, optim

from gan_lessons import (
    STRATEGIES,
    Gan,
    StepLosses,
    dcgan,
    mlp_gan,
    published,
    step_detach,
    step_generator_first,
    tiny_gan,
)
from gan_lessons.classroom import Check, check_step, check_value

TOLD_ONLY = "(Told only: this exercise asks for the same weights, not for the same calls.)"
RETURNED = (
    "It returns {got}; a step returns StepLosses(d_loss, g_loss), two tensors with one number each."
)
NAMES = ["retain_graph", "detach", "generator_first"]


def my_detach(gan, real, noise, *, clear_g=True, halve=True):
    """What a learner might write for "detach", with the mistakes that learners make."""
    G, D, loss = gan.generator, gan.discriminator, gan.loss
    fake = G(noise)
    gan.optimizer_d.zero_grad()
    pred_fake, pred_real = D(fake.detach()), D(real)
    ones = torch.ones_like(pred_real)
    d_loss = loss(pred_fake, 0 * ones) + loss(pred_real, ones)
    d_loss = d_loss / 2 if halve else d_loss
    d_loss.backward()
    gan.optimizer_d.step()
    if clear_g:
        gan.optimizer_g.zero_grad()
    g_loss = loss(D(fake), ones)
    g_loss.backward()
    gan.optimizer_g.step()
    return d_loss, g_loss


# Steps --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("like", NAMES)
@pytest.mark.parametrize("name", NAMES)
def test_a_step_is_like_itself_and_like_no_other(name, like):
    check = check_step(STRATEGIES[name].step, like=like)
    assert check.passed == (name == like), str(check)
    assert check.answered


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("make", [tiny_gan, mlp_gan], ids=["SGD", "Adam"])
def test_simultaneous_and_alternating_updates_are_told_apart(make, seed):
    gan = make(seed=seed)
    both = {"like": "retain_graph", "gan": gan, "only_weights": True}
    assert check_step(step_generator_first, **both).passed
    alternating = check_step(step_detach, **both)
    assert not alternating.passed
    assert "The weights of G are not those of the reference after step 0" in str(alternating)


def test_the_same_weights_by_other_calls():
    strict = check_step(step_generator_first)
    assert (
        "Step 0, backward call 1 (d_loss.backward()): G receives gradient in none of its "
        "4 parameters; in the reference in all 4 parameters."
    ) in strict.messages
    assert TOLD_ONLY not in strict.messages
    lenient = check_step(step_generator_first, only_weights=True)
    assert lenient.passed
    assert TOLD_ONLY in lenient.messages
    assert "D runs forward 3 times in a step; in the reference 2 times." in lenient.messages


def test_a_learners_own_step():
    check = check_step(my_detach, like=step_detach)
    assert check.passed
    assert "Both losses agree with the reference." in check.messages
    assert "The same nets receive gradient in the same backward calls." in check.messages


def test_a_gradient_cleared_too_late_shows_in_the_second_step():
    def forgetful(gan, real, noise):
        return my_detach(gan, real, noise, clear_g=False)

    assert check_step(forgetful, like="detach", steps=1).passed
    check = check_step(forgetful, like="detach")
    assert not check.passed
    assert "The weights of G are not those of the reference after step 1" in str(check)
    later = "Before step 1 all agreed: what did the step before leave in .grad?"
    assert later in check.messages


def test_a_wrong_factor_shows_even_under_adam():
    def twice(gan, real, noise):
        return my_detach(gan, real, noise, halve=False)

    assert "The weights of D are not those" in str(check_step(twice, like="detach"))
    under_adam = check_step(twice, like="detach", gan=mlp_gan())
    assert not under_adam.passed
    assert any(message.startswith("d_loss is") for message in under_adam.messages)


def test_a_step_that_forgets_a_player():
    def only_d(gan, real, noise):
        ones = torch.ones(len(real), 1)
        gan.optimizer_d.zero_grad()
        d_loss = gan.loss(gan.discriminator(real), ones)
        d_loss.backward()
        gan.optimizer_d.step()

    check = check_step(only_d)
    assert not check.passed
    assert "Step 0 moved no weight of G at all." in check.messages
    assert "Your step 0 makes 1 backward calls, the reference 2." in check.messages
    assert RETURNED.format(got="NoneType") in check.messages


@pytest.mark.parametrize("returned", [None, 1.0, (1.0,), ("a", "b"), (torch.ones(2), 1.0)])
def test_both_losses_have_to_be_returned(returned):
    def step(gan, real, noise):
        step_detach(gan, real, noise)
        return returned

    check = check_step(step, like="detach")
    assert not check.passed
    assert RETURNED.format(got=type(returned).__name__) in check.messages


def test_weights_that_are_no_numbers_do_not_pass():
    def step(gan, real, noise):
        losses = step_detach(gan, real, noise)
        with torch.no_grad():
            next(gan.generator.parameters()).fill_(math.nan)
        return losses

    assert not check_step(step, like="detach", steps=1).passed


def test_an_error_is_told_in_plain_words():
    check = check_step(published.retain_graph_as_printed)
    assert not check.passed
    assert check.answered
    assert check.messages[0].startswith("Your step raised RuntimeError: one of the variables")
    assert "opt_d.step()" in check.messages[1]


def test_an_error_in_the_second_run():
    seen = []

    def step(gan, real, noise):
        seen.append(noise)
        if len(seen) > 1:
            raise OSError("no room\nfor more")
        return step_detach(gan, real, noise)

    (message,) = check_step(step).messages
    assert message == "Your step ran once, and raised when it was run again: OSError: no room"


def only_dots(gan, real, noise): ...


def dots_inside(gan, real, noise):
    fake = gan.generator(noise)
    d_loss = gan.loss(gan.discriminator(fake), ...)
    d_loss.backward()


def dots_as_a_line(gan, real, noise):
    gan.generator(noise)
    ...  # noqa: PIE790 -- as an exercise begins


@pytest.mark.parametrize("step", [None, ..., only_dots, dots_inside, dots_as_a_line])
def test_not_answered_yet(step):
    check = check_step(step)
    assert (check.passed, check.answered) == (False, False)
    assert str(check).startswith("? not answered yet")


def test_nothing_of_the_learners_is_changed():
    gan = dcgan(size=8, channels=1, noise_dim=4, width=4)
    gan.discriminator.eval()
    gan.generator(torch.randn(2, 4)).sum().backward()
    real, noise = torch.rand(4, 1, 8, 8), torch.randn(4, 4)

    def rude(gan, real, noise):
        losses = step_detach(gan, real, noise)
        real.zero_()
        noise.zero_()
        gan.discriminator.train()
        torch.set_grad_enabled(False)
        torch.rand(7)
        return losses

    def state():
        nets = gan.generator, gan.discriminator
        tensors = [t for net in nets for t in (*net.parameters(), *net.buffers())]
        grads = [p.grad for net in nets for p in net.parameters()]
        return copy.deepcopy([*tensors, *grads, real, noise, torch.get_rng_state()])

    before = state()
    check_step(rude, like="detach", gan=gan, real=real, noise=noise)
    for a, b in zip(before, state(), strict=True):
        assert (a is None) == (b is None)
        assert a is None or torch.equal(a, b)
    assert torch.is_grad_enabled()
    assert not gan.discriminator.training


def test_both_draw_the_same_random_numbers():
    gan = tiny_gan()
    gan.discriminator = nn.Sequential(nn.Dropout(0.5), gan.discriminator)
    batch = torch.randn(4, 2)
    assert check_step(my_detach, like="detach", gan=gan, real=batch, noise=batch).passed


def test_an_interrupt_goes_on_and_leaves_no_trace():
    def step(gan, real, noise):
        torch.rand(1)
        torch.set_grad_enabled(False)
        raise KeyboardInterrupt

    state = torch.get_rng_state()
    with pytest.raises(KeyboardInterrupt):
        check_step(step)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.is_grad_enabled()


def test_a_reference_that_raises_is_the_teachers_error():
    with pytest.raises(RuntimeError, match="a second time"):
        check_step(step_detach, like=published.detach_as_printed)


def foreign_gan():
    G, D = nn.Linear(3, 2), nn.Sequential(nn.Linear(2, 1), nn.Sigmoid())
    return Gan(G, D, optim.Adam(G.parameters()), optim.Adam(D.parameters()))


def test_any_nets():
    real, noise = torch.randn(5, 2), torch.randn(5, 3)
    assert check_step(step_detach, "detach", foreign_gan(), real=real, noise=noise).passed
    with pytest.raises(ValueError, match="do not tell their shapes"):
        check_step(step_detach, "detach", foreign_gan())


def test_weights_in_any_order_of_memory():
    gan = dcgan(size=8, channels=1, noise_dim=4, width=4)
    for weight in gan.discriminator.parameters():
        if weight.ndim == 4:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    assert not all(p.is_contiguous() for p in gan.discriminator.parameters())
    assert check_step(my_detach, "detach", gan).passed
    assert not check_step(step_generator_first, "detach", gan, only_weights=True).passed


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"my_step": StepLosses(torch.ones(()), torch.ones(()))}, TypeError),
        ({"my_step": step_detach, "like": "detatch"}, KeyError),
        ({"my_step": step_detach, "steps": 0}, ValueError),
        ({"my_step": step_detach, "tolerance": -1}, ValueError),
        ({"my_step": step_detach, "real": torch.ones(4, 3)}, ValueError),
    ],
)
def test_refuses_bad_arguments(arguments, error):
    with pytest.raises(error):
        check_step(**arguments)


# Values -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "truth", "message"),
    [
        ({"a", "b"}, {"a", "b"}, None),
        (["b", "a"], lambda: {"a", "b"}, None),
        ({}, set(), None),  # nothing is an answer too, and {} is how a learner may write it
        ({"a", "c"}, {"a", "b"}, "Right: a.\n  Not among them: c.\n  Still missing: 1."),
        (3, 3.0, None),
        (3.1, torch.tensor(3.0), None),
        (3.2, 3, "Your 3.2 is too large (allowed difference: 0.125)."),
        (2, 3, "Your 2 is too small (allowed difference: 0.125)."),
        (math.nan, 3, "Your answer is not a finite number."),
        (True, True, None),
        (True, False, "Your answer True is not what was measured."),
        ("S1", "S1", None),
        ("S1", "S2", "Your answer 'S1' is not what was measured."),
        (1, True, "The answer should be True or False, yours is 1."),
        ("a", {"a"}, "The answer should be a set, such as {'a', 'b'}, yours is 'a'."),
        (torch.ones(2), 3, "The answer should be a number, yours is tensor([1., 1.])."),
    ],
)
def test_value(answer, truth, message):
    check = check_value(answer, truth, tolerance=0.125)
    expected = (
        f"≠ not yet\n  {message}" if message else "✓ passed\n  Your answer is what was measured."
    )
    assert str(check) == expected
    assert check.passed == (message is None)


@pytest.mark.parametrize("answer", [None, ..., {...}, ["a", ...]])
def test_value_not_answered_yet(answer):
    def truth():
        pytest.fail("measured without need")

    assert not check_value(answer, truth).answered


@pytest.mark.parametrize(
    ("truth", "error"),
    [(None, TypeError), ({1, 2}, TypeError), (math.nan, ValueError), (torch.ones(2), TypeError)],
)
def test_value_needs_a_truth(truth, error):
    with pytest.raises(error, match="truth"):
        check_value(1, truth)


# Notebooks ----------------------------------------------------------------------------------------


def cell(source, tags=(), check=None, **metadata):
    made = nbformat.v4.new_code_cell(source, metadata={"tags": list(tags), **metadata})
    if check is not None:
        data, result = check._repr_mimebundle_(include=None, exclude=None)
        made.outputs = [nbformat.v4.new_output("execute_result", data, metadata=result)]
    return made


FOLDED = {"jupyter": {"source_hidden": True}}
OPEN, PASSED, FAILED = Check(False, ("...",), answered=False), Check(True, ()), Check(False, ())


def good_cells():
    return [
        cell("x = 1"),
        cell("answer = ...\ncheck_value(answer, 3)", ["exercise"], OPEN),
        cell("# Solution\nsolved = 3\ncheck_value(solved, 3)", ["solution"], PASSED, **FOLDED),
    ]


def test_exercise_and_solution():
    text = nbformat.v4.new_markdown_cell("Unfold the next cell when you have tried.")
    first, exercise, solution = good_cells()
    cells = [first, exercise, text, solution]
    assert exercise_rules.exercise_problems(nbformat.v4.new_notebook(cells=cells)) == []


@pytest.mark.parametrize(
    ("position", "changed", "problem"),
    [
        (1, cell("x = 2"), "the code cell before it must be tagged 'exercise'"),
        (2, cell("x = 2"), "the next code cell must be tagged 'solution'"),
        (1, cell("answer = 3", ["exercise"], PASSED), "solved already"),
        (1, cell("answer = 3", ["exercise"]), "an exercise without a check"),
        (2, cell("# S", ["solution"], FAILED, **FOLDED), "does not pass"),
        (2, cell("# S", ["solution"], None, **FOLDED), "a solution without a check"),
        (2, cell("# S", ["solution"], PASSED), "not folded"),
        (2, cell("f()", ["solution"], PASSED, **FOLDED), "is not a comment"),
        (2, cell("# S\nanswer = 3", ["solution"], PASSED, **FOLDED), "names again: answer"),
    ],
)
def test_what_breaks_the_rules(position, changed, problem):
    cells = good_cells()
    cells[position] = changed
    (found,) = exercise_rules.exercise_problems(nbformat.v4.new_notebook(cells=cells))
    assert problem in found


def test_results_survive_a_real_run(tmp_path):
    sources = good_cells()
    for made in sources:
        made.outputs = []
    sources[0].source = "from gan_lessons.classroom.exercises import check_value"
    notebook = nbformat.v4.new_notebook(cells=sources)
    assert len(exercise_rules.exercise_problems(notebook)) == 2  # not run: no results

    async def run():
        client = NotebookClient(notebook, timeout=120, kernel_name="python3")
        async with client.async_setup_kernel(env=kernel_environment(tmp_path)):
            for index, made in enumerate(notebook.cells):
                await client.async_execute_cell(made, index)

    asyncio.run(run())
    assert exercise_rules.exercise_problems(notebook) == []
    assert notebook.cells[1].outputs[0].data["text/plain"].startswith("? not answered yet")
