"""Lesson 09: loops as others write them, and the ways to freeze a player, all of them measured."""

from gan_lessons.classroom.wild.casts import Cast
from gan_lessons.classroom.wild.freezing import (
    WAYS,
    Row,
    Turn,
    freezing_rows,
    freezing_table,
    measured,
)
from gan_lessons.classroom.wild.loops import WILD, WildLoop
from gan_lessons.classroom.wild.reading import Reading, read, recorded, table_of

__all__ = [
    "WAYS", "WILD", "Cast", "Reading", "Row", "Turn", "WildLoop", "freezing_rows",
    "freezing_table", "measured", "read", "recorded", "table_of",
]  # fmt: skip
