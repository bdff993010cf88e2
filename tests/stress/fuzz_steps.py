"""Training steps as source text: usual ones, with lines put in, left out, exchanged and broken."""

from __future__ import annotations

import linecache
import random
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tests.stress.fuzz_nets import first

USUAL: dict[str, str] = {
    "both from one forward": """\
fake = first(G(noise))
d_loss = value(first(D(real))) - value(first(D(fake)))
opt_d.zero_grad()
d_loss.backward(retain_graph=True)
opt_g.zero_grad()
g_loss = -value(first(D(fake)))
g_loss.backward()
opt_g.step()
opt_d.step()""",
    "detach": """\
fake = first(G(noise))
d_loss = value(first(D(real))) + value(first(D(fake.detach())))
opt_d.zero_grad()
d_loss.backward()
opt_d.step()
g_loss = value(first(D(fake)))
opt_g.zero_grad()
g_loss.backward()
opt_g.step()""",
    "frozen": """\
fake = first(G(noise))
D.requires_grad_(False)
opt_g.zero_grad()
g_loss = value(first(D(fake)))
g_loss.backward()
opt_g.step()
D.requires_grad_(True)
opt_d.zero_grad()
d_loss = value(first(D(real))) + value(first(D(fake.detach())))
d_loss.backward()
opt_d.step()""",
    "selective": """\
fake = first(G(noise))
d_loss = value(first(D(real))) - value(first(D(fake)))
g_loss = value(first(D(fake)))
G.zero_grad(); D.zero_grad(set_to_none=False)
d_loss.backward(retain_graph=True, inputs=list(D.parameters()))
g_loss.backward(inputs=list(G.parameters()))
opt_d.step(); opt_g.step()""",
    "penalty": """\
fake = first(G(noise)).detach()
x = (0.5 * real + 0.5 * fake).requires_grad_()
(grad,) = torch.autograd.grad(value(first(D(x))), x, create_graph=True)
d_loss = value(first(D(fake))) - value(first(D(real))) + ((grad.norm(dim=1) - 1) ** 2).mean()
opt_d.zero_grad()
d_loss.backward()
opt_d.step()
fake = first(G(noise))
g_loss = -value(first(D(fake)))
opt_g.zero_grad()
g_loss.backward()
opt_g.step()""",
    "critic steps": """\
fake = first(G(noise))
for _ in range(3):
    opt_d.zero_grad()
    d_loss = value(first(D(real))) - value(first(D(fake.detach())))
    d_loss.backward()
    opt_d.step()
g_loss = value(first(D(fake)))
opt_g.zero_grad()
g_loss.backward()
opt_g.step()""",
    "scaled": """\
scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
fake = first(G(noise))
with torch.autocast("cpu", dtype=torch.bfloat16):
    d_loss = value(first(D(fake.detach())))
opt_d.zero_grad()
scaler.scale(d_loss).backward()
scaler.step(opt_d)
scaler.update()
g_loss = value(first(D(fake)))
g_loss.backward()
opt_g.step()""",
    "closure": """\
fake = first(G(noise))
def closure():
    opt_d.zero_grad()
    d_loss = value(first(D(fake.detach()))) - value(first(D(real)))
    d_loss.backward()
    return d_loss
opt_d.step(closure)
g_loss = value(first(D(fake)))
opt_g.zero_grad()
g_loss.backward()
opt_g.step()""",
}

