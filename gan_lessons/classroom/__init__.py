"""What a lesson puts in front of people. A name is imported when it is first asked for."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gan_lessons.extras import installed_for

if TYPE_CHECKING:
    from gan_lessons.classroom.claims import verdict
    from gan_lessons.classroom.cost_lab_widget import PARTS, WIDTHS, cost_lab
    from gan_lessons.classroom.dynamics_claims import needs_an_accurate_d, ranking_by_training
    from gan_lessons.classroom.dynamics_figures import (
        draw_ring,
        eigenvalue_plane,
        phase_frame,
        phase_portrait,
        plot_history,
        ring_frame,
    )
    from gan_lessons.classroom.environment import check_environment, ready
    from gan_lessons.classroom.exercises import Check, check_value
    from gan_lessons.classroom.explorer import (
        KIND_LETTERS,
        STATE_LETTERS,
        StrategyExplorer,
        caption,
        explore,
        make_film,
    )
    from gan_lessons.classroom.figures import curves, held_bytes, image_grid, spread
    from gan_lessons.classroom.frames import Frame, FramePlayer, play
    from gan_lessons.classroom.questions import predict_choice, predict_number, predict_received
    from gan_lessons.classroom.step_checks import check_step
    from gan_lessons.classroom.together import Together
    from gan_lessons.classroom.training_widget import TrainingPanel, training_panel

# Name -> its module. A name that is also that of a module would be hidden by it.
_HOMES = {
    "Check": "exercises",
    "KIND_LETTERS": "explorer",
    "PARTS": "cost_lab_widget",
    "STATE_LETTERS": "explorer",
    "StrategyExplorer": "explorer",
    "Together": "together",
    "TrainingPanel": "training_widget",
    "WIDTHS": "cost_lab_widget",
    "caption": "explorer",
    "Frame": "frames",
    "FramePlayer": "frames",
    "check_environment": "environment",
    "check_step": "step_checks",
    "check_value": "exercises",
    "cost_lab": "cost_lab_widget",
    "curves": "figures",
    "draw_ring": "dynamics_figures",
    "eigenvalue_plane": "dynamics_figures",
    "explore": "explorer",
    "held_bytes": "figures",
    "image_grid": "figures",
    "make_film": "explorer",
    "needs_an_accurate_d": "dynamics_claims",
    "phase_frame": "dynamics_figures",
    "phase_portrait": "dynamics_figures",
    "play": "frames",
    "plot_history": "dynamics_figures",
    "predict_choice": "questions",
    "predict_number": "questions",
    "predict_received": "questions",
    "ranking_by_training": "dynamics_claims",
    "ready": "environment",
    "ring_frame": "dynamics_figures",
    "spread": "figures",
    "training_panel": "training_widget",
    "verdict": "claims",
}

__all__ = [
    "KIND_LETTERS", "PARTS", "STATE_LETTERS", "WIDTHS", "Check", "Frame", "FramePlayer",
    "StrategyExplorer", "Together", "TrainingPanel", "caption", "check_environment",
    "check_step", "check_value", "cost_lab", "curves", "draw_ring", "eigenvalue_plane",
    "explore", "held_bytes", "image_grid", "make_film", "needs_an_accurate_d", "phase_frame",
    "phase_portrait", "play", "plot_history", "predict_choice", "predict_number",
    "predict_received", "ranking_by_training", "ready", "ring_frame", "spread", "training_panel",
    "verdict",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with installed_for(name):
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
