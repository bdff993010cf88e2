"""``watch``, ``watched``, ``assert_sound`` and the Lightning callback: no net is named anywhere."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import nn, optim

from gan_lessons import assert_sound, diagnose, record, tiny_gan, watch, watched
from gan_lessons.lens.watch.finding_players import find_players
from gan_lessons.lens.watch.ownership import REPLACED
from gan_lessons.lens.watch.script_watcher import ScriptWatcher
from gan_lessons.lens.watch.variables import Variable, unique
from gan_lessons.steps import step_detach


def mlp(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n_in, 8), nn.ReLU(), nn.Linear(8, n_out))


def bce(logits: torch.Tensor, target: float) -> torch.Tensor:
    wanted = torch.full_like(logits, target)
    return nn.functional.binary_cross_entropy_with_logits(logits, wanted)


@dataclass
class Agent:
    """An actor whose entropy has a weight of its own, in no module (as in SAC)."""

    def __post_init__(self) -> None:
        self.actor = mlp(2, 1)
        self.log_alpha = torch.zeros(1, requires_grad=True)
        self.actor_opt = optim.SGD(self.actor.parameters(), 0.1)
        self.alpha_opt = optim.SGD([self.log_alpha], 0.1)

    def step(self, state: torch.Tensor, clear: bool) -> None:
        said = self.actor(state)
        self.actor_opt.zero_grad()
        (self.log_alpha.exp() * said - said.tanh()).mean().backward()
        self.actor_opt.step()
        if clear:
            self.alpha_opt.zero_grad()
        (self.log_alpha * (said.detach() + 1)).mean().backward()
        self.alpha_opt.step()
        self.alpha_opt.zero_grad()


@dataclass
class Trainer:
    """A loop of a stranger: nets are attributes, and ``clear=False`` is a bug."""

    clear: bool = True

    def __post_init__(self) -> None:
        self.netG, self.netD = mlp(2, 2), mlp(2, 1)
        self.optG = optim.SGD(self.netG.parameters(), 0.1)
        self.optD = optim.SGD(self.netD.parameters(), 0.1)

    def step(self, real: torch.Tensor) -> None:
        fake = self.netG(torch.randn(len(real), 2))
        if self.clear:
            self.optD.zero_grad()
        (bce(self.netD(real), 1.0) + bce(self.netD(fake.detach()), 0.0)).backward()
        self.optD.step()
        self.optG.zero_grad()
        bce(self.netD(fake), 1.0).backward()
        self.optG.step()

    def hooks(self) -> int:
        modules = [*self.netG.modules(), *self.netD.modules()]
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules)


BATCHES = [torch.randn(4, 2) for _ in range(8)]


# watch --------------------------------------------------------------------------------------------


def test_watch_names_what_variables_hold():
    netG, netD = mlp(2, 2), mlp(2, 1)
    opt_g, opt_d = optim.Adam(netG.parameters()), optim.Adam(netD.parameters())
    with watch() as rec:
        netD(netG(torch.randn(4, 2))).mean().backward()
        opt_g.step()
    assert list(rec.parameters) == ["netG", "netD"]
    assert rec.holds == {
        "opt_g": {"netG": tuple(n for n, _ in netG.named_parameters())},
        "opt_d": {"netD": tuple(n for n, _ in netD.named_parameters())},
    }
    assert rec.complete
    assert [e.target for e in rec.events if e.kind == "step"] == ["opt_g"]
    del opt_d


def test_a_parameter_in_no_module_is_a_player():
    for clear in (True, False):
        agent = Agent()
        with watch() as rec:
            for batch in BATCHES[:2]:
                agent.step(batch, clear)
        assert list(rec.parameters) == ["actor", "log_alpha"]
        assert rec.lone == ("log_alpha",)
        assert rec.holds["alpha_opt"] == {"log_alpha": ("log_alpha",)}
        grave = [(f.code, f.net) for f in diagnose(rec).findings if f.severity == "wrong"]
        assert grave == ([] if clear else [("polluted", "log_alpha")])
        assert re.search(r"^log_alpha\n +log_alpha +.*● ", str(rec), re.M)


def test_lone_parameters_go_by_what_holds_them():
    netG, w1, b1 = mlp(2, 2), torch.zeros(2, requires_grad=True), torch.zeros(2, requires_grad=True)
    codes = [torch.zeros(2, requires_grad=True) for _ in range(3)]
    opt_g = optim.SGD([*netG.parameters(), w1, b1], 0.1)
    opt_z, opt_t = optim.SGD(codes, 0.1), optim.SGD([torch.zeros(2, requires_grad=True)], 0.1)
    held = w1, b1, codes, opt_g, opt_z, opt_t
    with watch() as rec:
        (netG(codes[0] + codes[2]) * w1 + b1).sum().backward(inputs=[*codes, w1])
        opt_z.step()
    assert {*rec.parameters} == {"netG", "w1 + b1", "codes", "tensors of opt_t"}
    assert rec.holds["opt_z"] == {"codes": ("codes[0]", "codes[1]", "codes[2]")}
    assert {*rec.holds["opt_g"]} == {"netG", "w1 + b1"}
    assert all(not p._post_accumulate_grad_hooks for p in (w1, b1, *codes))
    del held


class Whole(nn.Module):
    """An agent as one module: players beside each other, and a weight that belongs to none."""

    def __init__(self) -> None:
        super().__init__()
        self.actor, self.q1, self.q2 = mlp(2, 1), mlp(3, 1), mlp(3, 1)
        self.log_alpha = nn.Parameter(torch.zeros(()))

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.actor(state)
        return out


def test_the_players_in_one_module_are_told_apart_beside_a_weight_of_its_own():
    agent = Whole()
    critic_opt = optim.SGD([*agent.q1.parameters(), *agent.q2.parameters()], 0.1)
    actor_opt = optim.SGD(agent.actor.parameters(), 0.1)
    alpha_opt = optim.SGD([agent.log_alpha], 0.1)
    with watch() as rec:
        for optimizer in (critic_opt, actor_opt, alpha_opt):
            optimizer.zero_grad()
    assert {name: sorted(held) for name, held in rec.holds.items()} == {
        "critic_opt": ["q1", "q2"],
        "actor_opt": ["actor"],
        "alpha_opt": ["log_alpha"],
    }


def test_a_net_with_a_weight_of_its_own_stays_one_net():
    agent = Whole()
    rest = [p for name, p in agent.named_parameters() if name != "log_alpha"]
    opt, weight_opt = optim.SGD(rest, 0.1), optim.SGD([agent.log_alpha], 0.1)
    with watch() as rec:
        opt.zero_grad()
        weight_opt.zero_grad()
    assert [*rec.parameters] == ["agent"]


def test_an_optimizer_of_one_number_is_not_taken_for_one_of_a_net_that_was_replaced():
    net, slope = mlp(2, 1), nn.PReLU()
    log_alpha = torch.zeros(1, requires_grad=True)
    opts = [optim.SGD(net.parameters(), 0.1), optim.SGD([log_alpha], 0.1)]
    with warnings.catch_warnings(), watch() as rec:
        warnings.simplefilter("error")
        (slope(net(BATCHES[0])).mean() * log_alpha.exp()).backward()
    assert "log_alpha" in rec.parameters
    del opts


def test_record_takes_a_tensor_that_is_learned():
    z = torch.zeros(2, requires_grad=True)
    with record({"z": z}, {"z": optim.SGD([z], 0.1)}) as rec:
        (z.exp() - 1).square().sum().backward()
    assert rec.backward_calls[0].received == {"z": ("z",)}
    with (
        pytest.raises(ValueError, match=r"z was computed .*expected a tensor that an optimizer"),
        record({"z": z * 2}),
    ):
        pass


@pytest.mark.parametrize("after", [0, 3])
def test_where_the_next_round_begins_with_players_of_its_own_the_recording_ends(after: int):
    """A cross-validation, say: nothing was made anew behind an optimizer's back, and who played
    before does not play on."""

    def one_round() -> None:
        G, D = mlp(2, 2), mlp(2, 1)
        opts = optim.SGD(G.parameters(), 0.1), optim.SGD(D.parameters(), 0.1)
        vars(opts[0])["round"] = {"opts": opts}  # a cycle: they live on
        for batch in BATCHES[:2]:
            for net, opt, loss in zip((G, D), opts, (D(G(batch)), D(batch)), strict=True):
                opt.zero_grad()
                loss.mean().backward(inputs=[*net.parameters()])
            for opt in opts:
                opt.step()

    told = list[Any]()
    with ScriptWatcher(3, after, print, lambda report, more: told.append(report)):
        for _ in range(3):
            one_round()
    (report,) = told
    assert (report.iterations, report.seen) == (2 if after == 0 else 1, True)
    assert [*report.players.nets] == ["G", "D"]
    assert not {"ownership", "exception"} & {*report.diagnosis.codes}


def test_players_that_go_by_the_same_words_are_numbered():
    words = "optimizer of no net"
    named = unique([Variable(words, words, i) for i in range(3)])
    assert named == {words: 0, f"{words} 2": 1, f"{words} 3": 2}


@pytest.mark.parametrize("rebuilt", [False, True])
def test_a_net_that_another_optimizer_trains_was_not_replaced(rebuilt: bool):
    D = mlp(2, 1)
    stale = optim.SGD(mlp(2, 1).parameters(), 0.1)  # of an earlier round, or of a D that is gone
    opt = optim.SGD((D if rebuilt else mlp(2, 2)).parameters(), 0.1)
    notes = find_players({stale: "", opt: ""}).notes
    assert [note.text for note in notes if "just the shapes" in note.text][:1] == (
        [] if rebuilt else [REPLACED.format(net="D", optimizer="stale")]
    )


def test_a_script_that_trains_no_module_is_watched():
    G, z = mlp(2, 2).requires_grad_(False), torch.zeros(4, 2, requires_grad=True)
    told = list[Any]()
    with ScriptWatcher(1, 0, print, lambda report, more: told.append(report)):
        opt_z = optim.SGD([z], 0.1)
        for _ in range(4):
            opt_z.zero_grad()
            G(z).square().mean().backward()
            opt_z.step()
    assert list(told[0].players.nets) == ["z"]
    assert told[0].seen
    assert told[0].status == 0
    assert told[0].iterations == 1


def test_watch_looks_into_objects():
    trainer = Trainer()
    with watch() as rec:
        trainer.step(BATCHES[0])
    assert list(rec.parameters) == ["netG", "netD"]
    assert list(rec.holds) == ["optG", "optD"]
    assert trainer.hooks() == 0


def test_two_holders_of_one_name_go_by_their_paths():
    one, two = Trainer(), Trainer()
    with watch() as rec:
        one.step(BATCHES[0])
        two.step(BATCHES[0])
    assert list(rec.parameters) == ["one.netG", "one.netD", "two.netG", "two.netD"]


def test_watch_takes_names_too():
    trainer = Trainer()
    nets = {"G": trainer.netG, "D": trainer.netD}
    with watch(nets) as rec:
        trainer.step(BATCHES[0])
    assert list(rec.parameters) == ["G", "D"]
    assert list(rec.holds) == ["optG", "optD"]
    with watch(nets, {"opt": trainer.optG}) as rec:
        pass
    assert list(rec.holds) == ["opt"]


def test_watch_tells_of_ownership_before_the_block_runs():
    net = mlp(2, 1)
    optimizer = optim.SGD(net[0].parameters(), 0.1)
    context, told = watch(), r"net: no optimizer holds 2 of its 4 trainable parameters"
    with pytest.warns(UserWarning, match=told):
        context.__enter__()
    context.__exit__(None, None, None)
    del optimizer


def test_nobody_to_watch():
    with pytest.raises(ValueError, match=r"watch\(\) found no optimizer"), watch():
        pass
    with pytest.raises(ValueError, match=r"watched\(\) found no optimizer"):
        list(watched(BATCHES))
    with pytest.raises(TypeError, match="expected a dict of names"), watch([mlp(2, 2)]):  # type: ignore[arg-type]
        pass


# watched ------------------------------------------------------------------------------------------


def test_watched_reports_when_the_iterations_are_over():
    trainer, told, before = Trainer(clear=False), list[str](), list[int]()
    loader = watched(BATCHES, iterations=2, tell=told.append)
    seen = []
    for batch in loader:
        seen.append(batch)
        before.append(len(told))
        trainer.step(batch)
        assert (trainer.hooks() > 0) == (len(seen) <= 2)
    assert all(a is b for a, b in zip(seen, BATCHES, strict=True))
    assert before == [0, 0, 1, 1, 1, 1, 1, 1]
    assert "watched 2 iterations of netG (4 parameters, optG), netD" in told[0]
    assert "polluted (netD)" in told[0]
    assert loader.record is not None
    assert loader.record.complete
    assert len(loader) == 8


def test_a_loop_per_epoch_is_reported_once():
    trainer, told = Trainer(), list[str]()

    def epoch() -> None:
        for batch in watched(BATCHES[:3], tell=told.append):
            trainer.step(batch)

    for _ in range(3):
        epoch()
    assert len(told) == 1
    trainer = Trainer()  # other nets: another loop
    epoch()
    assert len(told) == 2


@pytest.mark.parametrize("folder", ["site-packages", "dist-packages"])
def test_each_loop_behind_the_bar_of_a_library_is_reported(folder):
    """In Debian and in Colab libraries are in dist-packages: theirs is nobody's loop there too."""
    bar = f"/usr/lib/python3/{folder}/bar/__init__.py"
    library: dict[str, Any] = {}
    exec(compile("def bar(loader):\n    yield from loader\n", bar, "exec"), library)
    told: list[str] = []
    trainer = Trainer()
    for batch in library["bar"](watched(BATCHES, iterations=2, tell=told.append)):
        trainer.step(batch)
    for batch in library["bar"](watched(BATCHES, iterations=2, tell=told.append)):
        trainer.step(batch)
    assert len(told) == 2