# A line of its own each; what it names may not be there yet, and that is a fault as any other.
MORE = """\
fake = fake.detach()
fake = fake.clone()
fake.mul_(0.5)
fake.data.mul_(0.5)
fake = first(G(fake))
fake = fake.requires_grad_()
fake.retain_grad()
fake.register_hook(lambda g: 2 * g)
del fake
with torch.no_grad(): fake = first(G(noise))
with torch.inference_mode(): fake = first(G(noise))
with torch.no_grad(): next(D.parameters()).mul_(0.9)
next(G.parameters()).data.mul_(0.9)
d_loss = value(first(D(real)))
d_loss = value(first(D(fake))) * 0
d_loss = d_loss.detach()
d_loss = d_loss + value(fake)
d_loss = first(D(fake))
g_loss = value(first(D(fake))) + d_loss
g_loss = value(fake) + 0.1 * sum(value(p) for p in D.parameters())
g_loss = torch.tensor(1.0)
d_loss.backward()
d_loss.backward(retain_graph=True)
d_loss.backward(create_graph=True)
g_loss.backward(inputs=[*G.parameters()], retain_graph=True)
g_loss.backward(inputs=[fake])
(d_loss + g_loss).backward()
for p in D.parameters(): value(p * p).backward()
for x in real.split(2): value(first(D(x))).backward()
torch.autograd.grad(d_loss, trained(D), allow_unused=True)
torch.autograd.grad(g_loss, trained(G), allow_unused=True, retain_graph=True)
for p in trained(D): p.grad = torch.autograd.grad(value(p * p), p)[0]
opt_d.zero_grad()
opt_g.zero_grad(set_to_none=False)
D.zero_grad()
G.blocks.zero_grad()
opt_d.step()
opt_g.step()
D.requires_grad_(False)
D.requires_grad_(True)
G.last.requires_grad_(False)
G.eval()
D.train()
torch.nn.utils.clip_grad_norm_([p for p in trained(D) if not p.is_complex()], 0.1)
for p in G.parameters(): p.grad = None
for p in D.parameters(): p.grad = None if p.grad is None else p.grad.clone()
for p in trained(D): p.grad = torch.ones_like(p)
for group in opt_d.param_groups: group["lr"] = 0.01
kept = [p.grad for p in D.parameters()]
for p, g in zip(D.parameters(), kept): p.grad = g
D.load_state_dict(D.state_dict())
x = torch.func.functional_call(D, dict(D.named_parameters()), (real,))
x = copy.deepcopy(D)(real)
with torch.autograd.graph.save_on_cpu(): d_loss = value(first(D(fake)))
with torch.autograd.graph.allow_mutation_on_saved_tensors(): d_loss = value(first(D(fake)))
with torch.autograd.set_detect_anomaly(True): d_loss = value(first(D(fake)))
first(D(real[:, :2]))
real = real[:2]
raise Boom("a loop that breaks")
return fake
return None""".splitlines()


class Boom(Exception):
    """A stranger's own error."""


def value(x: Tensor) -> Tensor:
    """One real number of any tensor."""
    return (x.abs() if x.is_complex() else x).float().tanh().mean()


def trained(net: torch.nn.Module) -> list[Tensor]:
    return [p for p in net.parameters() if p.requires_grad]


def random_source(random_: random.Random) -> str:
    """The text of a function ``step(gan, real, noise)``."""
    usual = random_.choice(list(USUAL))
    lines = USUAL[usual].splitlines()
    for _ in range(random_.choice((0, 1, 1, 2, 3, 5))):
        here, how = random_.randrange(len(lines)), random_.random()
        if how < 0.6:
            lines.insert(here, random_line(random_, lines[here]))
        elif how < 0.75 and lines[here][-1] != ":" and len(lines) > 1:
            del lines[here]
        elif how < 0.9:
            lines[here : here + 2] = lines[here : here + 2][::-1]
        else:
            lines.insert(here, lines[here])
    body = ["G, D, opt_g, opt_d, _ = gan.parts", *lines]
    text = f"def step(gan, real, noise):\n    # {usual}\n" + "".join(f"    {x}\n" for x in body)
    try:
        compile(text, "step", "exec")
    except SyntaxError:  # the head of a block went elsewhere
        return random_source(random_)
    return text


def random_line(random_: random.Random, next_: str) -> str:
    """As far to the right as the next one, and now and then caught where it raises."""
    indent, line = next_[: len(next_) - len(next_.lstrip())], random_.choice(MORE)
    if random_.random() < 0.25 and not line.startswith(("return", "for", "with")):
        return f"{indent}try: {line}\n    {indent}except Exception: pass"
    return indent + line


def function_of(text: str, name: str) -> Callable[..., Any]:
    """The function, whose source Python can read as if it came from a file."""
    file = f"<{name}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    names: dict[str, Any] = {"torch": torch, "first": first, "value": value, "trained": trained}
    names |= {"Boom": Boom, "copy": __import__("copy")}
    exec(compile(text, file, "exec"), names)
    found: Callable[..., Any] = names["step"]
    return found
