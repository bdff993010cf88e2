"""Loops in other company, and cut off sooner: of each it is said what is said of it alone, in time.

Side by side, with nets of their own: no rule may stop at the first net, call or line of its kind,
nor take one loop's for another's. In fewer iterations: it takes two to tell a fault, as a rule;
one, where it cannot be meant.

Two iterations are recorded, and all that is asked of these is asked of one record of each loop;
``test_loops`` has all three. Of what takes three, three are recorded here as well.
"""

from __future__ import annotations

import contextlib
import functools
import re
import warnings

import pytest
import torch
from torch import nn

from gan_lessons import diagnose, record
from gan_lessons.lens.diagnose import Diagnosis
from tests import said as said_in
from tests.loops import LOOPS, Loop
from tests.loops.kit import ITERATIONS

# What these say counts or lists all nets, or all that is alive: only codes and nets are compared.
ABOUT_ALL = {
    "a_net_made_anew_after_its_optimizer", "a_second_judge_in_no_optimizer",
    "both_nets_loaded_after_their_optimizers", "a_judge_listed_again_in_place_of_another",
    "a_judge_that_was_forgotten", "features_of_a_fixed_net_that_nobody_froze",
    "a_running_sum_of_losses", "losses_kept_with_their_graphs", "averaged_weights_with_a_graph",
}  # fmt: skip
TAKE_THREE = {  # something grows, or is done time and again: once or twice may be a set-up
    "a_hook_that_is_registered_again", "a_running_sum_of_losses", "losses_kept_with_their_graphs",
    "averaged_weights_with_a_graph", "an_average_that_learns_as_well",
    "an_average_inside_a_module_that_learns_as_well",
    "a_critic_thawed_by_a_generator_that_is_used_up",
    "a_trunk_that_is_thawed_and_in_no_optimizer",
}  # fmt: skip
TAKE_TWO = {  # what is left for the next iteration, or may be so by chance, or another turn's
    "told_to_look_false_beside_a_distance_to_the_truth", "told_to_look_false_in_pairs",
    "a_mask_that_is_to_look_false", "a_judge_with_one_label_for_all",
    "a_judge_that_draws_all_to_one_number",
    "an_entropy_that_is_subtracted_as_a_number",
    "the_loss_of_a_weight_is_left_in_the_actor",
    "a_frozen_judge_that_momentum_moves",
    "a_checkpoint_of_what_wants_no_gradient",
    "losses_that_are_averaged_by_numpy",
    "weights_that_are_clipped_into_new_ones",
    "a_number_from_the_log_in_the_sum",
    "d_is_stepped_again_in_the_turn_of_g",
    "the_distance_of_a_fake_to_its_own_copy",
    "the_distance_of_a_verdict_to_itself",
    "a_step_that_comes_before_the_verdict",
    "a_term_that_was_detached_and_made_a_number",
    "a_judge_made_of_nets_in_a_plain_list",
    "scales_in_a_plain_list_under_one_head",
    "weighed_scales_in_a_plain_list",
    "one_term_through_numpy_after_an_operation",
    "two_nets_that_grow",
    "a_strength_that_is_a_mere_tensor",
    "clipped_after_the_step",
    "each_cleared_before_its_own_turn_but_one",
    "a_student_and_the_head_that_judges_it",
    "a_policy_that_learns_through_its_critic",
    "the_zero_grad_that_throws_micro_batches_away",
    "two_judges_in_one_optimizer",
    "a_function_of_ones_own_inside_d",
    "one_module_that_holds_both_players",
    "both_players_pollute_each_other",
    "two_optimizers_made_of_each_other_s_nets",
    "frozen_after_its_first_turn",
    "a_generator_that_is_told_to_look_false",
    "a_critic_that_helps",
    "a_judge_that_calls_everything_false",
    "a_generator_that_is_drawn_to_the_label_of_fakes",
    "a_generator_that_is_drawn_to_the_label_of_fakes_by_powers",
    "told_to_look_false_by_a_judge_that_is_not_kept_from_it",
    "encoder_and_decoder_step_on_the_loss_of_their_judge",
    "encoder_and_decoder_take_the_loss_of_their_judge_in_turn",
    "a_loss_that_was_computed_and_the_other_one_sent_backward",
    "frozen_for_the_generator_and_never_thawed",
    "a_latent_code_that_is_replaced",
    "features_are_matched_and_not_added",
    "a_ratio_of_the_same_policy",
    "codes_that_are_made_anew",
    "two_nets_that_grow_after_their_optimizers",
    "one_judge_of_a_joint_optimizer_is_never_thawed",
    "features_matched_with_the_wrong_side_detached",
    "one_term_of_two_through_numpy",
    "one_term_through_numpy_and_a_log_of_it",
    "a_term_that_was_made_a_number_for_the_log",
    "the_penalty_alone_is_sent_backward",
    "the_loss_of_g_overwritten_by_a_plainer_one",
    "the_real_samples_of_one_go_to_the_other_judge",
    "the_fakes_of_one_go_to_the_other_judge",
    "an_iterator_that_was_used_up",
    "an_empty_group_beside_what_was_loaded",
    "an_empty_group_beside_random_features",
    "an_adapter_that_no_optimizer_holds",
    "the_way_back_is_in_no_optimizer",
    "the_part_in_the_middle_is_in_no_optimizer",
    "a_code_that_is_wrapped_anew",
    "a_code_through_numpy",
    "codes_that_are_read_from_a_detached_fake",
    "a_codebook_loss_of_what_comes_out_of_it",
    "a_codebook_without_a_loss",
    "a_codebook_loss_of_what_a_module_hands_on",
}  # fmt: skip
# In one iteration that is cut out of them these lack a step, which comes later.
LACK_A_STEP = {
    "accumulation_that_the_recording_leaves_under_way", "the_judges_take_turns",
    "two_optimizers_made_of_each_other_s_nets", "an_optimizer_copied_and_not_renamed",
}  # fmt: skip
(RIGHT,) = (one for one in LOOPS if one.name == "one_fake_for_both_turns")
FAULTY = [one for one in LOOPS if one.faulty]
GOING_ON = [one for one in FAULTY if one.family != "errors"]  # an error ends it all
CROWD = [one for one in LOOPS if one.family != "errors" and one.name not in ABOUT_ALL]
CROWDS = 20
NEIGHBOURS = [CROWD[i : i + 10] for i in range(0, len(CROWD), 10)]  # of a family, as a rule
SOONER = "test_loops_together"  # where that is stored

