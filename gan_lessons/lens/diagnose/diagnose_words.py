"""Every text of a diagnosis: the one file to translate. A name in braces is filled in."""

# severity -> (symbol, word); in the order in which findings are told
SEVERITY = {
    "error": ("✗", "raises"),
    "wrong": ("≠", "wrong gradient"),
    "waste": ("○", "waste"),
    "info": ("·", "note"),
}
TITLE = "Diagnosis: {counts}"
TITLE_SOUND = "Diagnosis: nothing that raises, and no wrong gradient was found"
COUNT = "{count} × {word}"
FIX = "What to do"
SEEN = "Seen"
AND = " and "
CALL = "`{source}`"
SEEN_EVENT = "event {event}, line {line}: `{source}`"
SEEN_EVENT_NOWHERE = "event {event}: {what}"
STEP, CLEARING, BACKWARD = "a step of {target}", "zero_grad of {target}", "backward call {call}"

# code -> (message, fix). Errors take both from the record's own explanation.
ERROR_FIX = "Look at the graph at this event: draw_graph(record=rec)."

POLLUTED = (
    "{step} moved {net} by the sum of {calls}. {others} is another player's: {by} learned from it "
    "too."
)
POLLUTED_ALSO = "{net} learns from {calls} at {step}, and had learned from {shared} before."
POLLUTED_ONLY = (
    "{step} moved {net} by {calls}, from which {by} learned too. What {lost} had computed for "
    "{net} alone was cleared before."
)
POLLUTED_ONLY_FIX = "Let {net} step after {lost}, before its gradients are cleared."
CLEAR_BETWEEN = "Clear the gradients of {net} (zero_grad) between {first} and {last}."
KEEP_OUT = (
    "Keep the other player's call out of {net}: name who is to receive, `backward(inputs={by})`."
)
CLEAR_EACH = "Clear the gradients of {net} (zero_grad) after each of its steps, or before the next."

CUT_OFF = "{step} found no gradient in {net}: it changes nothing. {why}"
CUT_OFF_WHY = {
    "no call": "No backward was called before it.",
    "theirs": "{call}, which came before it, does not reach {net}.",
    "cleared": "{clearing} had cleared what {call} wrote.",
    "restricted": "inputs= of {call} names no parameter of {net}.",
    "cut": "{call} never reaches {net}: the graph was cut by {how} on the way.",
    "frozen": "{call} walks through {net}, and no parameter of {net} wants a gradient.",
    "by hand": "Something had cleared what {call} wrote.",
    "no graph": "{forward} built no graph: {net} was frozen, or gradients were switched off.",
    "other": "{call} has no way to {net}.",
}
CUT_OFF_FIX = {
    "no call": "Call backward on the loss of {net} before this step.",
    "theirs": "Call backward on a loss made from the output of {net}, before this step.",
    "cleared": "Clear before backward, not between backward and step.",
    "by hand": "Clear before backward, not between backward and step.",
    "frozen": "Thaw {net} (requires_grad_(True)) before its forward, until its backward is over.",
    "restricted": "Name the parameters of {net} in inputs=.",
    "cut": (
        "Compute this loss on what {net} made itself, not on the detached copy: call the other net "
        "once more, on that."
    ),
    "no graph": (
        "Run that forward with gradients on: no torch.no_grad around it, and {net} not frozen."
    ),
    "other": (
        "Compute the loss of {net} from its own output, with gradients on (no torch.no_grad, no "
        ".data, no copy through NumPy)."
    ),
}

CUT_OFF_OTHERS = (
    "{step} is the step of the optimizer named {net}, and it holds no parameter of {net}."
)
CUT_OFF_OTHERS_FIX = (
    "Make it from the parameters of this net: another net's, or those of a net that was made anew "
    "since, do not count."
)

NEVER_STEPPED = (
    "{calls} filled the gradients of {net}, and no step used them: {net} does not learn."
)
NEVER_STEPPED_FIX = (
    "Call the step of the optimizer of {net} after it. If that comes later in your loop, record up "
    "to there."
)

STALE = (
    "{call} went through {net} with {name} as it is now, but {forward} had run before {mover} "
    "changed it. Old activations times new weights need not be the gradient of any loss. torch "
    "did not notice."
)
STALE_RECOMPUTED = (
    "{call} ran {forward} again (a checkpoint), with weights of {net} that were changed since: the "
    "gradient is not that of the loss you computed."
)
STALE_MOVER = "something"
STALE_FIX = (
    "Call backward before the step that moves {net}, or run the forward of {net} again after it."
)

IN_VAIN = "{calls} wrote {count} gradients of {net} that no step used."
IN_VAIN_ONE = "{calls} wrote a gradient of {net} that no step used."
IN_VAIN_FIX = "Name who is to receive, all that train: `backward(inputs={by})`."
IN_VAIN_FIX_UNLESS = (
    "If {net} is to learn from this, its own step is missing. If not, name who is to receive, all "
    "that train: `backward(inputs={by})`."
)
PARAMETERS_OF = "list({net}.parameters())"
IN_VAIN_FIX_ALONE = "If nobody reads them either, leave this backward out."

RETAIN = "{call} kept the graph (retain_graph=True), and nothing walked it again."
RETAIN_FIX = "Leave retain_graph=True out: it holds memory for nothing."

FROM_BEFORE = (
    "{step} used the sum of {calls} and of gradients from before the recording. Was a zero_grad "
    "forgotten, or is this a sum over batches?"
)
FROM_BEFORE_FIX = "Record two iterations: then it shows what goes into {net}."
SIMULTANEOUS = (
    "{second} moves by a gradient that was computed before {first} moved: a simultaneous update."
)
ALTERNATING = (
    "{second} runs {first} again after it has moved, and learns from it: alternating updates."
)
SHARED = "{first} and {second} step on the same backward ({calls})."
SHARED_FIX = (
    "Right for a one-stage step, which scales the gradient between the nets. With a plain sum of "
    "both losses each player would also follow the other's."
)
FROZEN = "{net} was frozen while {call} walked through it: none of its gradients was computed."
BATCHNORM = (
    "The running statistics of {net}'s BatchNorm were updated {count} times ({forwards} forwards "
    "in train mode)."
)
