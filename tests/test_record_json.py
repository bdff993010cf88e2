"""A record as JSON, and back: no view can tell the difference."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest
import torch

from gan_lessons import diagnose, published, record, record_step, step_detach, tiny_gan
from gan_lessons.lens.model import Record, StepRecord, from_plain, to_plain


@pytest.fixture
def gan():
    return tiny_gan()


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(8, 2), torch.randn(8, 2)


def test_a_record_and_all_its_views(gan):
    with record(gan.nets, gan.optimizers) as rec:
        step_detach(gan, *batch())
        step_detach(gan, *batch())
    text = rec.to_json()
    again = Record.from_json(text)
    assert again == rec
    assert str(again) == str(rec)
    assert str(diagnose(again)) == str(diagnose(rec))
    assert again._repr_html_() == rec._repr_html_()
    assert again.to_json() == text


def test_a_step_leaves_its_result_and_exception_behind(gan):
    rec = record_step(published.retain_graph_as_printed, gan, *batch())
    assert rec.error is not None
    again = Record.from_json(rec.to_json())
    assert isinstance(again, StepRecord)
    assert again == replace(rec, error=None, result=None)
    assert again.explanation == rec.explanation


@dataclass(frozen=True)
class Sample:
    """Every shape that a field of a record has, or may get."""

    one: int | None
    pair: tuple[int, str]
    many: tuple[tuple[int, str], ...] = ()
    some: frozenset[int] = frozenset()
    named: Mapping[int, Mapping[str, list[float]]] = field(default_factory=dict)
    inner: Sample | None = None


def test_every_shape_of_field_comes_back():
    one = Sample(None, (1, "a"), ((2, "b"), (3, "c")), frozenset({5, 4}), {7: {"x": [0.5]}})
    two = replace(one, one=3, inner=one)
    for sample in (one, two):
        assert from_plain(Sample, json.loads(json.dumps(to_plain(sample)))) == sample
    assert from_plain(Sample, {"one": 1, "pair": [1, "a"], "unknown": 0}) == Sample(1, (1, "a"))


def test_other_versions_are_refused(gan):
    with record(gan.nets) as rec:
        pass
    plain = json.loads(rec.to_json())
    several: tuple[object, ...] = (plain | {"version": 2}, {}, [], "x")
    for wrong in several:
        with pytest.raises(ValueError, match="from_json"):
            Record.from_json(json.dumps(wrong))
    with pytest.raises(ValueError, match="Expecting value"):
        Record.from_json("nonsense")
