"""What a record says is wrong with a training loop: the line, the reason, the fix."""

from gan_lessons.lens.diagnose.facts import Finding
from gan_lessons.lens.diagnose.report import Diagnosis, diagnose

__all__ = ["Diagnosis", "Finding", "diagnose"]
