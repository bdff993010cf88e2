"""Views of a record: the gradient table, and the autograd graph as a picture and in words."""

from gan_lessons.lens.show import render, symbols
from gan_lessons.lens.show.picture import LARGE, GraphPicture, draw_graph
from gan_lessons.lens.show.scene import (
    Scene,
    fold_parameters,
    is_leaf,
    leaf_groups,
    marked,
    shape_text,
    visible,
)
from gan_lessons.lens.show.symbols import GRADIENT
from gan_lessons.lens.show.table import (
    Cell,
    GradientTable,
    bytes_text,
    describe,
    event_text,
    norm_text,
)

__all__ = [
    "GRADIENT",
    "LARGE",
    "Cell",
    "GradientTable",
    "GraphPicture",
    "Scene",
    "bytes_text",
    "describe",
    "draw_graph",
    "event_text",
    "fold_parameters",
    "is_leaf",
    "leaf_groups",
    "marked",
    "norm_text",
    "render",
    "shape_text",
    "symbols",
    "visible",
]
