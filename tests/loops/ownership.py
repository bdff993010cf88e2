"""The optimizers do not hold what the loop needs."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn, optim

from .kit import It, bce, loop, mlp, noise, pair, real, sgd, usual
from .polluted import both_judges
from .right import step


def turns(it: It, i: int) -> None:
    G, D = it.nets.values()
    fake = G(noise(i))
    it.optimizers["d"].zero_grad()
    loss_d = bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0)
    loss_d.backward()
    it.optimizers["d"].step()
    it.optimizers["g"].zero_grad()
    loss_g = bce(D(fake), 1.0)
    loss_g.backward()
    it.optimizers["g"].step()


def when_fixed(it: It, who: str, i: int) -> Tensor | None:
    """Before that the optimizers do not hold the players: there is nothing to compare with."""
    return usual(it, who, i) if it.fixed else None


def held(g: str, d: str) -> object:
    def build(fixed: bool) -> It:
        it = pair(fixed)
        nets = it.nets if fixed else {"G": it.nets[g], "D": it.nets[d]}
        it.optimizers = {"g": sgd(nets["G"]), "d": sgd(nets["D"])}
        return it

    return build


@loop(
    ("ownership", "D"),
    build=held("G", "G"),
    intended=when_fixed,
    says="reaches the parameters of D, which no optimizer holds",
    advice="Make d from the parameters of D",
    source="https://github.com/zhaoyuzhi/deepfillv2/pull/3",
)
def both_optimizers_hold_g(it: It, i: int) -> None:
    turns(it, i)


@loop(
    ("cut-off", "G"),
    build=held("D", "G"),
    intended=when_fixed,
    advice="this is the wrong optimizer: d holds G, and g holds D",
    source="https://github.com/wiseodd/controlled-text-generation/issues/15",
)
def swapped(it: It, i: int) -> None:
    turns(it, i)


def replaced(fixed: bool) -> It:
    it = pair(fixed)
    it.optimizers = {"g": sgd(it.nets["G"] if fixed else mlp(2, 2)), "d": sgd(it.nets["D"])}
    return it


@loop(
    ("ownership", "G"),
    build=replaced,
    intended=None,
    says="g holds none of these nets.* What g does hold has the same shapes",
    advice="Make g from the parameters of G as it is now",
)
def a_net_made_anew_after_its_optimizer(it: It, i: int) -> None:
    turns(it, i)


def both_replaced(fixed: bool) -> It:
    it = pair(fixed)
    built = [*it.nets.values()] if fixed else [mlp(2, 2), mlp(2, 1)]
    it.optimizers = {"g": sgd(built[0]), "d": sgd(built[1])}
    return it


@loop(
    ("ownership", "G"), ("ownership", "D"),
    build=both_replaced,
    intended=when_fixed,
    says="What g does hold has the same shapes: G seems to have been made anew, loaded or copied",
    advice="Make d from the parameters of D as it is now",
    source="https://github.com/jeromerony/Progressive_Growing_of_GANs-PyTorch/issues/6",
)  # fmt: skip
def both_nets_loaded_after_their_optimizers(it: It, i: int) -> None:
    """Neither optimizer finds anything, and none is there that does."""
    turns(it, i)


def one_forgotten(fixed: bool) -> It:
    nets = {"gen": mlp(2, 2), "mrd": mlp(2, 1), "mpd": mlp(2, 1)}
    gen, mrd, mpd = nets.values()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch: a parameter is listed twice
        discs = sgd(mrd, mpd if fixed else mrd)
    return It(fixed=fixed, nets=nets, optimizers={"gen": sgd(gen), "discs": discs})


@loop(
    ("ownership", "mpd"), ("ownership", "mrd"),
    build=one_forgotten,
    intended=lambda it, who, i: both_judges(it, who, i) if it.fixed else None,
    says="no optimizer holds mpd",
    advice="or add them to one",
    source="https://github.com/line/open-universe/issues/5",
)  # fmt: skip
def a_second_judge_in_no_optimizer(it: It, i: int) -> None:
    it.optimizers["discs"].zero_grad()
    it.nets["mpd"].zero_grad()
    both_judges(it, "discs", i).backward()
    it.optimizers["discs"].step()
    it.optimizers["gen"].zero_grad()
    both_judges(it, "gen", i).backward()
    it.optimizers["gen"].step()


class Judges(nn.Module):
    """Two of them in one module, that is never called itself."""

    def __init__(self) -> None:
        super().__init__()
        self.mrd, self.mpd = mlp(2, 1), mlp(2, 1)


def one_listed_again(fixed: bool) -> It:
    """As above; nobody names the second judge, and its name is in the list of no optimizer."""
    judges, gen = Judges(), mlp(2, 2)
    listed = [*judges.mrd.parameters(), *(judges.mpd if fixed else judges.mrd).parameters()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        discs = optim.SGD(listed, lr=0.05)
    nets = {"gen": gen, "mrd": judges.mrd} | ({"mpd": judges.mpd} if fixed else {})
    optimizers = {"gen": sgd(gen), "discs": discs}
    return It(fixed=fixed, nets=nets, optimizers=optimizers, judges=judges)


def listed_again(it: It, who: str, i: int) -> Tensor:
    gen, both = it.nets["gen"], [it.judges.mrd, it.judges.mpd]
    fake = gen(noise(i))
    if who == "gen":
        return bce(both[0](fake), 1.0) + bce(both[1](fake), 1.0)
    losses = [bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0) for D in both]
    return losses[0] + losses[1]


@loop(
    ("ownership", None), ("ownership", "mrd"),
    build=one_listed_again,
    intended=lambda it, who, i: listed_again(it, who, i) if it.fixed else None,
    says="These are mpd.0.bias, mpd.0.weight, mpd.2.bias and 1 more of Judges",
    advice="No optimizer holds mpd.0.bias, .* of Judges: that may have been meant where discs",
    source="https://github.com/line/open-universe/issues/5",
)  # fmt: skip
def a_judge_listed_again_in_place_of_another(it: It, i: int) -> None:
    for who in ("discs", "gen"):
        step(it, who, listed_again(it, who, i))


def sharing_a_block(fixed: bool) -> It:
    block = nn.Linear(8, 8)
    one, two = (nn.Sequential(nn.Linear(2, 8), block, nn.Linear(8, 2)) for _ in range(2))
    D = mlp(2, 1)
    listed = [*one.parameters(), *two.parameters()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        opt = optim.SGD(list(dict.fromkeys(listed)) if fixed else listed, lr=0.05)
    nets = {"one": one, "two": two, "D": D}
    return It(fixed=fixed, nets=nets, optimizers={"g": opt, "d": sgd(D)})


@loop(
    ("ownership", "one"),
    build=sharing_a_block,
    intended=None,
    says="more than once",
    advice="Give it each parameter once",
)
def a_shared_block_listed_twice(it: It, i: int) -> None:
    one, two, D = it.nets.values()
    it.optimizers["d"].zero_grad()
    fakes = torch.cat([one(noise(i)), two(noise(i))])
    (bce(D(real(i)), 1.0) + bce(D(fakes.detach()), 0.0)).backward()
    it.optimizers["d"].step()
    it.optimizers["g"].zero_grad()
    bce(D(fakes), 1.0).backward()
    it.optimizers["g"].step()


def the_same(fixed: bool) -> It:
    G = mlp(2, 2)
    nets = {"G": G, "D": mlp(2, 2) if fixed else G}
    return It(fixed=fixed, nets=nets, optimizers={n: sgd(net) for n, net in nets.items()})


@loop(
    ("ownership", "G"),
    build=the_same,
    intended=when_fixed,
    says="one and the same module",
    advice="Build a module for each",
)
def one_module_under_two_names(it: It, i: int) -> None:
    G, D = it.nets.values()
    it.optimizers["D"].zero_grad()
    d_loss = bce(D(real(i)), 1.0) + bce(D(G(noise(i)).detach()), 0.0)
    d_loss.backward()
    it.optimizers["D"].step()
    it.optimizers["G"].zero_grad()
    g_loss = bce(D(G(noise(i))), 1.0)
    g_loss.backward()
    it.optimizers["G"].step()


@loop(
    ("never-stepped", "D"),
    intended=None,  # what it does is right; what it does not do is the fault
    advice="Call the step of the optimizer of D",
    source="https://github.com/zhaoyuzhi/DeblurGANv2-MobileNetv123-PyTorch/issues/7",
)
def a_step_that_is_missing(it: It, i: int) -> None:
    G, D = it.nets.values()
    it.optimizers["D"].zero_grad()
    d_loss = bce(D(real(i)), 1.0) + bce(D(G(noise(i)).detach()), 0.0)
    d_loss.backward()
    if it.fixed:
        it.optimizers["D"].step()
    it.optimizers["G"].zero_grad()
    bce(D(G(noise(i))), 1.0).backward()
    it.optimizers["G"].step()


def two_optimizers_of_one_judge(fixed: bool) -> It:
    """The second judge is in nobody's hands: its optimizer was copied from the first one's."""
    G, first, second = mlp(2, 2), mlp(2, 1), mlp(2, 1)
    optimizers = {"G": sgd(G), "first": sgd(first), "second": sgd(second if fixed else first)}
    return It(fixed=fixed, nets={"G": G, "first": first}, optimizers=optimizers, second=second)


@loop(
    ("ownership", None),
    build=two_optimizers_of_one_judge,
    intended=None,
    says="second holds first, which first trains, .* reaches 4 other parameters, which no",
    advice="Make second from the parameters of the net that",
)
def an_optimizer_copied_and_not_renamed(it: It, i: int) -> None:
    G, first = it.nets.values()
    it.optimizers["G"].zero_grad()
    fake = G(noise(i))
    (bce(first(fake), 1.0) + bce(it.second(fake), 1.0)).backward(inputs=list(G.parameters()))
    it.optimizers["G"].step()
    for name, judge in (("first", first), ("second", it.second)):
        it.optimizers[name].zero_grad()
        (bce(judge(real(i)), 1.0) + bce(judge(fake.detach()), 0.0)).backward()
        it.optimizers[name].step()


def with_an_unheld_judge(fixed: bool) -> It:
    it = pair(fixed)
    it.second = mlp(2, 1)
    if fixed:
        it.nets["second"] = it.second
        it.optimizers["D"].add_param_group({"params": list(it.second.parameters())})
    return it


@loop(
    ("ownership", None),
    build=with_an_unheld_judge,
    intended=None,
    says="teaches nobody but 4 parameters that no optimizer holds.* and 1 more of Sequential",
    advice="make the optimizer after that",
)
def a_judge_that_was_forgotten(it: It, i: int) -> None:
    """Nobody names it, either; what G learns through it is right."""
    G, D = it.nets["G"], it.nets["D"]
    it.optimizers["D"].zero_grad()
    fake = G(noise(i)).detach()
    losses = [bce(judge(real(i)), 1.0) + bce(judge(fake), 0.0) for judge in (D, it.second)]
    (losses[0] + losses[1]).backward()
    it.optimizers["D"].step()


class InBlocks(nn.Module):
    """A judge of several blocks. ``kept``: what keeps them; a plain list registers nothing."""

    def __init__(self, kept: type = list, learns: bool = True) -> None:
        super().__init__()
        self.stem, self.out = mlp(2, 2), mlp(2, 1)
        self.blocks = kept([mlp(2, 2).requires_grad_(learns) for _ in range(2)])

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.out(x)
        return out


def judged_in_blocks(D: InBlocks, fixed: bool) -> It:
    it = pair(fixed)
    it.nets["D"] = D
    it.optimizers = {"g": sgd(it.nets["G"]), "d": sgd(D)}
    return it


@loop(
    ("ownership", "D"),
    build=lambda fixed: judged_in_blocks(InBlocks(nn.ModuleList if fixed else list), fixed),
    intended=when_fixed,
    says="8 parameters inside D .* for blocks is a plain list",
    advice="Make blocks an nn.ModuleList",
)
def blocks_in_a_plain_list(it: It, i: int) -> None:
    turns(it, i)


@loop(
    build=lambda fixed: judged_in_blocks(InBlocks(list, learns=False), fixed),
    intended=None,
)
def frozen_blocks_in_a_plain_list(it: It, i: int) -> None:
    turns(it, i)


class OnFeatures(nn.Module):
    """Two fixed nets, kept from its parameters in a list, and what learns on top of them."""

    def __init__(self, fixed: bool, loaded: bool = True) -> None:
        super().__init__()
        self.kept = [mlp(2, 2).requires_grad_(not fixed).train(loaded) for _ in range(2)]
        for net in self.kept if loaded else ():
            net.load_state_dict(mlp(2, 2).state_dict())
        self.out = mlp(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(torch.cat([net(x) for net in self.kept], 1))
        return out


def judged_on_features(fixed: bool) -> It:
    it = pair(fixed)
    it.nets["D"] = OnFeatures(fixed)
    it.optimizers = {"g": sgd(it.nets["G"]), "d": sgd(it.nets["D"])}
    return it


@loop(waste="ownership", build=judged_on_features, advice="of a fixed net, freeze it")
def fixed_nets_in_a_list_that_nobody_froze(it: It, i: int) -> None:
    """At the bottom of a net they may be there to stand still."""
    turns(it, i)


def judged_on_features_in_eval_mode(fixed: bool) -> It:
    it = judged_on_features(fixed)
    it.nets["D"] = OnFeatures(fixed, loaded=False)
    it.optimizers["d"] = sgd(it.nets["D"])
    return it


@loop(waste="ownership", build=judged_on_features_in_eval_mode, advice="of a fixed net, freeze it")
def fixed_nets_in_a_list_and_in_eval_mode(it: It, i: int) -> None:
    turns(it, i)


class Curious(nn.Module):
    """It learns to say what random nets say of the same: what it cannot say is new."""

    def __init__(self, fixed: bool) -> None:
        super().__init__()
        self.targets = [mlp(2, 2).requires_grad_(not fixed) for _ in range(2)]
        self.guess = mlp(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.guess(x) - target(x) for target in self.targets]).square().mean()


def with_random_targets(fixed: bool) -> It:
    nets = {"curious": Curious(fixed)}
    return It(fixed=fixed, nets=nets, optimizers={"curious": sgd(nets["curious"])})


@loop(waste="ownership", build=with_random_targets, intended=None, advice="of a fixed net, freeze")
def random_targets_in_a_list_that_nobody_froze(it: It, i: int) -> None:
    """They are as they were made, and nothing that learns stands above them."""
    step(it, "curious", it.nets["curious"](real(i)))


class InScales(nn.Module):
    """A judge on several scales, one head for all of them, without a bias."""

    def __init__(self, kept: type = list) -> None:
        super().__init__()
        self.scales = kept([mlp(2, 4) for _ in range(2)])
        self.head = nn.Linear(4, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        said = [self.head(net(x * 2**k)) for k, net in enumerate(self.scales)]
        return torch.stack(said).mean(0)


def judged_in_scales(fixed: bool) -> It:
    it = pair(fixed)
    it.nets["D"] = InScales(nn.ModuleList if fixed else list)
    it.optimizers = {"g": sgd(it.nets["G"]), "d": sgd(it.nets["D"])}
    return it


@loop(
    ("ownership", "D"),
    build=judged_in_scales,
    intended=when_fixed,
    says="8 parameters inside D .* for scales is a plain list",
    advice="Make scales an nn.ModuleList .* If they are to stand still, freeze them",
    source="https://github.com/ikostrikov/pytorch-meta-optimizer/issues/11",
)
def scales_in_a_plain_list_under_one_head(it: It, i: int) -> None:
    turns(it, i)


class InHeads(nn.Module):
    """A stem that is registered, and heads above it that a list keeps."""

    def __init__(self, kept: type = list) -> None:
        super().__init__()
        self.stem = mlp(2, 4)
        self.heads = kept([mlp(4, 1) for _ in range(2)])

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return torch.stack([head(x) for head in self.heads]).mean(0)


def judged_by_heads(fixed: bool) -> It:
    it = pair(fixed)
    it.nets["D"] = InHeads(nn.ModuleList if fixed else list)
    it.optimizers = {"g": sgd(it.nets["G"]), "d": sgd(it.nets["D"])}
    return it


@loop(
    ("ownership", "D"),
    build=judged_by_heads,
    intended=when_fixed,
    says="8 parameters inside D .* for heads is a plain list",
    advice="Make heads an nn.ModuleList",
    source="https://github.com/pytorch/pytorch/issues/715",
)
def heads_in_a_plain_list_above_a_stem(it: It, i: int) -> None:
    turns(it, i)


def with_a_fixed_net(fixed: bool) -> It:
    it = pair(fixed)
    it.second = mlp(2, 1).requires_grad_(not fixed)
    return it


@loop(
    waste="ownership",
    build=with_a_fixed_net,
    intended=None,
    says="computes gradients for 4 parameters that no optimizer holds",
    advice="of a fixed net, freeze it",
)
def features_of_a_fixed_net_that_nobody_froze(it: It, i: int) -> None:
    G, D = it.nets["G"], it.nets["D"]
    it.optimizers["G"].zero_grad()
    fake = G(noise(i))
    distance = (it.second(fake) - it.second(real(i))).square().mean()
    (bce(D(fake), 1.0) + distance).backward()
    it.optimizers["G"].step()


class Bands(nn.Module):
    """Judges the whole and each number, by nets in a list."""

    def __init__(self, registered: bool) -> None:
        super().__init__()
        self.whole, bands = mlp(2, 1), [mlp(1, 1) for _ in range(2)]
        self.bands = nn.ModuleList(bands) if registered else bands

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.whole(x), *(band(x[:, [i]]) for i, band in enumerate(self.bands))]


def with_bands(fixed: bool) -> It:
    nets: dict[str, nn.Module] = {"G": mlp(2, 2), "D": Bands(fixed)}
    return It(fixed=fixed, nets=nets, optimizers={name: sgd(net) for name, net in nets.items()})


def with_loaded_bands(fixed: bool) -> It:
    it = with_bands(fixed)
    for band in it.nets["D"].bands:
        band.load_state_dict({key: 2 * value for key, value in band.state_dict().items()})
    return it


def by_bands(it: It, who: str, i: int) -> Tensor:
    G, D = it.nets.values()
    fake = G(noise(i))
    if who == "G":
        return sum((bce(said, 1.0) for said in D(fake)), torch.zeros(()))
    told = zip(D(real(i)), D(fake.detach()), strict=True)
    return sum((bce(a, 1.0) + bce(b, 0.0) for a, b in told), torch.zeros(()))


@loop(
    ("ownership", "D"),
    build=with_bands,
    intended=None,
    says="8 parameters inside D that are not among its parameters, for bands is a plain list",
    advice="Make bands an nn.ModuleList",
)
def judges_of_bands_in_a_plain_list(it: It, i: int) -> None:
    """In D's turn their terms are for them alone."""
    for who in ("D", "G"):
        step(it, who, by_bands(it, who, i))


@loop(waste="ownership", build=with_loaded_bands, intended=None, advice="to learn, register them")
def judges_of_bands_in_a_plain_list_that_were_loaded(it: It, i: int) -> None:
    """They may be meant to stand still, and their terms in D's turn to be looked at."""
    for who in ("D", "G"):
        step(it, who, by_bands(it, who, i))


def with_fixed_bands(fixed: bool) -> It:
    it = with_loaded_bands(fixed)
    for band in it.nets["D"].bands:
        band.requires_grad_(False)
    return it


@loop(build=with_fixed_bands, intended=by_bands)
def judges_of_bands_that_stand_still(it: It, i: int) -> None:
    """Their terms in D's own turn are numbers; D learns from its other terms on the same fakes."""
    for who in ("D", "G"):
        step(it, who, by_bands(it, who, i))
