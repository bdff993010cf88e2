"""``gan-lessons diagnose train.py``: scripts of strangers, run unchanged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from torch import optim
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

from gan_lessons.__main__ import main

ROOT = Path(__file__).resolve().parents[1]
HEAD = """
import argparse, sys, torch
from torch import nn, optim

def mlp(n_in, n_out):
    return nn.Sequential(nn.Linear(n_in, 8), nn.ReLU(), nn.Linear(8, n_out))

def bce(logits, target):
    return nn.functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))

def real():
    return torch.randn(8, 2) + 2

def noise():
    return torch.randn(8, 2)
"""
NETS = """
netG, netD = mlp(2, 2), mlp(2, 1)
opt_g, opt_d = optim.Adam(netG.parameters()), optim.Adam(netD.parameters())
"""
STEP = """
    fake = netG(noise())
    opt_d.zero_grad()
    (bce(netD(real()), 1.0) + bce(netD(fake.detach()), 0.0)).backward()
    opt_d.step()
    netD.requires_grad_(False)
    opt_g.zero_grad()
    bce(netD(fake), 1.0).backward()
    opt_g.step()
    netD.requires_grad_(True)
"""
GOOD = HEAD + NETS + "for i in range(6):" + STEP + '    print("iteration", i)\n'
POLLUTED = GOOD.replace("    opt_d.zero_grad()\n", "").replace(
    "    netD.requires_grad_(False)\n", ""
)


class Ran:
    def __init__(self, status: int, out: str, err: str, folder: Path) -> None:
        self.status, self.out, self.err = status, out, err
        file = folder / "report.json"
        self.json = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}

    @property
    def codes(self) -> set[str]:
        return {f["code"] for f in self.json["findings"] if f["severity"] != "info"}


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    """Return ``run(source, *arguments, options=())``; the report is read from its JSON too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "argv", ["gan-lessons"])
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])

    def diagnose(source: str, *arguments: str, options: tuple[str, ...] = ()) -> Ran:
        (tmp_path / "train.py").write_text(textwrap.dedent(source), encoding="utf-8")
        told = ["diagnose", "--json", "report.json", *options]
        status = main([*told, "train.py", *arguments])
        out, err = capfd.readouterr()
        return Ran(status, out, err, tmp_path)

    return diagnose


def attached() -> tuple[object, ...]:
    """All that could be left in torch itself."""
    return (
        list(torch.nn.modules.module._global_forward_pre_hooks),
        list(_global_optimizer_pre_hooks),
        list(_global_optimizer_post_hooks),
        optim.Optimizer.__init__,
        optim.Optimizer.zero_grad,
        torch.autograd._engine_run_backward,
        torch.overrides._len_torch_function_stack(),
    )


@pytest.fixture(autouse=True)
def nothing_is_left():
    before = attached()
    yield
    assert attached() == before


# What it says ----------------------------------------------------------------------------------


def test_a_right_loop(run):
    ran = run(GOOD)
    assert ran.status == 0
    assert ran.codes == set()
    assert (
        "watched 3 iterations of netG (4 parameters, opt_g), netD (4 parameters, opt_d)" in ran.out
    )
    assert ran.json["nets"] == {"netG": "Sequential", "netD": "Sequential"}
    assert "iteration 2" in ran.out
    assert "iteration 3" not in ran.out, "the script ends after the watched iterations"


def test_a_wrong_gradient_with_its_place(run):
    ran = run(POLLUTED)
    assert ran.status == 1
    assert "polluted" in ran.codes
    lines = POLLUTED.splitlines()
    number = lines.index("    bce(netD(fake), 1.0).backward()") + 1
    assert f"train.py:{number}: bce(netD(fake), 1.0).backward()" in ran.out
    found = next(f for f in ran.json["findings"] if f["code"] == "polluted")
    assert number in [place["line"] for place in found["where"]]
    assert {Path(place["file"]).name for place in found["where"]} == {"train.py"}


