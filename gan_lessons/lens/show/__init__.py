"""Views of a record: the gradient table, and the autograd graph as a picture and in words."""

from gan_lessons.lens.show.cells import Cell, describe, is_used
from gan_lessons.lens.show.fold_leaves import fold_parameters, leaf_groups
from gan_lessons.lens.show.format import (
    aligned,
    bytes_text,
    event_text,
    flops_text,
    group_title,
    leaf_name,
    marked,
    norm_text,
    owned_name,
    shape_text,
    short,
    visible,
)
from gan_lessons.lens.show.picture import LARGE, GraphPicture, draw_graph
from gan_lessons.lens.show.render import graphviz_available, layout, svg
from gan_lessons.lens.show.scene import Scene
from gan_lessons.lens.show.symbols import BUFFER, CUT, GRADIENT, RECEIVED, USED
from gan_lessons.lens.show.table import GradientTable

__all__ = [
    "BUFFER", "CUT", "GRADIENT", "LARGE", "RECEIVED", "USED", "Cell", "GradientTable",
    "GraphPicture", "Scene", "aligned", "bytes_text", "describe", "draw_graph", "event_text",
    "flops_text", "fold_parameters", "graphviz_available", "group_title", "is_used", "layout",
    "leaf_groups", "leaf_name", "marked", "norm_text", "owned_name", "shape_text", "short", "svg",
    "visible",
]  # fmt: skip
