"""The explorer: one training step, line by line, as data (`film`) and as a view of it.

`players`, `stage_layout` and `stage_moments` say who stands where and shows what at each moment;
`matrix` what every `.grad` holds; `field`, `field_words` and `plane_run` what happens in the plane;
`captions` the sentences; `paint` the source. `static/explorer*.js` and `field.js` draw all of it.
"""

from gan_lessons.classroom.explorer.captions import caption
from gan_lessons.classroom.explorer.explorer import StrategyExplorer, explore
from gan_lessons.classroom.explorer.field import PlaneWatch
from gan_lessons.classroom.explorer.film import KIND_LETTERS, STATE_LETTERS, make_film, totals
from gan_lessons.classroom.explorer.paint import colours, folded

__all__ = [
    "KIND_LETTERS", "STATE_LETTERS", "PlaneWatch", "StrategyExplorer", "caption", "colours",
    "explore", "folded", "make_film", "totals",
]  # fmt: skip
