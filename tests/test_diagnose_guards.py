"""What keeps a rule of ``diagnose`` silent, one guard at a time: a loop in which it matters."""

from __future__ import annotations

import contextlib
import functools
import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import kl_div, mse_loss
from torch.nn.utils.parametrizations import weight_norm

from gan_lessons import diagnose, record
from gan_lessons.lens.diagnose import Diagnosis, Finding
from gan_lessons.lens.diagnose.checkpointed import checkpointed
from gan_lessons.lens.diagnose.clipping import clipped_in_vain, never_scaled, still_scaled
from gan_lessons.lens.diagnose.cut_penalty import added_too_late, cut_penalty
from gan_lessons.lens.diagnose.drawn import drawn
from gan_lessons.lens.diagnose.finding_text import as_item, as_text, evidence
from gan_lessons.lens.diagnose.for_the_input import for_the_input
from gan_lessons.lens.diagnose.forgotten import emptied, forgotten_parts
from gan_lessons.lens.diagnose.kept_by_reference import kept_by_reference
from gan_lessons.lens.diagnose.kept_out import kept_out
from gan_lessons.lens.diagnose.kind_of_update import frozen, update_kind
from gan_lessons.lens.diagnose.left_frozen import frozen_for_another
from gan_lessons.lens.diagnose.memory_growth import memory_growth
from gan_lessons.lens.diagnose.moves_though_frozen import moves_though_frozen
from gan_lessons.lens.diagnose.nothing_fixed import nothing_fixed
from gan_lessons.lens.diagnose.number_made_anew import number_made_anew
from gan_lessons.lens.diagnose.odd_parameters import made_anew, part_made_anew
from gan_lessons.lens.diagnose.ownership import (
    _is_of_another,
    exchanged,
    holds_the_wrong_net,
    in_no_optimizer,
    never_stepped,
)
from gan_lessons.lens.diagnose.partly_cut_off import never_received
from gan_lessons.lens.diagnose.parts import by_parts
from gan_lessons.lens.diagnose.polluted import polluted
from gan_lessons.lens.diagnose.processes_apart import ranks_differ
from gan_lessons.lens.diagnose.put_back import put_back
from gan_lessons.lens.diagnose.quoting import Quotes
from gan_lessons.lens.diagnose.read_and_left import read_and_left
from gan_lessons.lens.diagnose.report import _joined
from gan_lessons.lens.diagnose.story import Rule, Story
from gan_lessons.lens.diagnose.thawed_late import thawed_late
from gan_lessons.lens.diagnose.thrown_away import thrown_away
from gan_lessons.lens.diagnose.turned_round import turned_round
from gan_lessons.lens.diagnose.unregistered import come_later, plain_tensors
from gan_lessons.lens.diagnose.unused_loss import (
    idle_net,
    lost_terms,
    never_walked,
    parts_never_walked,
)
from gan_lessons.lens.diagnose.useless_gradients import stepped_again
from gan_lessons.lens.diagnose.waste import in_vain, needless_retain
from gan_lessons.lens.diagnose.weighed_twice import weighed_twice
from gan_lessons.lens.model import Record
from tests.loops import LOOPS
from tests.loops.kit import ITERATIONS, bce, mlp, noise, real, sgd
from tests.test_diagnose_real_code import codes, step


@pytest.fixture(autouse=True)
def the_same_numbers_each_time() -> None:
    torch.manual_seed(0)


@functools.cache
def recorded(name: str) -> Record:
    """The loop of that name in ``tests/loops``, as it was recorded."""
    (one,) = (one for one in LOOPS if one.name == name)
    torch.manual_seed(0)
    it = one.build(False)
    with warnings.catch_warnings(), contextlib.suppress(RuntimeError):
        warnings.simplefilter("ignore")
        with record(it.nets, it.optimizers) as rec:
            for i in range(ITERATIONS):
                one.body(it, i)
    return by_parts(rec)


# Where all that can be said is that it ended early, or stepped inside backward --------------------