def test_an_error_in_the_first_iteration_is_explained(run):
    source = GOOD.replace("netD(fake.detach())", "netD(fake)")
    ran = run(source)
    assert ran.status == 1
    assert "second-backward" in ran.codes
    assert "Trying to backward through the graph a second time" in ran.err
    assert "gan_lessons" not in ran.err, "a traceback shows the script's own frames"
    assert "The script itself failed (RuntimeError)" in ran.out


def test_as_many_iterations_as_asked_for_after_a_warm_up(run):
    ran = run(GOOD, options=("--iterations", "2", "--after", "3"))
    assert ran.json["iterations"] == 2
    assert "iteration 4" in ran.out
    assert "iteration 5" not in ran.out


def test_keep_going(run):
    check = """
print("hooks", len(netG._forward_hooks), len(netD._forward_pre_hooks), len(netG[0]._forward_hooks))
print("modes", torch.overrides._len_torch_function_stack())
print("ours", optim.Optimizer.__init__.__module__, len(opt_g._optimizer_step_pre_hooks))
"""
    ran = run(GOOD + check, options=("--keep-going",))
    assert ran.status == 0
    assert "iteration 5" in ran.out
    assert ran.out.index("watched 3 iterations") < ran.out.index("iteration 3")
    assert "hooks 0 0 0\nmodes 0\nours torch.optim.optimizer 0" in ran.out


def test_the_numbers_are_those_of_a_run_without_us(run, tmp_path):
    seeded = GOOD.replace("netG, netD", "torch.manual_seed(0)\nnetG, netD")
    last = seeded + "\nprint('weights', sum(p.double().sum() for p in netG.parameters()).item())\n"
    ran = run(last, options=("--keep-going",))
    (tmp_path / "plain.py").write_text(last, encoding="utf-8")
    namespace: dict[str, object] = {"__name__": "__main__"}
    exec(compile(last, "plain.py", "exec"), namespace)
    nets = namespace["netG"]
    assert isinstance(nets, torch.nn.Module)
    plain = sum(float(p.detach().double().sum()) for p in nets.parameters())
    told = float(ran.out.split("weights ")[1].split()[0])
    assert told == pytest.approx(plain, abs=1e-12)


def test_html(run, tmp_path):
    ran = run(POLLUTED, options=("--html", "report.html"))
    assert ran.status == 1
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    seen = Tags()
    seen.feed(page)
    assert not seen.open, f"never closed: {seen.open}"
    assert {"html", "h1", "h2", "table", "figure", "pre"} <= seen.all
    assert "script" not in seen.all
    assert "polluted" in page
    assert "<b>" in page.split("<h2>The lines that were watched</h2>")[1].split("<h2>")[0]


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.all: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.all.add(tag)
        if tag not in ("br", "meta", "img", "wbr", "hr", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open
        assert self.open.pop() == tag


# How scripts are run ------------------------------------------------------------------------------


def test_arguments_and_main_are_the_scripts_own(run, tmp_path):
    tell = """
import __main__
print(sys.argv, __name__, __file__, __main__.__dict__ is globals(), sys.path[0])
"""
    ran = run(HEAD + tell, "--json", "its own", "-m", "x")
    argv, path = "['train.py', '--json', 'its own', '-m', 'x']", tmp_path / "train.py"
    assert f"{argv} __main__ {path} True {tmp_path.resolve()}" in ran.out
    assert ran.status == 2


def test_modules_are_run_as_python_does(run, tmp_path, capfd):
    package = tmp_path / "project"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "nets.py").write_text(HEAD)
    loop = "from project.nets import *\n" + NETS + "for i in range(6):" + STEP
    (package / "train.py").write_text(loop + "    print(sys.argv, __spec__.name)\n")
    status = main(["diagnose", "--iterations", "2", "-m", "project.train", "--lr", "1"])
    out = capfd.readouterr().out
    assert status == 0
    assert "train.py', '--lr', '1'] project.train" in out
    assert "watched 2 iterations of netG" in out


def test_what_is_pickled_finds_the_script(run):
    source = (
        HEAD
        + """
class Points(torch.utils.data.Dataset):
    def __len__(self):
        return 48
    def __getitem__(self, i):
        return torch.randn(2)
"""
        + NETS
        + "import pickle; pickle.loads(pickle.dumps(netG)), pickle.loads(pickle.dumps(Points()))\n"
        + "loader = torch.utils.data.DataLoader(Points(), 8, num_workers=2)\n"
        + "for batch in loader:"
        + STEP.replace("real()", "batch")
    )
    ran = run(source)
    assert ran.status == 0
    assert ran.json["iterations"] == 3


