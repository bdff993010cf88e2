"""The nets and optimizers that the loops of ``wild.loops`` train: small, and always the same."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn, optim

from gan_lessons.put_back import seeded


@dataclass(frozen=True)
class Cast:
    """The nets of a loop and its optimizers, by name, as ``record`` takes them.

    The optimizers are called G and D, after their player, which may have more nets than one.
    """

    nets: dict[str, nn.Module]
    optimizers: dict[str, optim.Optimizer]


def pair(sees: int = 2) -> Cast:
    """G with BatchNorm, and a D that gives logits for what has ``sees`` values."""
    with seeded(0):
        G, D = _net(2, 2, norm=True), _net(sees, 1)
    return Cast({"G": G, "D": D}, {"G": _adam(G), "D": _adam(D)})


def with_judges() -> Cast:
    """One G, and two judges that share an optimizer."""
    with seeded(0):
        G, mpd, msd = _net(2, 2, norm=True), _net(2, 1), _net(2, 1)
    return Cast({"G": G, "mpd": mpd, "msd": msd}, {"G": _adam(G), "D": _adam(mpd, msd)})


def two_ways() -> Cast:
    """Two generators and two judges, two optimizers."""
    with seeded(0):
        nets: dict[str, nn.Module] = {
            "G_A": _net(2, 2),
            "G_B": _net(2, 2),
            "D_A": _net(2, 1),
            "D_B": _net(2, 1),
        }
    G, D = _adam(nets["G_A"], nets["G_B"]), _adam(nets["D_A"], nets["D_B"])
    return Cast(nets, {"G": G, "D": D})


def with_features() -> Cast:
    """A third net, whose features are compared and which nobody means to train."""
    with seeded(0):
        G, D, vgg = _net(2, 2, norm=True), _net(2, 1), _net(2, 8)
    return Cast({"G": G, "D": D, "VGG": vgg.eval()}, {"G": _adam(G), "D": _adam(D)})


def _net(n_in: int, n_out: int, *, norm: bool = False) -> nn.Sequential:
    middle = [nn.BatchNorm1d(16)] if norm else []
    return nn.Sequential(nn.Linear(n_in, 16), *middle, nn.LeakyReLU(0.2), nn.Linear(16, n_out))


def _adam(*nets: nn.Module) -> optim.Optimizer:
    return optim.Adam([p for one in nets for p in one.parameters()], lr=2e-3, betas=(0.5, 0.999))