RULES: list[tuple[Rule, str]] = [
    (never_walked, "a_number_from_the_log_in_the_sum"),
    (idle_net, "a_twin_whose_name_was_copied"),
    (parts_never_walked, "of_several_judges_in_one_module_the_last_one_counts"),
    (thrown_away, "cleared_between_the_two_halves_of_one_loss"),
    (clipped_in_vain, "clipped_after_the_step"),
    (still_scaled, "stepped_past_the_scaler"),
    (never_stepped, "a_step_that_is_missing"),
    (exchanged, "opponents_whose_optimizers_are_exchanged"),
    (holds_the_wrong_net, "both_optimizers_hold_g"),
    (in_no_optimizer, "a_second_judge_in_no_optimizer"),
    (made_anew, "codes_that_are_made_anew"),
    (part_made_anew, "a_head_that_was_made_anew"),
    (never_received, "a_part_of_the_net_behind_a_cut"),
    (in_vain, "the_gradients_of_d_in_the_turn_of_g"),
    (memory_growth, "a_running_sum_of_losses"),
    (update_kind, "one_fake_for_both_turns"),
    (checkpointed, "a_checkpoint_of_what_wants_no_gradient"),
    (never_scaled, "a_loss_past_the_scaler"),
    (cut_penalty, "a_penalty_made_without_gradients"),
    (added_too_late, "a_penalty_that_is_added_after_the_backward"),
    (drawn, "a_code_that_is_sampled_without_a_gradient"),
    (for_the_input, "an_attack_that_leaves_gradients_behind"),
    (emptied, "an_iterator_that_was_used_up"),
    (forgotten_parts, "the_part_in_the_middle_is_in_no_optimizer"),
    (kept_by_reference, "both_halves_kept_by_reference"),
    (kept_out, "a_code_through_numpy"),
    (frozen_for_another, "a_critic_thawed_by_a_generator_that_is_used_up"),
    (number_made_anew, "losses_that_are_averaged_by_numpy"),
    (come_later, "a_head_that_the_first_forward_builds"),
    (plain_tensors, "a_strength_that_is_a_mere_tensor"),
    (lost_terms, "features_are_matched_and_not_added"),
    (stepped_again, "d_is_stepped_again_in_the_turn_of_g"),
    (weighed_twice, "the_loss_of_a_weight_that_the_actor_follows"),
    (read_and_left, "a_change_of_tables_that_leaves_its_gradient"),
    (thawed_late, "a_trunk_that_is_thawed_and_in_no_optimizer"),
    (moves_though_frozen, "a_frozen_judge_that_momentum_moves"),
    (nothing_fixed, "a_random_target_that_learns"),
    (turned_round, "a_minus_before_the_losses_of_both_domains"),
]


@pytest.mark.parametrize(("rule", "name"), RULES, ids=lambda x: getattr(x, "__name__", None))
def test_of_a_loop_that_was_cut_short_nothing_is_said_to_be_missing(rule: Rule, name: str) -> None:
    assert list(rule(Story(recorded(name))))
    early = Story(recorded(name))
    early.failed = True
    assert list(rule(early)) == []


@pytest.mark.parametrize(("rule", "name"), RULES, ids=lambda x: getattr(x, "__name__", None))
def test_where_steps_are_inside_backward_it_is_not_known_who_received(
    rule: Rule, name: str
) -> None:
    inside = Story(recorded(name))
    inside.inside = {0}
    assert list(rule(inside)) == []


def test_two_more_that_fall_silent() -> None:
    story = Story(recorded("both_players_pollute_each_other"))
    assert list(polluted(story))
    story.inside = {0}
    assert list(polluted(story)) == []
    for rule, name in ((needless_retain, "a_graph_kept_beside_a_penalty"),
                       (put_back, "a_judge_looks_ahead_and_is_not_put_back")):  # fmt: skip
        story = Story(recorded(name))
        assert list(rule(story))
        story.failed = True
        assert list(rule(story)) == []


def test_of_two_that_agree_one_with_bound_weights_is_enough() -> None:
    """Then one number for all is no way out: what it says is kept long, whatever it is."""

    def learned(bind: bool) -> list[Finding]:
        one, two = nn.Linear(2, 3), nn.Linear(2, 3)
        opt = sgd(weight_norm(one) if bind else one, two)
        with record({"one": one, "two": two}, {"opt": opt}) as rec:
            for i in range(2):
                step(opt, (one(noise(i)) - two(noise(i))).square().mean())
        return [f for f in diagnose(rec).findings if f.code == "moving-target"]

    assert [f.severity for f in learned(False)] == ["wrong"]
    assert learned(True) == []


