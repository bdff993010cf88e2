"""Steps of any form, on any nets: two discriminators, an encoder, a trainer's method."""

import copy
import re
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn, optim
from torch.nn import functional as F

from gan_lessons import cost, cost_all, explore, record_step, step_detach, step_frozen, tiny_gan

BATCH: Any = torch.randn(2, 4, 2)


def mlp(n_in, n_out):
    return nn.Sequential(nn.Linear(n_in, 8), nn.LeakyReLU(0.2), nn.Linear(8, n_out))


class Translator:
    """After pix2pix: two discriminators judge pairs, and G also comes close to the target."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.G, self.coarse, self.fine = mlp(2, 2), mlp(4, 1), mlp(4, 1)
        self.opt_g = optim.Adam(self.G.parameters(), 1e-3)
        self.opt_d = optim.Adam([*self.coarse.parameters(), *self.fine.parameters()], 1e-3)
        self.own: dict[str, Any] = {
            "nets": {"G": self.G, "coarse": self.coarse, "fine": self.fine},
            "optimizers": {"G": self.opt_g, "D": self.opt_d},
        }

    def step(self, source, target):
        """Both discriminators, then G."""
        fake = self.G(source)
        pair, true_pair = torch.cat((source, fake), 1), torch.cat((source, target), 1)
        self.opt_d.zero_grad()
        d_loss = torch.zeros(())
        for D in (self.coarse, self.fine):
            d_loss = d_loss + F.softplus(-D(true_pair)).mean()
            d_loss = d_loss + F.softplus(D(pair.detach())).mean()
        d_loss.backward()
        self.opt_d.step()
        self.opt_g.zero_grad()
        adversarial = F.softplus(-self.coarse(pair)).mean() + F.softplus(-self.fine(pair)).mean()
        g_loss = adversarial + 10 * F.l1_loss(fake, target)
        g_loss.backward()
        self.opt_g.step()

    def state(self):
        nets, optimizers = self.own["nets"].values(), self.own["optimizers"].values()
        return copy.deepcopy(
            [[net.state_dict(), [p.grad for p in net.parameters()]] for net in nets]
            + [optimizer.state_dict() for optimizer in optimizers]
            + [torch.get_rng_state()]
        )


def own_call(gan) -> dict[str, Any]:
    return {"args": (gan, *BATCH), "nets": gan.nets, "optimizers": gan.optimizers}


def test_a_step_with_its_own_arguments_is_recorded_as_one_of_a_gan_is():
    short = record_step(step_detach, tiny_gan(), *BATCH)
    own = record_step(step_detach, **own_call(tiny_gan()))
    assert own.to_json() == short.to_json()
    assert len(own.moments) == len(short.moments) > 5


@pytest.mark.parametrize("used", [False, True])
def test_what_is_looked_at_is_put_back(used):
    mine = Translator()
    if used:
        mine.step(*BATCH)
    before = mine.state()
    film = explore(mine.step, args=BATCH.unbind(), **mine.own).data["films"]["step"]
    cost(mine.step, args=BATCH.unbind(), **mine.own, repeat=1)
    torch.testing.assert_close(mine.state(), before, rtol=0, atol=0)
    assert film["nets"] == ["G", "coarse", "fine"]
    # Both discriminators get gradients from g_loss that nobody uses: 4 parameters each.
    assert film["totals"]["vain"] == 8
    assert film["totals"]["forwards"] == {"G": 1, "coarse": 3, "fine": 3}


def test_what_it_costs_agrees_with_the_gan_form():
    steps = {"detach": step_detach, "frozen": step_frozen}
    gan = tiny_gan()
    short = cost_all(steps, gan, *BATCH, repeat=0)
    own = cost_all(steps, **own_call(gan), repeat=0)
    assert {n: c.work for n, c in own.items()} == {n: c.work for n, c in short.items()}
    assert {n: c.peak_held for n, c in own.items()} == {n: c.peak_held for n, c in short.items()}


def test_an_encoder_and_two_optimizers_on_it():
    """A step that reaches its nets by name, as one does in a notebook."""
    E, G, D = mlp(2, 3), mlp(3, 2), mlp(2, 1)
    opt_a, opt_d = optim.Adam([*E.parameters(), *G.parameters()]), optim.Adam(D.parameters())

    def step(real):
        opt_a.zero_grad()
        F.mse_loss(G(E(real)), real).backward()
        opt_a.step()
        opt_d.zero_grad()
        (D(G(E(real)).detach()).mean() - D(real).mean()).backward()
        opt_d.step()

    own: dict[str, Any] = {
        "nets": {"E": E, "G": G, "D": D},
        "optimizers": {"AE": opt_a, "D": opt_d},
    }
    found = cost(step, args=(BATCH[0],), **own, repeat=0)
    assert found.forwards == {"E": 2, "G": 2, "D": 2}
    assert found.flops_of("E", "backward") > 0
    assert found.flops_in_vain.count == 0
    film = explore(step, args=[BATCH[0]], **own).data["films"]["step"]
    assert any("cut" in edge for edge in film["stage"]["edges"])


def test_a_step_that_raises_is_shown_as_it_fails():
    mine = Translator()

    def step(source, target):
        mine.step(source, target)
        (mine.fine(torch.cat((source, target), 1)).mean().detach()).backward()

    before = mine.state()
    film = explore(step, args=BATCH.unbind(), **mine.own).data["films"]["step"]
    assert "does not require grad" in film["error"]
    torch.testing.assert_close(mine.state(), before, rtol=0, atol=0)


GAN: Any = tiny_gan()
MINE: Any = Translator()
NETS = MINE.own["nets"]
REFUSED = {
    "three for two": (
        lambda: explore(MINE.step, gan=GAN),
        TypeError,
        r"explore\(\) cannot call step\(source, target\) with \(Gan, Tensor, Tensor\): too many "
        r"positional arguments. Give what the step takes as args=\(...\)",
    ),
    "one missing": (
        lambda: record_step(MINE.step, args=(BATCH[0],), **MINE.own),
        TypeError,
        r"with \(Tensor\): missing a required argument: 'target'",
    ),
    "a batch without a comma": (
        lambda: cost(MINE.step, args=(BATCH[0]), **MINE.own),
        TypeError,
        r"expected a tuple of what the step takes, such as \(batch,\)",
    ),
    "a batch among the steps": (
        lambda: explore(MINE.step, *BATCH),
        TypeError,
        r"got a Tensor; .* what any other step takes goes into args=",
    ),
    "both forms": (
        lambda: explore(step_detach, gan=GAN, nets=NETS),
        TypeError,
        "got a Gan or a batch, and args=, nets= or optimizers= too",
    ),
    "no nets": (lambda: explore(MINE.step, args=BATCH.unbind()), TypeError, "expected a dict of"),
    "other nets": (
        lambda: explore(MINE.step, args=BATCH.unbind(), nets=GAN.nets),
        ValueError,
        r"step ran, and none of the nets in nets= had a part in it \(G, D\)",
    ),
    "a net for a step": (
        lambda: record_step(MINE.G, args=(BATCH[0],), nets=NETS),
        TypeError,
        "expected a function that runs one training step",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_gets_a_sentence(case):
    run, error, text = REFUSED[case]
    with pytest.raises(error, match=text):
        run()


def test_the_example_of_the_page_runs_and_says_what_is_quoted(root, tmp_path):
    page = (root / "docs" / "any-step.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (quoted,) = re.findall(r"```\n(fine .*?)```", page, re.DOTALL)
    script = tmp_path / "example.py"  # a file: the table quotes its lines
    script.write_text(example, encoding="utf-8")
    command = [sys.executable, "-W", "error", "-X", "utf8", str(script)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", cwd=tmp_path, check=False)
    assert done.stderr == ""
    assert quoted in done.stdout
    assert "coarse" in (tmp_path / "step.html").read_text(encoding="utf-8")


# The stage of three nets --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stage():
    return explore(MINE.step, args=BATCH.unbind(), **MINE.own).data["films"]["step"]["stage"]


def test_no_player_stands_on_another(stage):
    boxes = [f["box"] for f in stage["frames"]] + [loss["box"] for loss in stage["losses"]]
    calls = [call["box"] for call in stage["calls"]]
    assert len(boxes) == 5
    assert len(calls) == 7
    for group in (boxes, calls):
        for i, (x, y, width, height) in enumerate(group):
            assert x >= 0
            assert x + width <= stage["size"][0]
            assert y + height <= stage["size"][1]
            for left, top, wide, tall in group[:i]:
                apart = (
                    x >= left + wide or left >= x + width or y >= top + tall or top >= y + height
                )
                assert apart


def test_no_way_goes_through_a_net_that_it_does_not_enter(stage):
    """The way from the fake to g_loss passes between the two discriminators."""
    frames, crossed = [f["box"] for f in stage["frames"]], 0
    for edge in (e for e in stage["edges"] if "weights" not in e):
        y, x = 0.0, 0.0
        for part in (
            edge["path"].replace("Q", "|Q").replace("H", "|H").replace("V", "|V").split("|")
        ):
            numbers = [float(n) for n in part[1:].replace(" ", ",").split(",")]
            if part[0] == "H":
                for left, top, wide, tall in frames:
                    inside = top <= y <= top + tall
                    crossed += (
                        inside and min(x, numbers[0]) < left and left + wide < max(x, numbers[0])
                    )
                x = numbers[0]
            elif part[0] == "V":
                y = numbers[0]
            else:
                x, y = numbers[-2:]
    assert crossed == 0
