"""The symbols and words that the tables, the graphs, the costs and the explorer have in common.

Each symbol keeps its meaning without any colour.
"""

# What a .grad holds: kind -> (symbol, word, what it means).
GRADIENT = {
    "none": ("–", "none", ".grad is None"),
    "zero": ("0", "zero", ".grad is a tensor of zeros"),
    "fresh": ("●", "fresh", "written by one backward call"),
    "accumulated": ("⊕", "accumulated", "the sum over several backward calls, in brackets"),
    "by_hand": ("✎", "by hand", "written by an assignment, not by backward"),
    "before": ("◔", "from before", "it was there before the recording began"),
    "vain": ("○", "in vain", "computed, but no optimizer step uses it"),
}
USED = "✓"  # this step uses it

# What a node of the graph holds: state -> (symbol, word, what it means).
BUFFER = {
    "held": ("■", "held", "keeps tensors that its backward will need"),
    "freed": ("□", "freed", "a backward used and released them: it cannot run again"),
    "stale": ("⚠", "stale", "holds a tensor that was rewritten in place: its backward will raise"),
    "nothing": ("", "nothing saved", "needs no tensors for its backward"),
    "unknown": ("?", "unknown", "saved-tensor hooks are active, so it was not looked at"),
    "absent": ("", "not there", "not built yet, or already gone"),
}
RECEIVED = "∇"  # the gradient of the backward call that is shown got there
CUT, CUT_MEANS = "✂", "the graph was cut here: values pass, no gradient comes back"

# What a step costs --------------------------------------------------------------------------------

COST_TITLE = "What one step costs"
COST_STEP_TITLE = "What one step costs: {name}"
COST_COLUMNS = (
    "step",
    "FLOPs",
    "forwards",
    "backwards through",
    "graph holds at most",
    "allocated at most",
    "time",
)
COST_MEANS = (
    "FLOPs: of matrix products and convolutions, counted by torch; k, M, G: 10³, 10⁶, 10⁹",
    "graph holds: what it alone keeps for backward (no weights, no inputs)",
    "allocated: that, gradients and temporaries; not weights, buffers, optimizer states, inputs",
    "time: median of the runs, which took turns; in brackets the middle half of them",
)
COST_WORK_COLUMNS = ("work", "line", "FLOPs", "share", "its .grad")
COST_VAIN = "{symbol} written {word}"
COST_PLACE = {"forward": "{net} forward", "backward": "{net} backward, call {call}"}
COST_NO_NET = "no net"
COST_ALL = "in all"
COST_TIME = "{median} ms ({low} to {high})"
COST_UNTIMED = "not timed"