def test_a_gradient_from_before_is_told_of_whatever_parameter_has_it() -> None:
    for late in ("weight", "bias"):
        net = nn.Linear(2, 1)
        opt = sgd(net)
        parameter = net.get_parameter(late)
        parameter.grad = torch.ones_like(parameter)
        with record({"net": net}, {"opt": opt}) as rec:
            bce(net(noise(0)), 1.0).backward()
            opt.step()
        assert [f.net for f in diagnose(rec).findings if f.code == "from-before"] == ["net"]


def test_what_is_not_counted_in_operations_is_known_as_a_whole() -> None:
    found = needless_retain(Story(recorded("a_graph_kept_beside_a_penalty")))
    assert [f.saves and (f.saves.flops, f.saves.complete) for f in found] == [(0, True)]


# Facts that rules share ---------------------------------------------------------------------------


def usual_turns(iterations: int = 2) -> tuple[Record, dict[str, nn.Module]]:
    G, D = mlp(2, 2), mlp(2, 1)
    og, od = sgd(G), sgd(D)
    with record({"G": G, "D": D}, {"G": og, "D": od}) as rec:
        for i in range(iterations):
            step(od, bce(D(real(i)), 1.0) + bce(D(G(noise(i)).detach()), 0.0))
            step(og, bce(D(G(noise(i))), 1.0))
    return rec, {"G": G, "D": D}


def test_which_step_is_before_and_which_after() -> None:
    story = Story(usual_turns(3)[0])
    steps = story.steps_of("G")
    assert len(steps) == 3
    assert [story.steps_until("G", s) for s in steps] == [0, 1, 2]
    events = [s.event.index for s in steps]
    assert [story.step_before(s, "G") for s in steps] == [-1, *events[:2]]
    assert [story.step_after(s.event, "G") for s in steps] == [*steps[1:], None]
    between = story.calls_between(events[0], events[1])
    assert [c.index for c in between] == [2, 3]
    assert story.calls_between(events[2], events[2] + 9) == []


def test_what_is_kept_from_a_net_is_not_what_it_stepped_on() -> None:
    story = Story(usual_turns()[0])
    of_d, of_g = story.calls_made[:2]
    assert story.kept_from(of_d, "D") is False
    assert story.kept_from(of_d, "G") is True
    assert story.kept_from(of_g, "G") is False
    assert story.kept_from(of_g, "D") is False  # the next step of D uses nothing of it: cleared


def test_copies_are_nets_of_the_same_form_that_nobody_trains() -> None:
    G, D, target, other = mlp(2, 2), mlp(2, 1), mlp(2, 1), mlp(2, 2)
    nets = {"G": G, "D": D, "target": target, "other": other}
    with record(nets, {"D": sgd(D), "G": sgd(G)}) as rec:
        step(sgd(D), bce(D(real(0)), 1.0))
    story = Story(rec)
    assert story.copies_of("D") == ["target"]
    assert story.copies_of("G") == ["other"]


def test_nets_that_are_frozen_in_one_call_are_told_in_the_order_of_their_names() -> None:
    """Not in that of a set, which is another one in each run of Python."""
    G = mlp(2, 2)
    judges = {f"D{k}": mlp(2, 1).requires_grad_(False) for k in range(7)}
    og = sgd(G)
    with record({"G": G, **judges}, {"G": og}) as rec:
        fake = G(noise(0))
        step(og, torch.stack([bce(D(fake), 1.0) for D in judges.values()]).sum())
    assert [one.net for one in frozen(Story(rec))] == [*judges]


# Who was thawed, cleared, kept --------------------------------------------------------------------


def test_a_difference_that_cancels_is_told_of_each_net_of_its_line() -> None:
    """Two policies go through one helper: the line is one, and so is the fault, for each."""
    policies = {name: mlp(2, 1) for name in ("walker", "runner")}
    optimizers = {name: sgd(net) for name, net in policies.items()}
    with record(policies, optimizers) as rec:
        for i in range(2):
            for name, policy in policies.items():
                said = policy(noise(i))
                step(optimizers[name], ((said - policy(noise(i))).exp() * real(i)[:, :1]).mean())
    assert set(codes(diagnose(rec), "wrong")) == {("cancelled", "walker"), ("cancelled", "runner")}


