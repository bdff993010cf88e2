"""Loops that run side by side, with nets of their own: of each it is said what is said of it alone.

So no rule may stop at the first net, call or line of its kind, nor take one loop's for another's.
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
from tests.loops import LOOPS, Loop
from tests.loops.kit import ITERATIONS

# What these say counts or lists all nets, or all that is alive: only codes and nets are compared.
ABOUT_ALL = {
    "a_net_made_anew_after_its_optimizer", "a_second_judge_in_no_optimizer",
    "a_judge_that_was_forgotten", "features_of_a_fixed_net_that_nobody_froze",
    "a_running_sum_of_losses", "losses_kept_with_their_graphs", "averaged_weights_with_a_graph",
}  # fmt: skip
(RIGHT,) = (one for one in LOOPS if one.name == "one_fake_for_both_turns")
GOING_ON = [one for one in LOOPS if one.faulty and one.family != "errors"]  # an error ends it all

Said = set[tuple[str, ...]]  # code, severity, net; message and fix


def said(loops: dict[int, Loop]) -> Said:
    """Of loops in one record, iteration by iteration; their nets told apart by a number."""
    nets, its = dict[str, nn.Module](), []
    optimizers = dict[str, torch.optim.Optimizer]()
    for number, one in loops.items():
        torch.manual_seed(0)
        it = one.build(False)
        its.append((one, it))
        nets |= {f"{name}_{number}": net for name, net in it.nets.items()}
        optimizers |= {f"{name}_{number}": opt for name, opt in it.optimizers.items()}
    with warnings.catch_warnings(), contextlib.suppress(Exception):
        warnings.simplefilter("ignore")
        with record(nets, optimizers) as rec:
            for i in range(ITERATIONS):
                for one, it in its:
                    one.body(it, i)
    texts = ((f.code, f.severity, f.net or "", f.message, f.fix) for f in diagnose(rec).findings)
    return {tuple(map(_plain, parts)) for parts in texts}


def _plain(text: str) -> str:
    """Without the numbers of lines, for where more read alike or files are more they are told."""
    return re.sub(
        r" \((?:[\w.]+, )?line \d+\)", "", re.sub(r"[\w.]+, line \d+:|line \d+:", "", text)
    )


@functools.cache
def said_of_the_right_one() -> Said:
    return said({1: RIGHT})


@pytest.mark.parametrize("one", GOING_ON, ids=lambda one: one.name)
def test_of_each_it_is_said_what_is_said_of_it_alone(one: Loop) -> None:
    alone = said({2: one})
    again = {tuple(re.sub(r"_2\b", "_3", part) for part in parts) for parts in alone}
    together = said({1: RIGHT, 2: one, 3: one})
    parts = slice(3 if one.name in ABOUT_ALL else None)
    assert {x[parts] for x in together} == {
        x[parts] for x in said_of_the_right_one() | alone | again
    }


CROWD = [one for one in LOOPS if one.family != "errors" and one.name not in ABOUT_ALL]
CROWDS = 20


@functools.cache
def said_of(one: Loop) -> Said:
    return said({2: one})


@pytest.mark.parametrize("crowd", range(CROWDS))
def test_in_a_crowd_of_loops_each_is_told_as_alone(crowd: int) -> None:
    """Of all families, right ones and wrong ones, faults before and after each other."""
    numbered = dict(enumerate(CROWD[crowd::CROWDS], 10))
    alone = {
        tuple(re.sub(r"_2\b", f"_{number}", part) for part in parts)
        for number, one in numbered.items()
        for parts in said_of(one)
    }
    assert _of_its_own(said(numbered)) == _of_its_own(alone)


def _of_its_own(all_said: Said) -> Said:
    """Without two things that others have a part in. A step without a gradient is told of the last
    backward before it, whoever called that. Where somebody learns nothing, a gradient that nobody
    used may have been meant for that one: it is not told as vain."""
    return {x for x in all_said if x[0] != "in-vain" and "found no gradient in" not in x[3]}
