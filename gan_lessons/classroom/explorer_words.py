"""Every text of the explorer: captions of moments, and what stands on its controls.

A name in braces is filled in. Symbols and words of states are those of ``lens/words.py``.
"""

# Captions -----------------------------------------------------------------------------------------

FORWARD = "{net} runs forward{again}."
FORWARD_AGAIN = ", for the {nth} time in this step"
NTH = {2: "second", 3: "third", 4: "fourth", 5: "fifth"}
NTH_OTHER = "{n}th"
FORWARD_NO_GRAPH = "It builds no graph: nothing here can be walked backward."
BUILT = "The graph grows by {count} operations and now holds {held}."
BUILT_ONE = "The graph grows by one operation and now holds {held}."
CUT = "{how} cuts: values pass to {net}, no gradient will come back this way."
CUT_NO_NET = "{how} cuts: values pass, no gradient will come back this way."
CLEARED = "{net}'s {count} gradients are cleared."
CLEARED_EMPTY = "{net}'s gradients were empty already."
CLEARED_ZERO = "{net}'s {count} gradients are set to zero."
USED = "{net}'s {count} parameters received gradient."
USED_SOME = "{net}: {count} of {total} parameters received gradient."
ADDED = "It was added to what they held already."
VAIN = "{net}'s {count} parameters received gradient in vain: no step will use it."
VAIN_TOO = "So did {net}'s {count}: nobody asked for those, no step will use them."
VAIN_SOME = "{net}: {count} of {total} parameters received gradient in vain: no step will use it."
NOBODY = "No parameter received gradient."
RETAINED = "The graph is kept: it still holds {held}."
FREED = "What the graph saved on the way is freed: it now holds {held}."
STEP = "{net}'s {count} parameters move."
STEP_NOTHING = "{optimizer} has no gradient to use: nothing moves."
STALE = (
    "{count} nodes had saved weights that are now rewritten: they are stale, and a backward "
    "through them will raise."
)
STALE_ONE = (
    "One node had saved a weight that is now rewritten: it is stale, and a backward through it "
    "will raise."
)
AUTOGRAD_GRAD = "A gradient is computed without being written into any .grad."
LAID_ASIDE = "{net}'s {count} gradients are taken out of .grad and laid aside."
PUT_BACK = "{net}'s {count} gradients are put back into .grad."
REWRITTEN = "{net}: {count} gradients are rewritten by hand."
LET_GO = "Tensors go out of use, and with them graph: it now holds {held}."
RETURNS = "The step is over."
NOTHING = "Nothing changes for gradients, graph or memory."
RAISED = "This line raises an error."
FROZEN = "{net} is frozen: its parameters will receive no gradient."
BEGIN = "Before the step: no line has run."

# What a step costs --------------------------------------------------------------------------------

TOTAL_FORWARDS = "forwards"
TOTAL_BACKWARDS = "backwards through"
TOTAL_PEAK = "graph holds at most"
TOTAL_FLOPS = "FLOPs"
TOTAL_VAIN = "gradients in vain"
TOTAL_ERROR = "ends in an error"

# What became of a changed step: kind -> (symbol, word).
OUTCOME = {
    "error": ("✗", "It raises"),
    "wrong": ("≠", "Silently wrong"),
    "waste": ("○", "Same gradients, wasted work"),
    "same": ("✓", "Same gradients"),
}
RAISES_AT = "line {line} of the code."

# Controls -----------------------------------------------------------------------------------------

UI = {
    "title": "One training step, line by line",
    "strategy": "Strategy",
    "first": "First line",
    "back": "Back one line",
    "next": "Next line",
    "last": "Last line",
    "play": "Play",
    "pause": "Pause",
    "slider": "Moment",
    "moment": "{index} of {count}",
    "whatif": "What if …",
    "asWritten": "as written",
    "compare": "Compare with",
    "alone": "nothing",
    "code": "The step's own source",
    "graph": "Autograd graph",
    "matrix": "What every .grad holds",
    "memory": "Bytes that the graph holds after each line",
    "peak": "peak {held}",
    "parameter": "parameter",
    "saved": "saves",
    "savedNothing": "saves nothing",
    "bytes": "{bytes} B",
    "of": "of {net}",
    "ofNone": "of no net",
    "holds": ".grad holds: {word}",
    "norm": "norm {norm}",
    "fromCalls": "from backward call {calls}",
    "usedHere": "this step uses it",
    "notYet": "not yet",
    "outcome": "What happens",
    "goThere": "Go there, to see why",
    "legend": "Symbols",
    "keys": "Keys: ← → one line, Home and End, space plays, a number chooses a strategy, in the "
    "graph ↑ ↓ go from node to node, Esc leaves.",
    "noGraph": "No picture of this graph.",
    "totals": "In all",
    "walked": "gradient passes here now",
    "arrives": "gradient arrives now",
    "cut": "cut: values pass, no gradient comes back",
    "noSource": "Python cannot read this step's source: one moment for each event.",
}
FALLBACK = (
    "{title}: what every .grad holds at the end, and the graph. With JavaScript this is "
    "interactive."
)
