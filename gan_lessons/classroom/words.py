"""Every text that a learner reads in questions and exercises: the one file to translate.

A name in braces is filled in by the code. Symbols are those of ``lens/words.py`` where they mean
the same.
"""

# Answers ------------------------------------------------------------------------------------------

# received gradient? -> (symbol, word)
RECEIVED = {True: ("∇", "yes"), False: ("–", "no")}
# right? -> (symbol, words); None: nothing was predicted
VERDICT = {
    True: ("✓", "as predicted"),
    False: ("≠", "not as predicted"),
    None: ("?", "not predicted"),
}
CHOSEN, CHOSEN_MEANS = "◉", "chosen:"
OPEN = "?"

# Predict, then run --------------------------------------------------------------------------------

RECEIVED_PROMPT = "Predict: does this net receive gradient in this backward call?"
RECEIVED_NET = "net"
RECEIVED_CALL = "call {number}"
RECEIVED_TOOLTIP = {
    True: "{net} receives gradient in backward call {number}",
    False: "{net} receives no gradient in backward call {number}",
}
RECEIVED_ITEM = "{net} in call {number}, {source}"
RECEIVED_ALL = "all {total} parameters"
RECEIVED_ALL_ONE = "its only parameter"
RECEIVED_SOME = "{count} of {total} parameters: {names}"
RECEIVED_NONE = "none of its {total} parameters"
RECEIVED_NONE_ONE = "none, it has one parameter"
USED_BY = "The {optimizer} step used it."
USED_PARTLY = "{count} of {total} were used by an optimizer step."
USED_BY_NOBODY = "No optimizer step used it."
AS_WRITTEN = "The line that ran: {source}"
CALL_RAISED = "This call raised an error: {error}"

NUMBER = "a number"
NUMBER_IN = "a number, in {unit}"
NUMBER_WITH_UNIT = "{number} {unit}"
NUMBER_UNREADABLE = "{text!r} is not a number, so it was not counted."
NUMBER_OFF = "Off by {difference}; up to {tolerance} counts as predicted."

ITEM_TITLE = "Asked"
PREDICTED_TITLE = "You predicted"
MEASURED_TITLE = "Measured"
VERDICT_TITLE = "Verdict"
MEASURED = "Measured: {measured}"
SCORE = "{score} of {asked} as predicted."
SCORE_OPEN = "{score} of {asked} as predicted, {open} not predicted."
SCORE_NONE = "No prediction was made; this is what was measured."

# Exercises ----------------------------------------------------------------------------------------

# passed? -> (symbol, words); None: not answered yet
CHECK = {
    True: ("✓", "passed"),
    False: ("≠", "not yet"),
    None: ("?", "not answered yet"),
}
STEP_UNANSWERED = "Write your step, then run this cell again."
STEP_EMPTY = "Your function does nothing yet. Write your step, then run this cell again."
STEP_RAISED = "Your step raised {error}"
STEP_RAISED_LATER = "Your step ran once, and raised when it was run again: {error}"
STEP_RAN = "Your step ran without an error. Steps taken: {steps}."
STEP_RETURNED = (
    "It returns {got}; a step returns StepLosses(d_loss, g_loss), two tensors with one number each."
)
LOSS_EQUAL = "Both losses agree with the reference."
LOSS_DIFFERS = "{loss} is {mine} in your step {step}, {reference} in the reference."
WEIGHTS_EQUAL = (
    "All weights are those of the reference (largest difference {difference}, "
    "largest move {moved})."
)
WEIGHTS_DIFFER = (
    "The weights of {net} are not those of the reference after step {step}: "
    "largest difference {difference}, where the reference moved by at most {moved}."
)
WEIGHTS_UNMOVED = "Step {step} moved no weight of {net} at all."
CALLS_EQUAL = "The same nets receive gradient in the same backward calls."
CALLS_COUNT = "Your step {step} makes {mine} backward calls, the reference {reference}."
CALLS_DIFFER = (
    "Step {step}, backward call {number} ({source}): {net} receives gradient in {mine}; "
    "in the reference in {reference}."
)
CALLS_ONLY_TOLD = "(Told only: this exercise asks for the same weights, not for the same calls.)"
FORWARDS_DIFFER = "{net} runs forward {mine} times in a step; in the reference {reference} times."
STEP_LATER = "Before step {step} all agreed: what did the step before leave in .grad?"