def test_a_difference_that_cancels_once_may_do_so_by_chance() -> None:
    net = mlp(2, 1)
    optimizer = sgd(net)
    with record({"net": net}, {"net": optimizer}) as rec:
        step(optimizer, (net(noise(0)) - net(noise(0))).exp().mean())
    assert "cancelled" not in diagnose(rec).codes


def test_a_hook_that_is_taken_off_again_does_not_pile_up() -> None:
    net = mlp(2, 1)
    optimizer = sgd(net)
    hooks = []
    with record({"net": net}, {"net": optimizer}) as rec:
        for i in range(6):
            hooks.append(next(net.parameters()).register_hook(lambda grad: grad))
            step(optimizer, net(noise(i)).mean())
            while i == 2 and hooks:
                hooks.pop().remove()
    assert [e.hooks["net"] for e in rec.events if e.kind == "step"] == [1, 2, 3, 1, 2, 3]
    assert "hooks" not in diagnose(rec).codes


@pytest.mark.parametrize(("times", "told"), [(2, False), (3, True)])
def test_a_hook_that_is_registered_once_or_twice_may_be_a_set_up(times: int, told: bool) -> None:
    net = mlp(2, 1)
    optimizer = sgd(net)
    with record({"net": net}, {"net": optimizer}) as rec:
        for i in range(4):
            if i < times:
                next(net.parameters()).register_hook(lambda grad: grad)
            step(optimizer, net(noise(i)).mean())
    assert ("hooks" in diagnose(rec).codes) is told


def test_one_hook_more_for_one_net_of_two_that_an_optimizer_holds() -> None:
    one, two = mlp(2, 1), mlp(2, 1)
    both = sgd(one, two)
    with record({"one": one, "two": two}, {"both": both}) as rec:
        for i in range(4):
            next(two.parameters()).register_hook(lambda grad: grad)
            step(both, (one(noise(i)) + two(noise(i))).mean())
    assert codes(diagnose(rec), "wrong") == [("hooks", "two")]


def test_growth_is_no_growth_where_one_optimizer_steps_too_seldom() -> None:
    story = Story(recorded("a_running_sum_of_losses"))
    (told,) = memory_growth(story)
    assert told.severity == "waste"
    few = replace(story.record, events=story.record.events[: story.steps[3].event.index + 1])
    assert list(memory_growth(Story(few))) == []


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_of_parameters_made_anew_three_are_named(count: int) -> None:
    codes_ = nn.ParameterList(nn.Parameter(real(k)) for k in range(count))
    G = mlp(2, 2)
    both = sgd(G, codes_)
    now = [*codes_]
    with record({"G": G, "codes": codes_}, {"both": both}) as rec:
        for _ in range(3):
            step(both, torch.stack([G(code).square().mean() for code in now]).sum())
            now = [nn.Parameter(code.detach() / 2) for code in now]
    (told,) = (f for f in diagnose(rec).findings if f.severity == "wrong")
    names = ", ".join(map(str, range(min(count, 3)))) + (" and 1 more" if count > 3 else "")
    if count == 1:
        assert f"moves {names} of codes" in told.message
    else:
        assert f"moves {count} parameters of codes ({names})" in told.message


@pytest.mark.parametrize(
    ("bias", "names"),
    [(False, "1.weight, 1.bias, 2.weight of"), (True, "1.weight, 1.bias, 2.weight and 1 more of")],
)
def test_of_a_part_made_anew_three_parameters_are_named(bias: bool, names: str) -> None:
    D = nn.Sequential(nn.Linear(2, 8), nn.Linear(8, 8), nn.Linear(8, 1, bias=bias))
    od = sgd(D)
    D[1], D[2] = nn.Linear(8, 8), nn.Linear(8, 1, bias=bias)
    with record({"D": D}, {"D": od}) as rec:
        for i in range(2):
            step(od, bce(D(real(i)), 1.0))
    (told,) = (f for f in diagnose(rec).findings if f.severity == "wrong")
    assert f"computes gradients for {names} D" in told.message


# Who holds what -----------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [0, 1, 2])
def test_a_parameter_listed_twice_matters_once_its_optimizer_steps(times: int) -> None:
    D = mlp(2, 1)
    with pytest.warns(UserWarning, match="duplicate"):
        twice = torch.optim.SGD([*D.parameters(), *[*D.parameters()][:2]], lr=0.05)
    with record({"D": D}, {"D": twice}) as rec:
        for i in range(times):
            step(twice, bce(D(real(i)), 1.0))
        bce(D(real(9)), 1.0).backward()
    told = [f for f in diagnose(rec).findings if f.code == "ownership"]
    assert len(told) == (times > 0)
    for one in told:
        assert "D holds D's 0.weight and 1 others more than once" in one.message
        assert len(one.events) == times


