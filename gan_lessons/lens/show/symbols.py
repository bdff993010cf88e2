"""Every text that a learner reads in the tables and graphs: the one file to translate.

Explanations of errors stand in ``explain.py``. A name in braces is filled in by the view.
"""

# What a .grad holds -------------------------------------------------------------------------------

# kind -> (symbol, word, what it means). The symbols keep their meaning without any colour.
GRADIENT = {
    "none": ("–", "none", ".grad is None"),
    "zero": ("0", "zero", ".grad is a tensor of zeros"),
    "fresh": ("●", "fresh", "written by one backward call"),
    "accumulated": ("⊕", "accumulated", "the sum over several backward calls, in brackets"),
    "by_hand": ("✎", "by hand", "written by an assignment, not by backward"),
    "before": ("◔", "from before", "it was there before the recording began"),
    "vain": ("○", "in vain", "computed, but no optimizer step uses it"),
}
BEFORE = "before"  # among the sources of a sum
USED, USED_MEANS = "✓", "this step uses it"
CHANGED, CHANGED_MEANS = "*", "changed since the event before"
CHANGED_BOLD = "bold"
NOT_YET = "The recording is not over: what is in vain is not known yet."

EVENT = {
    "forward": "forward {target}",
    "zero_grad": "zero_grad {target}",
    "backward": "backward call {call}",
    "grad": "autograd.grad",
    "step": "step {target}",
    "error": "error ✗",
}

TABLE_TITLE = "What every .grad holds after each event"
TABLE_HOW = "Numbers in cells are 2-norms; columns are numbered as in record.events."
TABLE_PARAMETER = "parameter"
TABLE_HELD = "held by the graph"
TABLE_HELD_MEANS = (
    "held by the graph: bytes that it alone keeps for backward (no weights, no inputs)"
)
TABLE_HELD_PARTLY = "≥: saved-tensor hooks hide some of these bytes"
TABLE_ALIKE = "{first} … {last} ({count} alike)"
TABLE_ALIKE_MEANS = "alike: parameters with the same story share a row, with their joint norm"
TABLE_NO_EVENTS = "No events: nothing in the recorded block touched these nets or optimizers."
TABLE_NO_COLUMNS = "No events of these kinds: {kinds}."
TABLE_NO_PARAMETERS = "no parameters"
TABLE_ERROR = "In plain words"

# The graph ----------------------------------------------------------------------------------------

# state -> (symbol, word, what it means)
BUFFER = {
    "held": ("■", "held", "keeps tensors that its backward will need"),
    "freed": ("□", "freed", "a backward used and released them: it cannot run again"),
    "stale": ("⚠", "stale", "holds a tensor that was rewritten in place: its backward will raise"),
    "nothing": ("", "nothing saved", "needs no tensors for its backward"),
    "unknown": ("?", "unknown", "saved-tensor hooks are active, so it was not looked at"),
    "absent": ("", "not there", "not built yet, or already gone"),
}
NOT_BUILT, GONE = "not built yet", "already gone"
RECEIVED, RECEIVED_MEANS = "∇", "received gradient in backward call {call}"
NOT_RECEIVED = "received nothing in backward call {call}"
WALKED_MEANS = "thick line: the gradient of backward call {call} went along it, right to left"
WALKED_MEANS_DOWN = "thick line: the gradient of backward call {call} went along it, upwards"
CUT, CUT_MEANS = "✂", "the graph was cut here: values pass, no gradient comes back"
CUT_LABEL = "✂ {how}"
ARROWS = "arrows: the way of the data; gradients go the other way"
PARAMETER = "{name} {shape}"
LEAF = "leaf tensor"
OUTPUT = "output {index}"
FORWARD = "{net}, forward {index}"
PARAMETERS_OF = "Parameters of {net}"
LEAVES_OF_NOBODY = "Leaf tensors of no net"
LEGEND_NET = "{shape}: node of {net}"
LEGEND_LOSS = "node of no net (a loss, say)"
LEGEND_PARAMETER = "darker: a parameter"

GRAPH_TITLE = "Autograd graph of {outputs}"
GRAPH_MOMENT = "right after event {index}: {what}"
GRAPH_NO_OUTPUT = "what was recorded"
GRAPH_EMPTY = "An empty graph: nothing here was computed with gradients."
GRAPH_NO_RECORD = (
    "Without a record, cuts by detach cannot be seen, and owners are guessed from the parameters "
    "that an operation takes."
)
GRAPH_FOREIGN = (
    "Drawn from tensors: cuts by detach and owners are those of the graph, not of the record "
    "(cuts unknown, owners guessed). The record tells only who received gradient."
)
GRAPH_LARGE = "{count} nodes are too many to show here: use .save('graph.svg'), or read the words."
GRAPH_WORDS = "The same in words"
SHAPE_WORD = {"rounded": "rounded box", "octagon": "octagon", "hexagon": "hexagon", "box": "box"}

TEXT_NO_NET = "No net"
TEXT_CUTS = "Cuts"
TEXT_CUT = "{how} between {source} and {target}: values pass, no gradient comes back."
TEXT_NO_CUTS = "No cuts."
TEXT_OUTPUTS = "Outputs"
TEXT_FROM = "from {names}"
TEXT_CALL = (
    "Backward call {call}: {source}. ∇ marks the operations that its gradient passed, and the "
    "parameters that received it."
)

NO_GRAPHVIZ = (
    "No picture: Graphviz was not found. `pip install pygraphviz` brings it along "
    "(or install Graphviz itself, so that `dot` can be called), then draw again."
)
GRAPHVIZ_FAILED = "Graphviz could not lay out this graph: {why}"