def test_a_cell_that_is_run_again_is_watched_again():
    trainer, told = Trainer(), list[str]()
    cell = "for batch in watched(batches, tell=told.append):\n    trainer.step(batch)\n"
    names = {"watched": watched, "batches": BATCHES, "told": told, "trainer": trainer}
    for _ in range(2):
        exec(compile(cell, "<cell>", "exec"), dict(names))
    assert len(told) == 2


def test_every_reports_what_is_new():
    trainer, told = Trainer(), list[str]()
    for i, batch in enumerate(watched(BATCHES, iterations=2, every=4, tell=told.append)):
        trainer.clear = i < 4
        trainer.step(batch)
    assert len(told) == 2
    assert "polluted" not in told[0]
    assert "polluted" in told[1]
    assert "in-vain" in told[0]
    assert "in-vain" not in told[1], "that was known"


def test_leaving_early_reports_what_was_seen():
    trainer, told = Trainer(), list[str]()
    for batch in watched(BATCHES, iterations=5, tell=told.append):
        trainer.step(batch)
        break
    assert "watched 1 iteration of" in told[0]
    assert trainer.hooks() == 0
    assert "error" not in told[0]


def test_an_exception_in_the_loop_undoes_everything():
    trainer, told = Trainer(), list[str]()

    def loop() -> None:
        for batch in watched(BATCHES, tell=told.append):
            trainer.step(batch)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop()
    assert trainer.hooks() == 0
    assert torch.overrides._len_torch_function_stack() == 0
    assert len(told) == 1