VALUE_UNANSWERED = "Put your answer where the dots are, then run this cell again."
VALUE_RIGHT = "Your answer is what was measured."
VALUE_WRONG = "Your answer {answer} is not what was measured."
VALUE_KIND = "The answer should be {expected}, yours is {got}."
VALUE_LOW = "Your {answer} is too small (allowed difference: {tolerance})."
VALUE_HIGH = "Your {answer} is too large (allowed difference: {tolerance})."
VALUE_NAN = "Your answer is not a finite number."
NAMES_RIGHT = "Right: {names}."
NAMES_EXTRA = "Not among them: {names}."
NAMES_MISSING = "Still missing: {count}."
KIND = {
    "names": "a set, such as {'a', 'b'}",
    "number": "a number",
    "bool": "True or False",
    "text": "a text in quotes",
}
NO_SOURCE = "source not known"
LIST = ", "

# Charts -------------------------------------------------------------------------------------------

IMAGES = "{count} images. {title}"
BYTES = "KiB that only the graph keeps, after each event (no weights, no inputs)"
PEAK = "peak: {size} KiB"
SPREAD = "{name}: from {low:.2f} to {high:.2f}, median {mid:.2f}"

# The article's claims, in our words ---------------------------------------------------------------

CLAIM_VERDICT = {True: ("✓", "holds"), False: ("✗", "does not hold")}
CLAIMS = {
    "C1": "detach() cuts the gradient: nothing before that tensor receives any.",
    "C2": "S1: d_loss.backward also computes G's gradient, though only D is updated.",
    "C3": "S1: so G's gradients must be zeroed before G's backward.",
    "C4": "S1: two backwards over one graph need retain_graph=True in the first: a graph is freed "
    "after one backward.",
    "C5": "S1: g_loss.backward also fills D's gradients; the next step's zero_grad removes them.",
    "C6": "S1, as printed, trains.",
    "C7": "S2: D's gradient is computed twice, G's once.",
    "C8": "S2, as printed, trains.",
    "C9": "S2: G's graph stays alive until D is updated.",
    "C10": "S3: g_loss.backward also gives D gradients that nobody uses.",
    "C11": "S3: without detach the gradient would not flow on either, for the graph is freed.",
    "C12": "S3: the fake passes D twice and gives the same output.",
    "C13": "S3: D's second graph is smaller than the first.",
    "C14": "S1 costs one extra gradient of G, S3 one extra forward of D; the difference is small.",
    "C15": "A heavier D favours S1, a lighter D favours S3.",
    "C16": "S1 keeps memory that S3 frees.",
    "C17": "The ranking: S3 is best, S2 second, S1 worst.",
    "C18": "S3 feels odd, since G's update needs an accurate D.",
    "C19": "detach is there to save work.",
    "C20": "D first is the algorithm of the original paper (arXiv 1406.2661).",
    "C21": "D is usually simpler than G.",
    "C22": "An extra gradient of G usually costs more than an extra forward of D.",
}

# The environment ----------------------------------------------------------------------------------

ENVIRONMENT_READY = "Everything is here."
ENVIRONMENT_MISSING = "Missing: {names}. The table says how to get it."
ENVIRONMENT_COLUMNS = ("part", "used for", "found")
ENVIRONMENT_MARK = {True: "✓", False: "✗"}
ENVIRONMENT_FOUND = "found"
ENVIRONMENT_PYTHON = "running the lessons"
ENVIRONMENT_OLD = "too old: Python {wanted} or newer is needed; then `make lab`"
ENVIRONMENT_GRAPHVIZ = "pictures of graphs (without it, the same in words)"
ENVIRONMENT_INSTALL = "not found: run `make lab`, or `%pip install {name}` in a cell"
ENVIRONMENT_USES = {
    "torch": "the nets, and autograd",
    "torchviz": "the layout of the graphs",
    "graphviz": "the layout of the graphs",
    "scikit-learn": "the handwritten digits",
    "matplotlib": "charts and images",
    "ipywidgets": "the predictions you click",
    "tqdm": "progress bars",
    "jupyterlab": "the pages you are looking at",
}
