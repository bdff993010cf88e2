"""Every text that the exported decks and pages add of their own: the file to translate."""

from gan_lessons.classroom import words

LANGUAGE = "en"
COURSE = "gan-lessons"
TAGLINE = "Who receives gradient in a GAN training step, and why"
INTRODUCTION = (
    "Lessons that run a training step of a GAN for real and draw what every backward() did. "
    "What you read here was executed: questions and pictures work in this page, without Python "
    "and without a network."
)
LESSONS = "Lessons"
SLIDES = "Slides"
READ = "Read"
READ_THIS = "Read this lesson as a page"
LESSON = "Lesson {number}"
MINUTES = "{minutes} minutes"
CONTENTS = "Contents"
IN_THIS_LESSON = "In this lesson"
PREVIOUS, NEXT = "Previous", "Next"
SKIP = "Skip to the lesson"
ERROR = "This cell raised an error, as it was meant to:"
SOLUTION = "Solution"
TEACHER = "For the teacher"
HOW_TO_RUN = (
    "To run and change the cells: get the course and open it in JupyterLab; its README says how."
)
SLIDES_NEED_SCRIPT = (
    "JavaScript is off: the slides stand below each other, with everything that they show first."
)

# Forms without a kernel. What is said of answers is said as in JupyterLab.
FORM = {
    "verdict": {
        "true": words.VERDICT[True],
        "false": words.VERDICT[False],
        "null": words.VERDICT[None],
    },
    "check": {"true": words.CHECK[True], "false": words.CHECK[False]},
    "chosen": words.CHOSEN,
    "open": words.OPEN,
    "measured": words.MEASURED,
    "score": words.SCORE,
    "scoreOpen": words.SCORE_OPEN,
    "scoreNone": words.SCORE_NONE,
    "unreadable": words.NUMBER_UNREADABLE,
    "off": words.NUMBER_OFF,
    "show": "Show what was measured",
    "hide": "Hide it again",
    "hidden": "What was measured is here. Predict first, or show it at once.",
    "answer": "Your answer",
    "tryIt": "Check",
    "kinds": {
        "names": "names, with commas; empty for none",
        "number": "a number, to three digits",
        "bool": "True or False",
        "text": "a text",
    },
    "right": words.VALUE_RIGHT,
    "wrong": "That is not what was measured.",
    "namesRight": words.NAMES_RIGHT,
    "namesExtra": words.NAMES_EXTRA,
    "namesMissing": words.NAMES_MISSING,
    "low": "Too small.",
    "high": "Too large.",
}