def test_an_error_of_the_graph_is_explained():
    trainer, told = Trainer(), list[str]()

    def loop() -> None:
        for batch in watched(BATCHES, tell=told.append):
            fake = trainer.netG(batch)
            bce(trainer.netD(fake), 0.0).backward()
            bce(trainer.netD(fake), 1.0).backward()

    with pytest.raises(RuntimeError, match="second time"):
        loop()
    assert "second-backward" in told[0]


def test_bad_input_is_refused():
    with pytest.raises(TypeError, match="something to iterate over"):
        watched(3)  # type: ignore[arg-type]
    for numbers in ({"iterations": 0}, {"iterations": 3, "every": 2}):
        with pytest.raises(ValueError, match="expected iterations of at least 1"):
            watched(BATCHES, **numbers)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="has no len"):
        len(watched(iter(BATCHES)))


# assert_sound -------------------------------------------------------------------------------------


def test_assert_sound():
    trainer = Trainer()
    with watch() as rec:
        trainer.step(BATCHES[0])
        trainer.step(BATCHES[1])
    assert_sound(rec)
    trainer.clear = False
    with watch() as rec:
        trainer.step(BATCHES[0])
        trainer.step(BATCHES[1])
    with pytest.raises(AssertionError) as raised:
        assert_sound(rec)
    assert str(raised.value) == str(diagnose(rec))
    with pytest.raises(TypeError, match="expected a Record"):
        assert_sound(trainer)  # type: ignore[arg-type]