@pytest.mark.parametrize("both", [False, True])
def test_one_module_under_two_names_matters_where_two_optimizers_move_it(both: bool) -> None:
    D = mlp(2, 1)
    one, two = sgd(D), sgd(D)
    with record({"D": D, "critic": D}, {"one": one, "two": two}) as rec:
        for i in range(2):
            step(one, bce(D(real(i)), 1.0))
            if both:
                step(two, bce(D(noise(i)), 0.0))
    told = [f for f in diagnose(rec).findings if "one and the same module" in f.message]
    assert len(told) == both


def test_a_turn_is_no_other_net_s_where_a_term_of_it_leaves_that_one_out() -> None:
    """D's loss on a fake with its graph reaches G, in vain; its loss on what is real does not."""
    G, D = mlp(2, 2), mlp(2, 1)
    og, od = sgd(G), sgd(D)
    with record({"G": G, "D": D}, {"G": og, "D": od}) as rec:
        step(od, bce(D(G(noise(0))), 0.0))
        step(od, bce(D(G(noise(1))), 0.0) + bce(D(real(1)), 1.0))
        step(od, bce(D(real(2)), 1.0))
        og.zero_grad()
        step(og, bce(D(G(noise(3))), 1.0))
    story = Story(rec)
    assert _is_of_another(story, [0], "D", "G")
    assert not _is_of_another(story, [1], "D", "G")
    assert not _is_of_another(story, [0, 1], "D", "G")
    assert not _is_of_another(story, [2], "D", "G")
    assert not _is_of_another(story, [3], "D", "G")  # G steps on it


@pytest.mark.parametrize("trained", [False, True])
def test_a_copy_that_lies_on_the_memory_of_its_original_is_none(trained: bool) -> None:
    D, target = mlp(2, 1), mlp(2, 1)
    for mine, theirs in zip(target.parameters(), D.parameters(), strict=True):
        mine.data = theirs.data
    od = sgd(D, target) if trained else sgd(D)
    with record({"D": D, "target": target}, {"D": od}) as rec:
        for i in range(2):
            with torch.no_grad():
                wanted = target(real(i))
            step(od, (D(real(i)) - wanted - 1).square().mean())
    told = [f for f in diagnose(rec).findings if f.code == "ownership"]
    assert [(f.severity, f.net) for f in told] == ([] if trained else [("waste", "target")])


class Shaker(torch.optim.SGD):
    """Moves the first of its parameters, and asks for no gradient."""

    def step(self, closure: Any = None) -> Any:
        with torch.no_grad():
            self.param_groups[0]["params"][0].add_(0.1)


def test_an_optimizer_that_needs_no_gradient_may_move_one_net_of_two() -> None:
    one, two = mlp(2, 1), mlp(2, 1)
    both = Shaker([*one.parameters(), *two.parameters()], lr=0.1)
    with record({"one": one, "two": two}, {"both": both}) as rec:
        for i in range(2):
            one(noise(i)), two(noise(i))
            both.step()
    assert "cut-off" not in diagnose(rec).codes


# Scalers, halves, teachers ------------------------------------------------------------------------


@pytest.mark.parametrize("by_itself", [False, True])
def test_a_step_past_the_scaler_is_one_that_the_scaler_did_not_make(by_itself: bool) -> None:
    D = mlp(2, 1)
    od, scaler = sgd(D), torch.amp.GradScaler("cpu", init_scale=2.0)
    with record({"D": D}, {"D": od}) as rec:
        for i in range(2):
            od.zero_grad()
            scaler.scale(bce(D(real(i)), 1.0)).backward()
            scaler.step(od)
            scaler.update()
            if by_itself:
                od.step()
            else:
                scaler.step(od)
                scaler.update()
    told = [f for f in diagnose(rec).findings if "once more by" in f.message]
    assert [f.net for f in told] == (["D"] if by_itself else [])


