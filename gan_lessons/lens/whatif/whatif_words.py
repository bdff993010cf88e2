"""What a learner reads about a step with one thing changed: the one file to translate for it.

A name in braces is filled in; ``code`` is a piece of the step's own source.
"""

# switch -> title. For "retain" it says which way.
TITLE = {
    "no_detach": "Leave out `.detach()`",
    "no_zero_grad_d": "Leave out `{code}`",
    "no_zero_grad_g": "Leave out `{code}`",
    "retain": "Switch `retain_graph` {way}",
    "freeze_d": "Freeze D while G learns",
    "step_first": "`{code}` before the backward",
}
ON, OFF = "on", "off"

ERROR = "Line {line}, `{code}`, raises. {why}"
ERROR_ELSEWHERE = "It raises. {why}"
WRONG = {
    "none": "No error, but {net} gets no gradient: its optimizer has nothing to step on.",
    "not finite": "No error, but {net} steps on a gradient that is not finite.",
    "from nothing": "No error, but {net} steps on a gradient where there should be none.",
    "zero": "No error, but {net} steps on a gradient of zeros.",
    "wrong": (
        "No error, but {net} steps on a wrong gradient: cosine {cosine} to the right one, "
        "{ratio} times its length."
    ),
    "no step": "No error, but {net}'s optimizer steps another number of times.",
}
TOO = {
    "none": "{net} gets none either.",
    "wrong": "{net}'s differs too: cosine {cosine}, {ratio} times the length.",
    "other": "{net}'s is wrong too.",
}
LATER = "It shows only when the step runs once more."
RIGHT = "Both players step on the same gradients as before."
VAIN = {
    1: "{n} parameter gradients more are computed in vain.",
    -1: "{n} parameter gradients fewer are computed in vain.",
}
THROWN_AWAY = (
    "{n} parameter gradients fewer are written in vain, but backward walks as many nodes as before."
)
BYTES = {
    1: "The graph holds {n} bytes more at its peak.",
    -1: "The graph holds {n} bytes fewer at its peak.",
}
AT_END = "When the step returns, the graph still holds {n} bytes that were free before."
WORK = {
    1: "Backward walks {n} graph nodes more.",
    -1: "Backward walks {n} graph nodes fewer.",
}
NO_DIFFERENCE = "It costs the same, too."

# What is asked for and cannot be done.
UNKNOWN = "there is no switch {key!r}; the switches are {all}"
NOT_HERE = "switch {key!r} does not apply to {name}; these do: {these}"
NO_SOURCE = (
    "none of the switches applies to {name}: its source cannot be read, is no plain function, or "
    "is no longer what runs. Define it with `def` in a file or a notebook cell, and run that again."
)
NONE = "none"
RAISES = (
    "{name} raises as it stands ({error}); a what-if needs a step that runs. "
    "Look at it with record_step() first."
)
NOT_ITS_GAN = (
    "{name} uses nets or optimizers of this GAN by the name {names}, so it cannot run on a copy; "
    "let it take them from its argument: G, D, opt_g, opt_d, loss = gan.parts"
)
NO_STEPS = "{name} moved neither player of the GAN that it was given; there is nothing to compare"