def test_the_packages_own_nets_are_found():
    gan = tiny_gan()
    with watch() as found:
        step_detach(gan, torch.randn(4, 2), torch.randn(4, 2))
    assert list(found.parameters) == ["generator", "discriminator"]
    with record(gan.nets, gan.optimizers) as named:
        step_detach(gan, torch.randn(4, 2), torch.randn(4, 2))
    assert [e.kind for e in found.events] == [e.kind for e in named.events]


# Lightning ----------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
def test_lightning_callback():
    pl: Any = import_module("pytorch_lightning")
    from gan_lessons.lens.watch import lightning_callback

    class Gan(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False
            self.generator, self.discriminator = mlp(2, 2), mlp(2, 1)

        def training_step(self, batch: torch.Tensor, index: int) -> None:
            opt_g, opt_d = self.optimizers()
            self.manual_backward(bce(self.discriminator(self.generator(batch)), 1.0))
            opt_g.step()
            opt_g.zero_grad()
            fake = self.generator(batch).detach()
            self.manual_backward(
                bce(self.discriminator(batch), 1.0) + bce(self.discriminator(fake), 0.0)
            )
            opt_d.step()
            opt_d.zero_grad()

        def configure_optimizers(self) -> list[optim.Optimizer]:
            return [optim.SGD(n.parameters(), 0.1) for n in (self.generator, self.discriminator)]

    told = list[str]()
    callback = lightning_callback(tell=told.append)
    quiet: dict[str, Any] = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    trainer = pl.Trainer(max_epochs=1, accelerator="cpu", callbacks=[callback], **quiet)
    points: Any = torch.randn(32, 2)
    trainer.fit(Gan(), torch.utils.data.DataLoader(points, 8))
    assert len(told) == 1
    assert "watched 2 iterations of generator (4 parameters" in told[0]
    assert "polluted (discriminator)" in told[0]
    assert callback.record.complete


def test_an_interrupt_at_the_end_of_the_record_comes_out_as_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It lands before the record is complete: there is nothing to report yet."""
    recordings, told = [], list[str]()

    class Interrupted:
        def __init__(self, *given: Any) -> None:
            recordings.append(record(*given))

        def __enter__(self) -> Any:
            return recordings[-1].__enter__()

        def __exit__(self, *_: object) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr("gan_lessons.lens.watch.watching.record", Interrupted)
    gan = tiny_gan()

    def loop(gan: Any) -> None:
        for _ in watched([1], iterations=1, tell=told.append):
            step_detach(gan, torch.ones(4, 2), torch.ones(4, 2))

    try:
        with pytest.raises(KeyboardInterrupt):
            loop(gan)
    finally:
        recordings[0].__exit__(None, None, None)
    assert told == []


@dataclass
class Helped(Trainer):
    """One method serves both nets: what they are called there is no name."""

    def update(self, net: nn.Module, opt: optim.Optimizer, loss: torch.Tensor) -> None:
        opt.zero_grad()
        loss.backward(inputs=list(net.parameters()))
        opt.step()

    def watched_update(self) -> list[str]:
        return self._names(self.netD, self.optD)

    def _names(self, net: nn.Module, opt: optim.Optimizer) -> list[str]:
        with watch() as rec:
            self.update(net, opt, net(torch.ones(2, 2)).mean())
        return [*rec.parameters, *rec.holds]


def test_a_net_has_the_name_of_its_attribute_and_not_that_of_a_helper_s_argument():
    assert Helped().watched_update() == ["netG", "netD", "optG", "optD"]


def test_what_is_no_module_may_have_something_else_under_torchs_names():
    """skorch's nets and d3rlpy's have `_modules`, and no dict."""

    class Holder:
        def __init__(self) -> None:
            self._modules = ["module_"]
            self.module_ = mlp(2, 2)
            self.optimizer_ = optim.SGD(self.module_.parameters(), 0.1)

        def fit(self) -> list[str]:
            with watch() as rec:
                self.module_(torch.randn(4, 2)).sum().backward()
                self.optimizer_.step()
            return [*rec.parameters]

    named = Holder().fit()
    assert named == ["module_"]


def test_a_net_is_not_called_self():
    """In a method of its own it is `self`, as everything there is: its class says more."""

    class Regression(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.weight

        def fit(self) -> list[str]:
            optimizer = optim.SGD(self.parameters(), 0.1)
            with watch() as rec:
                self(torch.randn(4, 2)).sum().backward()
                optimizer.step()
            return [*rec.parameters]

    named = Regression().fit()
    assert named == ["Regression"]