@pytest.mark.parametrize(
    "meanwhile", ["", "one is changed by hand", "weights move", "walked again"]
)
def test_a_half_that_is_thrown_away_is_told_unless_somebody_knows(meanwhile: str) -> None:
    D = mlp(2, 1)
    od = sgd(D)
    with record({"D": D}, {"D": od}) as rec:
        for i in range(3):
            od.zero_grad()
            half = bce(D(real(i)), 1.0)
            half.backward(retain_graph=meanwhile == "walked again")
            od.zero_grad()
            if meanwhile == "weights move":
                with torch.no_grad():
                    next(D.parameters()).mul_(0.9)
            if meanwhile == "walked again":
                torch.autograd.grad(half, [*D.parameters()])
            bce(D(noise(i)), 0.0).backward()
            if meanwhile == "one is changed by hand":
                grad = next(D.parameters()).grad
                assert grad is not None
                grad.mul_(0.5)
            od.step()
    assert (("thrown-away", "D") in codes(diagnose(rec), "wrong")) is not bool(meanwhile)


@pytest.mark.parametrize("asleep", [False, True])
@pytest.mark.parametrize("how", ["a divergence", "a distance"])
def test_a_teacher_that_is_drawn_to_its_student_is_told(how: str, asleep: bool) -> None:
    teacher, student = mlp(2, 3), mlp(2, 3)
    teacher.train(not asleep)
    both = sgd(teacher, student)
    with record({"teacher": teacher, "student": student}, {"both": both}) as rec:
        for i in range(2):
            x = real(i)
            own = student(x).square().mean() * student(noise(i)).mean()
            if how == "a distance":
                loss = mse_loss(student(x), teacher(x))
            else:
                loss = kl_div(student(x).log_softmax(1), teacher(x).softmax(1), reduction="sum")
            step(both, own + loss)
    told = [(f.severity, f.net) for f in diagnose(rec).findings if f.code == "moving-target"]
    assert told == [("wrong" if asleep else "waste", "teacher")]


@pytest.mark.parametrize("first", [False, True])
def test_an_advantage_with_its_graph_is_found_whatever_term_was_made_first(first: bool) -> None:
    policy, value = mlp(2, 3), mlp(2, 1)
    both = sgd(policy, value)
    with record({"policy": policy, "value": value}, {"both": both}) as rec:
        for i in range(2):
            if first:
                own = (value(real(i)) - 1).square().mean()
            logits = policy(real(i)).log_softmax(1)
            chosen = torch.multinomial(logits.exp(), 1)
            advantage = (chosen == 1).float() - value(real(i))
            weighed = -(logits.gather(1, chosen) * advantage).mean()
            if not first:
                own = (value(real(i)) - 1).square().mean()
            step(both, own + weighed)
    assert codes(diagnose(rec), "wrong") == [("polluted", "value")]


def test_a_choice_that_somebody_else_sampled_is_no_weighed_log_probability() -> None:
    """The other cut is of a net that has no part in the first factor."""
    net, value, other = mlp(2, 3), mlp(2, 1), mlp(2, 3)
    all_ = sgd(net, value, other)
    nets = {"net": net, "value": value, "other": other}
    with record(nets, {"all": all_}) as rec:
        for i in range(2):
            chosen = torch.multinomial(other(real(i)).softmax(1), 1)
            picked = net(real(i)).gather(1, chosen)
            own = (value(real(i)) - 1).square().mean() + other(real(i)).square().mean()
            step(all_, (picked * value(real(i))).mean() + own)
    assert codes(diagnose(rec), "wrong") == []


@pytest.mark.parametrize("first", ["d_loss", "g_loss"])
def test_the_lines_of_two_losses_that_were_summed_are_named_in_their_order(first: str) -> None:
    G, D = mlp(2, 2), mlp(2, 1)
    og, od = sgd(G), sgd(D)
    with record({"G": G, "D": D}, {"G": og, "D": od}) as rec:
        for i in range(2):
            og.zero_grad()
            od.zero_grad()
            fake = G(noise(i))
            if first == "d_loss":
                d_loss = bce(D(real(i)), 1.0) + bce(D(fake), 0.0)
                g_loss = bce(D(fake), 1.0)
            else:
                g_loss = bce(D(fake), 1.0)
                d_loss = bce(D(real(i)), 1.0) + bce(D(fake), 0.0)
            loss = d_loss + g_loss
            loss.backward()
            og.step()
            od.step()
    (told,) = (f for f in diagnose(rec).findings if f.severity == "wrong")
    one, two = ("d_loss", "g_loss") if first == "d_loss" else ("g_loss", "d_loss")
    assert re.search(rf"ways: `{one} = .* and `{two} = .*D and G both step", told.message)
    assert told.message.count("(line ") == 2


