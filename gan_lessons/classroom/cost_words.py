"""Every text of the cost lab, and what stands on its controls. A name in braces is filled in."""

UI = {
    "title": "What a step costs, for nets of any size",
    "width_g": "Width of G's layers",
    "width_d": "Width of D's layers",
    "bars": "FLOPs of one step",
    "g_forward": "G forward",
    "g_backward": "G backward",
    "d_forward": "D forward",
    "d_backward": "D backward",
    "symbols": {
        "g_forward": "G →",
        "g_backward": "G ←",
        "d_forward": "D →",
        "d_backward": "D ←",
    },
    "number": "{flops} · {ratio} ×",
    "best": "G {g} wide, D {d} wide: {best} needs the fewest FLOPs. (×: compared with "
    "{reference}.)",
    "bestTied": "G {g} wide, D {d} wide: {best} need the fewest FLOPs. (×: compared with "
    "{reference}.)",
    "and": " and ",
    "map": "FLOPs of {first} compared with {second}",
    "corner": "D \\ G",
    "less": "{first} needs fewer",
    "more": "{first} needs more",
}
FALLBACK = "FLOPs of one step, G {g} and D {d} wide. With JavaScript this is interactive."
COLUMNS = ("step", "G forward", "G backward", "D forward", "D backward", "in all", "× {reference}")
