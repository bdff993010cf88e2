"""Every text that the exported decks and pages add of their own: the file to translate."""

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