Said = set[tuple[str, ...]]  # code, severity, net; message and fix


def named(one: Loop) -> str:
    return one.name


def diagnosed(loops: dict[str, Loop], iterations: int) -> Diagnosis:
    """Of loops in one record, iteration by iteration; their nets told apart by what is added."""
    nets, its = dict[str, nn.Module](), []
    optimizers = dict[str, torch.optim.Optimizer]()
    for added, one in loops.items():
        torch.manual_seed(0)
        it = one.build(False)
        its.append((one, it))
        nets |= {f"{name}{added}": net for name, net in it.nets.items()}
        optimizers |= {f"{name}{added}": opt for name, opt in it.optimizers.items()}
    with warnings.catch_warnings(), contextlib.suppress(Exception):
        warnings.simplefilter("ignore")
        with record(nets, optimizers) as rec:
            for i in range(iterations):
                for one, it in its:
                    one.body(it, i)
    return diagnose(rec)


def iterations_of(one: Loop) -> int:
    return ITERATIONS if one.name in TAKE_THREE else 2


@functools.cache
def alone(one: Loop, iterations: int) -> Diagnosis:
    """Its nets are named as in a crowd, so that what is said can be compared word for word."""
    return diagnosed({"_2": one}, iterations)


def said(told: Diagnosis, added: str = "_2") -> Said:
    """added: what the names of nets end with, instead of ``_2``."""
    texts = ((f.code, f.severity, f.net or "", f.message, f.fix) for f in told.findings)
    return {tuple(re.sub(r"_2\b", added, _plain(part)) for part in parts) for parts in texts}


def _plain(text: str) -> str:
    """Without the numbers of lines, for where more read alike or files are more they are told; and
    without the list of all nets, among which some parameters are not."""
    text = re.sub(r"(not among the parameters of) .*", r"\1 these", text)
    return re.sub(
        r" \((?:[\w.]+, )?line \d+\)", "", re.sub(r"[\w.]+, line \d+:|line \d+:", "", text)
    )


# Side by side -------------------------------------------------------------------------------------


