"""The symbols and words that the tables, the graphs, the costs and the explorer have in common.

Each symbol keeps its meaning without any colour.
"""

# What a .grad holds: kind -> (symbol, word, what it means).
GRADIENT = {
    "none": ("–", "none", ".grad is None"),
    "zero": ("0", "zero", ".grad is a tensor of zeros"),
    "fresh": ("●", "fresh", "written by one backward call"),
    "accumulated": ("⊕", "accumulated", "the sum over several backward calls"),
    "by_hand": ("✎", "by hand", "written by an assignment, not by backward"),
    "before": ("◔", "from before", "it was there before the recording"),
    "vain": ("○", "in vain", "computed, but no optimizer step uses it"),
}
USED = "✓"  # a step has used it

# What a node of the graph holds: state -> (symbol, word, what it means).
BUFFER = {
    "held": ("■", "held", "keeps tensors that its backward will need"),
    "freed": ("□", "freed", "a backward released them: it cannot run again"),
    "stale": ("⚠", "stale", "holds a tensor that was rewritten: its backward will raise"),
    "nothing": ("", "nothing saved", "needs no tensors for its backward"),
    "unknown": ("?", "unknown", "saved-tensor hooks are active, so it was not looked at"),
    "absent": ("", "not there", "not built yet, or already gone"),
}
RECEIVED = "∇"  # the gradient of the backward call that is shown got there
CUT, CUT_MEANS = "✂", "the graph was cut here: values pass, no gradient comes back"