def test_the_program_from_a_shell(tmp_path):
    (tmp_path / "train.py").write_text(POLLUTED)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "gan_lessons", "diagnose", "train.py"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "polluted (netD)" in done.stdout


def test_bad_options_are_refused(run, capfd):
    for arguments, complaint in (
        ([], "name a script"),
        (["nowhere.py"], "no file 'nowhere.py'"),
        (["--iterations", "0", "x.py"], "at least 1"),
        (["--nonsense", "x.py"], "unrecognized arguments"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["diagnose", *arguments])
        assert ended.value.code == 2
        assert complaint in capfd.readouterr().err


# Shapes of scripts --------------------------------------------------------------------------------

TRAINER = (
    HEAD
    + """
class Trainer:
    def __init__(self):
        self.generator, self.critic = mlp(2, 2), mlp(2, 1)
        self.build()
    def build(self):
        self.g_solver = optim.RMSprop(self.generator.parameters())
        self.c_solver = optim.RMSprop(self.critic.parameters())
    def step(self, i):
        self.c_solver.zero_grad()
        (self.critic(self.generator(noise()).detach()) - self.critic(real())).mean().backward()
        self.c_solver.step()
        if i % 3 == 2:
            self.g_solver.zero_grad()
            (-self.critic(self.generator(noise()))).mean().backward()
            self.g_solver.step()
def main():
    trainer = Trainer()
    for i in range(30):
        trainer.step(i)
main()
"""
)


def test_nets_as_attributes_and_several_critic_steps(run):
    ran = run(TRAINER)
    assert ran.status == 0
    assert ran.json["nets"].keys() == {"generator", "critic"}
    assert ran.json["optimizers"] == {"g_solver": "RMSprop", "c_solver": "RMSprop"}
    assert ran.json["iterations"] == 3


def test_nets_in_a_dict_and_optimizers_without_a_name(run):
    source = (
        HEAD
        + """
nets = {"netG": mlp(2, 2), "netD": mlp(2, 1)}
opts = [optim.SGD(net.parameters(), 0.1) for net in nets.values()]
def train():
    for i in range(5):
        fake = nets["netG"](noise())
        opts[1].zero_grad()
        (bce(nets["netD"](real()), 1.0) + bce(nets["netD"](fake.detach()), 0.0)).backward()
        opts[1].step()
        opts[0].zero_grad()
        bce(nets["netD"](fake), 1.0).backward()
        opts[0].step()
train()
"""
    )
    ran = run(source)
    assert ran.status == 0
    assert ran.json["nets"].keys() == {"netG", "netD"}
    assert ran.json["optimizers"].keys() == {"opts[0]", "opts[1]"}


def test_players_inside_one_module(run):
    source = (
        HEAD
        + """
class Gan(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator, self.discriminator = mlp(2, 2), mlp(2, 1)
    def forward(self, z):
        return self.discriminator(self.generator(z))
gan = Gan()
opt_g, opt_d = (optim.Adam(x.parameters()) for x in (gan.generator, gan.discriminator))
for i in range(5):
    opt_d.zero_grad()
    fake = gan.generator(noise()).detach()
    (bce(gan.discriminator(real()), 1.0) + bce(gan.discriminator(fake), 0.0)).backward()
    opt_d.step()
    opt_g.zero_grad()
    bce(gan(noise()), 1.0).backward()
    opt_g.step()
"""
    )
    ran = run(source)
    assert ran.status == 0
    assert ran.json["nets"].keys() == {"generator", "discriminator"}


def test_one_optimizer_for_both(run):
    source = (
        HEAD
        + """
netG, netD = mlp(2, 2), mlp(2, 1)
opt = optim.Adam([*netG.parameters(), *netD.parameters()])
for i in range(5):
    opt.zero_grad()
    fake = netG(noise())
    (bce(netD(real()), 1.0) + bce(netD(fake.detach()), 0.0)).backward()
    bce(netD(fake), 1.0).backward(inputs=list(netG.parameters()))
    opt.step()
"""
    )
    ran = run(source)
    assert ran.status == 0
    assert ran.json["nets"].keys() == {"netG", "netD"}
    assert ran.json["optimizers"].keys() == {"opt"}
    assert ran.json["iterations"] == 3


def test_closures(run):
    source = (
        HEAD
        + """
net = mlp(2, 1)
optimizer = optim.LBFGS(net.parameters(), max_iter=2)
def closure():
    optimizer.zero_grad()
    loss = bce(net(real()), 1.0)
    loss.backward()
    return loss
for i in range(9):
    optimizer.step(closure)
"""
    )
    ran = run(source)
    assert ran.status == 0
    assert ran.json["iterations"] == 3


def test_steps_that_a_scaler_skips(run):
    source = GOOD.replace("opt_g.step()", "scaler.step(opt_g); scaler.update()").replace(
        "bce(netD(fake), 1.0).backward()",
        "scaler.scale(bce(netD(fake), 1.0) * (float('inf') if i == 1 else 1.0)).backward()",
    )
    ran = run(source.replace("netG, netD", "scaler = torch.amp.GradScaler('cpu')\nnetG, netD", 1))
    assert ran.status == 0
    assert ran.json["iterations"] == 3
    assert "iteration 3" in ran.out
    assert "iteration 4" not in ran.out


def test_an_optimizer_that_trains_alone_at_first(run):
    """Waiting costs nothing and says nothing: the second phase is watched."""
    source = (
        HEAD
        + NETS
        + """
for i in range(300):
    opt_g.zero_grad()
    (netG(noise()) - real()).abs().mean().backward()
    opt_g.step()
print("alone")
"""
        + "for i in range(6):"
        + STEP
        + "    print('iteration', i)\n"
    )
    ran = run(source)
    assert ran.status == 0
    assert ran.json["iterations"] == 3
    assert "iteration 2" in ran.out
    assert ran.json["notes"] == []


def test_an_optimizer_that_never_steps_is_told(run):
    source = POLLUTED.replace("    opt_d.step()\n", "    opt_d.zero_grad()\n")
    ran = run(source.replace("range(6)", "range(300)"))
    assert ran.status == 1
    assert "never-stepped" in ran.codes
    assert "opt_d took no step while it was watched." in ran.out


def test_an_optimizer_that_never_steps_in_a_short_script_is_named(run):
    """With gradients for it that is a fault; without any there was nothing of it to judge."""
    ran = run(GOOD.replace("    opt_g.step()\n", ""))
    assert ran.status == 1
    assert "netD (4 parameters, opt_d); no iteration was complete." in ran.out
    assert "opt_g never stepped, in the whole script." in ran.out
    assert ran.codes == {"never-stepped"}
    alone = GOOD.replace("netG(noise())", "netG(noise()).detach()").replace(
        "    opt_g.step()\n", ""
    )
    ran = run("\n".join(x for x in alone.split("\n") if "bce(netD(fake), 1.0)" not in x))
    assert (ran.status, ran.json["status"], ran.json["idle"]) == (2, 2, ["opt_g"])


FOLLOWED = """
import copy
value = mlp(2, 1)
target = copy.deepcopy(value)
opt, idle = optim.SGD(value.parameters(), 0.1), optim.SGD(target.parameters(), 0.1)
for i in range(6):
    opt.zero_grad()
    (value(real()) - 1.0 - 0.9 * target(real()).detach()).square().mean().backward()
    opt.step()
    with torch.no_grad():
        for p, followed in zip(target.parameters(), value.parameters()):
            p.lerp_(followed, 0.1)
"""


def test_a_target_net_may_have_an_optimizer_that_never_steps(run):
    """It was built as its original was, and follows by hand. Where it does not, that is told."""
    ran = run(HEAD + FOLLOWED)
    assert (ran.status, ran.json["idle"]) == (0, ["idle"])
    assert "idle never stepped, in the whole script; what it holds was moved by hand." in ran.out
    ran = run((HEAD + FOLLOWED).replace("p.lerp_(followed, 0.1)", "pass"))
    assert (ran.status, ran.json["idle"]) == (2, ["idle"])


def test_one_fault_is_one_finding_with_the_lines_as_an_editor_opens_them(run):
    ran = run(GOOD.replace("Adam(netD.parameters())", "Adam(netG.parameters())"))
    assert [(f["code"], f["severity"]) for f in ran.json["findings"]] == [("ownership", "wrong")]
    assert "opt_d holds netG, which opt_g trains" in ran.out
    number = GOOD.splitlines().index("    opt_d.step()") + 1
    assert f"  Seen: train.py:{number}: opt_d.step() (3 times)\n" in ran.out
    blind = GOOD.replace(
        "    fake = netG(noise())", "    with torch.no_grad(): fake = netG(noise())"
    )
    ran = run(blind.replace("    netD.requires_grad_(False)\n", ""))
    assert [(f["code"], f["net"]) for f in ran.json["findings"]] == [("cut-off", "netG")]
    assert "built no graph: gradients were switched off" in ran.out


# What cannot be watched, and what ends otherwise --------------------------------------------------


def test_no_optimizer(run):
    ran = run(HEAD + "print('hello', mlp(2, 2)(noise()).shape)")
    assert ran.status == 2
    assert "built no torch optimizer in this process" in ran.out
    assert ran.json["status"] == 2
    assert "built no torch optimizer" in ran.json["reason"]


def test_no_forward(run):
    ran = run(HEAD + NETS)
    assert ran.status == 2
    assert "no net was run" in ran.out


def test_a_script_that_fails_by_itself(run):
    ran = run(HEAD + NETS + "raise FileNotFoundError('no data here')")
    assert ran.status == 2
    assert "FileNotFoundError: no data here" in ran.err
    assert "The script itself failed (FileNotFoundError)" in ran.out
    ended = run(HEAD + "parser = argparse.ArgumentParser(); parser.parse_args(['--what'])")
    assert ended.status == 2
    assert "The script itself failed (exit status 2)" in ended.out


def test_a_script_that_fails_later(run):
    ran = run(GOOD + "raise OSError('disk full')", options=("--keep-going",))
    assert ran.status == 1
    assert ran.out.count("watched 3 iterations") == 1


def test_fewer_iterations_than_asked_for(run):
    ran = run(GOOD, options=("--iterations", "50"))
    assert ran.status == 0
    assert ran.json["iterations"] == 6


def test_ctrl_c(run):
    """It comes out as what it is, and everything is undone (see ``nothing_is_left``)."""
    with pytest.raises(KeyboardInterrupt):
        run(GOOD + "    if i == 1: raise KeyboardInterrupt\n")


# Ownership ----------------------------------------------------------------------------------------


def test_a_net_that_was_replaced(run):
    ran = run(GOOD.replace("for i in", "netG = mlp(2, 2)\nfor i in"))
    assert ran.status == 1
    note = "netG was replaced or copied after opt_g was built"
    assert note in ran.out
    assert ran.out.index(note) < ran.out.index("iteration 0"), "told before the first step"
    assert ran.codes == {"ownership"}
    assert "no wrong gradient" not in ran.out


MASTERS = """
import torch
net = torch.nn.Linear(2, 1)
class Wrapped:
    def __init__(self, model):
        self.model = [*model.parameters()]
        self.master = [p.detach().clone().requires_grad_() for p in self.model]
        self.opt = torch.optim.SGD(self.master, lr=0.1)
    def step(self):
        for master, p in zip(self.master, self.model):
            master.grad = p.grad.clone()
        self.opt.step()
        with torch.no_grad():
            for master, p in zip(self.master, self.model):
                p.copy_(master)
wrapped = Wrapped(net)
for i in range(5):
    net.zero_grad()
    net(torch.ones(4, 2)).square().mean().backward()
    wrapped.step()
"""


def test_both_nets_were_loaded_after_their_optimizers(run):
    ran = run(GOOD.replace("for i in", "netG, netD = mlp(2, 2), mlp(2, 1)\nfor i in"))
    assert ran.status == 1
    assert ran.codes == {"ownership"}
    assert [note["text"].split()[0] for note in ran.json["notes"]] == ["opt_g", "opt_d"]
    assert "no wrong gradient" not in ran.out
    assert "let its optimizer step before its gradients are" not in " ".join(ran.out.split())


def test_an_optimizer_of_master_copies_is_left_alone(run):
    """It holds none of the net, but what is copied back into it."""
    ran = run(MASTERS)
    assert ran.status == 0
    assert not ran.codes


def test_parameters_in_no_optimizer(run):
    ran = run(GOOD.replace("Adam(netD.parameters())", "Adam(netD[0].parameters())"))
    assert ran.status == 1
    assert ran.codes == {"ownership"}, "the last layer never learns"
    text = "netD: no optimizer holds 2 of its 4 trainable parameters (2.weight, 2.bias)"
    assert [note["text"].startswith(text) for note in ran.json["notes"]] == [True]


def test_an_iterator_that_was_used_up_before_its_optimizer_came(run):
    """Counting went through it; the optimizer was given what was left of it, which is nothing."""
    groups = """first = {*netD[0].parameters()}
rest = filter(lambda p: p not in first, netD.parameters())
print(sum(p.numel() for p in rest), "in the rest")
opt_d = optim.Adam([{"params": rest, "lr": 0.01}, {"params": netD[0].parameters()}])
for i in"""
    ran = run(GOOD.replace("for i in", groups))
    assert ran.status == 1
    assert ran.codes == {"ownership"}
    assert "no wrong gradient" not in ran.out
    assert "A group of opt_d holds nothing." in " ".join(ran.out.split())
    assert run(GOOD.replace("for i in", groups.replace("filter(", "list(filter(").replace(
        "netD.parameters())\nprint", "netD.parameters()))\nprint"))).status == 0  # fmt: skip


def test_parameters_in_two_optimizers_and_twice_in_one(run):
    both = "Adam([*netD.parameters(), *netG[0].parameters()])"
    ran = run(GOOD.replace("Adam(netD.parameters())", both))
    assert "opt_g and opt_d both hold 2 parameters of netG (0.weight, 0.bias)" in ran.out
    twice = GOOD.replace("Adam(netD.parameters())", "Adam([*netD.parameters(), netD[0].bias])")
    ran = run("import warnings; warnings.simplefilter('ignore')\n" + twice)
    assert "opt_d holds 1 parameters of netD twice (0.bias)" in ran.out
    copied = GOOD.replace(
        "opt_g, opt_d =", "both = nn.ModuleDict(dict(one=netD, other=mlp(2, 1)))\nopt_g, opt_d ="
    )
    copied = copied.replace(
        "Adam(netD.parameters())", "Adam([*netD.parameters(), *netD.parameters()])"
    )
    ran = run("import warnings; warnings.simplefilter('ignore')\n" + copied)
    assert "No optimizer holds the 4 trainable parameters of both.other" in ran.out


# Wrapped optimizers, compiled nets, many processes ------------------------------------------------


def test_a_wrapper_gives_its_name(run):
    source = (
        HEAD
        + """
class Wrapped(optim.Optimizer):
    def __init__(self, inner):
        self.inner = inner
    param_groups = property(lambda self: self.inner.param_groups)
    state = property(lambda self: self.inner.state)
    def zero_grad(self, set_to_none=True):
        self.inner.zero_grad()
    def step(self, closure=None):
        self.inner.step(closure)
def prepare(parameters):
    return Wrapped(optim.Adam(parameters))
netG, netD = mlp(2, 2), mlp(2, 1)
opt_g, opt_d = prepare(netG.parameters()), prepare(netD.parameters())
"""
        + "for i in range(6):"
        + STEP
    )
    ran = run(source)
    assert ran.status == 0
    assert ran.json["optimizers"] == {"opt_g": "Adam", "opt_d": "Adam"}


# torch says so of global hooks, and while it traces a module that has hooks of any kind.
@pytest.mark.filterwarnings("ignore:Using `torch.compile", "ignore:The .grad attribute of a Tensor")
def test_compiled_nets_keep_their_names(run):
    ran = run(
        GOOD.replace(
            "mlp(2, 2), mlp(2, 1)",
            "(torch.compile(n, backend='eager') for n in (mlp(2, 2), mlp(2, 1)))",
        )
    )
    assert ran.status == 0, ran.out + ran.err
    assert ran.json["nets"] == {"netG": "OptimizedModule", "netD": "OptimizedModule"}
    assert ran.json["iterations"] == 3


ENGINE_STEP = """
    fake = netG(noise())
    opt_d.zero_grad()
    engine.backward(bce(netD(real()), 1.0) + bce(netD(fake.detach()), 0.0))
    opt_d.step()
    netD.requires_grad_(False)
    opt_g.zero_grad()
    engine.backward(bce(netD(fake), 1.0))
    opt_g.step()
    netD.requires_grad_(True)
"""
FABRIC = """
from lightning_fabric import Fabric
engine = Fabric(accelerator="cpu", devices=1)
netG, opt_g = engine.setup(netG, opt_g)
netD, opt_d = engine.setup(netD, opt_d)
"""
ACCELERATE = """
from accelerate import Accelerator
engine = Accelerator(cpu=True)
netG, netD, opt_g, opt_d = engine.prepare(netG, netD, opt_g, opt_d)
"""
LIGHTNING = (
    HEAD
    + """
import pytorch_lightning as pl
class Gan(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.netG, self.netD = mlp(2, 2), mlp(2, 1)
    def training_step(self, batch, i):
        opt_g, opt_d = self.optimizers()
        fake = self.netG(noise())
        opt_d.zero_grad()
        self.manual_backward(bce(self.netD(batch), 1.0) + bce(self.netD(fake.detach()), 0.0))
        opt_d.step()
        self.toggle_optimizer(opt_g)
        opt_g.zero_grad()
        self.manual_backward(bce(self.netD(fake), 1.0))
        opt_g.step()
        self.untoggle_optimizer(opt_g)
    def configure_optimizers(self):
        return [optim.Adam(net.parameters()) for net in (self.netG, self.netD)], []
quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar",
                       "enable_model_summary"), False)
trainer = pl.Trainer(max_epochs=1, accelerator="cpu", **quiet)
trainer.fit(Gan(), torch.utils.data.DataLoader(torch.randn(48, 2), batch_size=8))
"""
)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "source",
    [
        HEAD + NETS + FABRIC + "for i in range(6):" + ENGINE_STEP,
        HEAD + NETS + ACCELERATE + "for i in range(6):" + ENGINE_STEP,
        LIGHTNING,
    ],
    ids=["Fabric", "accelerate", "Lightning"],
)
def test_engines(run, source):
    """What wraps an optimizer keeps the user's name, and each is seen once."""
    cures = ["self.toggle_optimizer(opt_g)", "self.untoggle_optimizer(opt_g)"]
    cures += ["netD.requires_grad_(False)", "opt_d.zero_grad()"]
    for broken in (False, True):
        for cure in cures if broken else ():
            source = source.replace(cure, "pass")
        ran = run(source)
        assert ran.status == int(broken), ran.out + ran.err
        assert ran.codes == ({"polluted"} if broken else set())
        assert ran.json["optimizers"] == {"opt_g": "Adam", "opt_d": "Adam"}
        assert ran.json["nets"].keys() == {"netG", "netD"}
        assert ran.json["iterations"] == 3


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")
def test_torchrun(tmp_path):
    setup = 'torch.distributed.init_process_group("gloo")\n'
    setup += "from torch.nn.parallel import DistributedDataParallel as DDP\n"
    source = HEAD + setup + NETS.replace("mlp(2, 2), mlp(2, 1)", "DDP(mlp(2, 2)), DDP(mlp(2, 1))")
    (tmp_path / "train.py").write_text(source + "for i in range(6):" + STEP)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = "-m torch.distributed.run --standalone --nproc-per-node 2 -m gan_lessons diagnose"
    done = subprocess.run(
        [sys.executable, *command.split(), "train.py"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("watched 3 iterations of netG") == 1, "rank 0 alone reports"