@pytest.mark.parametrize(
    ("scale", "shift", "own", "told"),
    [(0.9, 1.0, 1.0, True), (1.0, 1.0, 1.0, False), (0.9, 0.0, 1.0, False), (0.9, 1.0, 2.0, False)],
)
def test_a_target_is_bootstrapped_if_it_is_scaled_and_shifted_and_the_other_side_is_not(
    scale: float, shift: float, own: float, told: bool
) -> None:
    Q = mlp(2, 1)
    optimizer = sgd(Q)
    with record({"Q": Q}, {"Q": optimizer}) as rec:
        for i in range(2):
            target = Q(real(i))
            target = target * scale if scale != 1 else target
            target = target + shift if shift else target
            said = Q(noise(i))
            step(optimizer, mse_loss(said * own if own != 1 else said, target))
    assert ("moving-target" in diagnose(rec).codes) is told


def test_each_exception_that_was_caught_is_told() -> None:
    D = mlp(2, 1)
    with record({"D": D}, {"D": sgd(D)}) as rec:
        fails = D(real(0)).mean()
        fails.register_hook(lambda grad: 1 / 0)
        with contextlib.suppress(ZeroDivisionError):
            fails.backward()
        loss = D(real(0)).mean()
        loss.backward()
        with contextlib.suppress(RuntimeError):
            loss.backward()
    assert codes(diagnose(rec), "error") == [("exception", None), ("second-backward", None)]


def test_an_event_whose_line_is_not_known_is_told_by_what_it_was() -> None:
    rec, _ = usual_turns(1)
    quotes = Quotes(rec)
    last = rec.events[-1]
    unknown = replace(last, line=replace(last.line, text=""))
    assert quotes.seen(unknown) == f"event {last.index}: step G"
    assert quotes.event(unknown) == "a step of G"
    assert quotes.event(replace(unknown, kind="zero_grad")) == "zero_grad of G"
    assert quotes.in_line(unknown.line) == quotes.in_line(None) == ""


def test_processes_apart_are_told_the_first_of_two_backwards_through_one_forward() -> None:
    """The weights of two processes were compared when this record ended, let us say."""
    G, D = mlp(2, 2), mlp(2, 1)
    og, od = sgd(G), sgd(D)
    with record({"G": G, "D": D}, {"G": og, "D": od}) as rec:
        for i in range(2):
            verdict = D(G(noise(i)))
            g_loss, d_loss = bce(verdict, 1.0), bce(verdict, 0.0)
            og.zero_grad()
            g_loss.backward(retain_graph=True)
            od.zero_grad()
            d_loss.backward(inputs=list(D.parameters()))
            og.step()
            od.step()
    apart = dict.fromkeys("GD", ("0.weight",))
    of_g, of_d = ranks_differ(Story(replace(rec, apart=apart, processes=2)))
    assert (of_g.net, of_d.net) == ("G", "D")
    assert "what `og.step()` used was not averaged" in of_g.message
    assert "Wrap G in DistributedDataParallel" in of_g.fix
    assert "`g_loss.backward(retain_graph=True)` was the first backward" in of_d.message
    assert "what `d_loss.backward(inputs=list(D.parameters()))` then wrote" in of_d.message
    assert of_d.fix.startswith("Keep `g_loss.backward(retain_graph=True)` out of D")
    assert "`backward(inputs=list(G.parameters()))`" in of_d.fix


def test_processes_apart_whose_net_used_both_backwards_sum_the_losses() -> None:
    D = mlp(2, 1)
    od = sgd(D)
    with record({"D": D}, {"D": od}) as rec:
        for i in range(2):
            verdict = D(real(i))
            od.zero_grad()
            verdict.mean().backward(retain_graph=True)
            verdict.square().mean().backward()
            od.step()
    (told,) = ranks_differ(Story(replace(rec, apart={"D": ("0.weight",)}, processes=2)))
    assert told.fix.startswith("Call backward once, on the sum of the losses; or run D anew")


# What is shown ------------------------------------------------------------------------------------


