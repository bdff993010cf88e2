"""What a record says is wrong with a training loop: the line, the reason, the fix."""

from gan_lessons.lens.diagnose.backward_flops import Flops
from gan_lessons.lens.diagnose.finding_text import evidence, few
from gan_lessons.lens.diagnose.report import Diagnosis, diagnose
from gan_lessons.lens.diagnose.saving import Saving, computed_in_vain
from gan_lessons.lens.diagnose.story import Finding

__all__ = [
    "Diagnosis", "Finding", "Flops", "Saving", "computed_in_vain", "diagnose", "evidence", "few",
]  # fmt: skip