@pytest.mark.parametrize("one", GOING_ON, ids=named)
def test_of_each_it_is_said_what_is_said_of_it_alone(one: Loop) -> None:
    """Twice in one record, after one that is right."""
    n = iterations_of(one)
    together, once = diagnosed({"_1": RIGHT, "_2": one, "_3": one}, n), alone(one, n)
    expected = said(alone(RIGHT, n), "_1") | said(once) | said(once, "_3")
    parts = slice(3 if one.name in ABOUT_ALL else None)
    assert {x[parts] for x in said(together)} == {x[parts] for x in expected}


@pytest.mark.parametrize("crowd", range(CROWDS))
def test_in_a_crowd_of_loops_each_is_told_as_alone(crowd: int) -> None:
    """Of all families, right ones and wrong ones, faults before and after each other."""
    is_told_as_alone(CROWD[crowd::CROWDS])


def is_told_as_alone(crowd: list[Loop]) -> None:
    numbered = {f"_{i}": one for i, one in enumerate(crowd, 10)}
    n = max(map(iterations_of, numbered.values()))
    expected = Said().union(*(said(alone(one, n), added) for added, one in numbered.items()))
    together = diagnosed(numbered, n)
    assert _of_its_own(said(together)) == _of_its_own(expected)


@pytest.mark.parametrize("place", range(len(NEIGHBOURS)))
@pytest.mark.parametrize("backwards", [False, True])
def test_among_those_of_its_family_each_is_told_as_alone(place: int, backwards: bool) -> None:
    """What a rule leaves alone, before and after what it tells."""
    is_told_as_alone(NEIGHBOURS[place][:: -1 if backwards else 1])


def _of_its_own(all_said: Said) -> Said:
    """Without what others have a part in: where somebody learns nothing, a gradient that nobody
    used may have been meant for that one. It is not told as vain."""
    return {x for x in all_said if x[0] != "in-vain"}


# In fewer iterations ------------------------------------------------------------------------------


def faults(one: Loop, told: Diagnosis) -> set[tuple[str, str | None]]:
    """(code, net) of errors, wrong gradients, and waste that may be a fault."""
    return {(f.code, f.net and re.sub(r"_2\b", "", f.net)) for f in told.findings
            if f.severity in ("error", "wrong") or f.code == one.waste}  # fmt: skip


def is_told(one: Loop, found: set[tuple[str, str | None]]) -> bool:
    return {*one.codes} <= found and (not one.waste or one.waste in dict(found))


@pytest.mark.parametrize("one", FAULTY, ids=named)
def test_a_fault_is_told_after_two_iterations(one: Loop) -> None:
    assert is_told(one, faults(one, alone(one, 2))) is (one.name not in TAKE_THREE)


@pytest.mark.parametrize("one", FAULTY, ids=named)
def test_after_one_iteration_only_what_is_sure_is_told(one: Loop) -> None:
    found = faults(one, alone(one, 1))
    assert is_told(one, found) is (one.name not in TAKE_TWO | TAKE_THREE)
    if one.name not in LACK_A_STEP:
        assert {pair for pair in found if pair[0] != one.waste} <= {*one.codes}


@pytest.mark.parametrize("one", [o for o in LOOPS if not o.faulty], ids=named)
@pytest.mark.parametrize("iterations", [1, 2])
def test_a_right_loop_is_left_alone_however_soon_it_is_cut_off(one: Loop, iterations: int) -> None:
    if iterations == 2 or one.name not in LACK_A_STEP:
        assert faults(one, alone(one, iterations)) == set()


def told_after_each(one: Loop) -> str:
    """All that is told after one iteration and after two, notes as well."""
    rows = {n: [(f.severity, f.code, f.net) for f in alone(one, n).findings] for n in (1, 2)}
    told = {n: [f"{s}: {c}" + (f" ({net})" if net else "") for s, c, net in rows[n]] for n in rows}
    return "\n".join(f"after {n}: {', '.join(told[n]) or 'nothing'}" for n in told)


@pytest.mark.parametrize("one", LOOPS, ids=named)
def test_all_that_is_told_so_soon_is_as_it_was_read(one: Loop) -> None:
    """After a change that is meant, ``python -m tests.said``, and read."""
    assert told_after_each(one) == said_in.read(SOONER).get(one.name)