def alike(count: int) -> Iterator[Finding]:
    for k in range(count):
        yield Finding("in-vain", "waste", f"N{k}", f"Message {k}.", "Mend it.", (), ())


@pytest.mark.parametrize(
    ("count", "shown", "more"), [(3, 3, ""), (4, 3, "1 more"), (6, 3, "3 more")]
)
def test_of_many_findings_alike_three_are_told_in_full(count: int, shown: int, more: str) -> None:
    text = as_text([*alike(count)], evidence)
    assert sum(f"Message {k}." in text for k in range(count)) == shown
    assert ("more like these" in text) is bool(more)
    assert more in text
    assert text.count("Mend it.") == 1


def test_a_line_of_text_is_not_wider_than_a_page_and_words_stay_whole() -> None:
    word = "a-word-with-hyphens-and-no-space-anywhere-in-it-" * 3
    item = as_item(f"{'short ' * 30}{word} end")
    lines = item.splitlines()
    assert lines[0].startswith("  - short")
    assert all(line.startswith("    ") for line in lines[1:])
    assert any(line.strip() == word for line in lines)
    widths = [len(line) for line in lines if word not in line]
    assert 90 < max(widths) <= 96
    finding = Finding("in-vain", "waste", "G", f"{'short ' * 30}{word} end", "", (), ())
    lines = as_text([finding], evidence).splitlines()[1:]
    assert any(line.strip() == word for line in lines)
    assert 90 < max(len(line) for line in lines if word not in line) <= 96


def test_findings_without_advice_stand_each_by_itself_but_for_notes() -> None:
    found = [Finding("polluted", "wrong", net, f"{net} is wrong.", "", (), ()) for net in "AB"]
    assert str(Diagnosis(found)).count("≠ wrong gradient: polluted (") == 2
    some = [Finding("frozen", "info", net, f"{net} was frozen.", "", (), ()) for net in "AB"]
    text = str(Diagnosis(some))
    assert "· note: frozen (A and B)\n  - A was frozen.\n  - B was frozen." in text
    assert str(Diagnosis([*some, replace(some[0], code="alternating")])).count("· note:") == 2
    with_advice = [
        Finding("frozen", "info", net, f"{net} was frozen.", "Do.", (), ()) for net in "AB"
    ]
    assert "· note: frozen (A and B)" in str(Diagnosis(with_advice))


def test_titles() -> None:
    assert "nothing to judge" in str(Diagnosis([]))
    ended = Finding("exception", "info", None, "It met this.", "", (), ())
    assert "ended early" in str(Diagnosis([ended], seen="1 × backward"))
    assert "nothing that raises" in str(Diagnosis([], seen="1 × backward"))
    assert "nothing that raises" in Diagnosis([], seen="1 × backward")._repr_html_()
    wrong = Finding("polluted", "wrong", "D", "Bad.", "Mend.", (), ())
    shown = Diagnosis([wrong], seen="1 × backward", stepped=("D moved D.",))
    assert "What each optimizer stepped on" not in str(shown) + shown._repr_html_()
    assert shown.codes == ["polluted"]


def test_the_same_finding_of_two_iterations_keeps_the_evidence_of_both_in_order() -> None:
    one = Finding("frozen", "info", "D", "D was frozen.", "", ("event 7",), (7,))
    two = replace(one, evidence=("event 3",), events=(3,))
    (told,) = _joined([one, two])
    assert (told.events, told.evidence) == ((3, 7), ("event 3", "event 7"))


def test_a_record_is_asked_for() -> None:
    wrong: Any = "no record"
    with pytest.raises(TypeError, match="expected a Record"):
        diagnose(wrong)
    with pytest.raises(ValueError, match="not complete"):
        diagnose(Record({}, {}))


def test_a_net_that_learns_from_a_distance_only_once_is_not_told_to_pull_alike() -> None:
    """One verdict each is too little to know which way the two pull."""
    G, D = mlp(2, 2), mlp(2, 1)
    og, od = sgd(G), sgd(D)
    with record({"G": G, "D": D}, {"G": og, "D": od}) as rec:
        for i in range(1):
            step(od, D(real(i)).mean() - D(G(noise(i)).detach()).mean())
            step(og, D(G(noise(i))).mean() * -1)
        step(od, mse_loss(D(real(1)), torch.ones(8, 1)))
    assert "pulled-alike" not in diagnose(rec).codes
