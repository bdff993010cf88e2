"""The plane in a page that is opened from disk: the gradient comes, and the fakes move."""

from __future__ import annotations

import re

import pytest
from explorer_pictures import SHOTS, Shot, address, film_of

from gan_lessons import mlp_gan
from gan_lessons.classroom import explore
from gan_lessons.strategies import THREE

pytestmark = pytest.mark.browser

# What is drawn, and where: the fakes by the end of their way.
READ = """
field => {
    const map = field.querySelector('.field-map');
    const count = selector => map.querySelectorAll(selector).length;
    const places = selector => Array.from(map.querySelectorAll(selector), e => e.style.transform);
    return {
        pulls: count('.pull:not(.vain, .waiting) .tip'), vain: count('.pull.vain .tip'),
        waiting: count('.pull.waiting .tip'), fakes: places('.fake'), ghosts: places('.ghost'),
        bands: count('.band'), judged: count('.judged > g'),
        label: field.querySelector('[role=img]').getAttribute('aria-label'),
        words: field.querySelector('.field-words').textContent,
        small: Math.min(...Array.from(field.querySelectorAll('li, span, p'),
            e => parseFloat(getComputedStyle(e).fontSize))),
        low: getComputedStyle(field.querySelector('.low')).fill,
        text: field.querySelectorAll('svg text').length,
    };
}
"""


@pytest.fixture
def look(offline, wanted, saved):
    """Return ``look(strategy, line, what_if)``: what the plane shows there."""

    def look_at(strategy, line, what_if=""):
        page = offline.open(saved, address(wanted, Shot("", strategy, line, what_if)))
        page.emulate_media(reduced_motion="reduce")
        field = page.locator("section.explorer .field")
        field.wait_for()
        return field.evaluate(READ)

    return look_at


def moved(a, b):
    """How far apart two places in the drawing are, in its units."""
    (x, y), (u, v) = (map(float, re.findall(r"-?[\d.]+", text)) for text in (a, b))
    return ((x - u) ** 2 + (y - v) ** 2) ** 0.5


@pytest.mark.parametrize("key", THREE)
def test_the_gradient_comes_and_then_the_fakes_move(look, key):
    before = look(key, "g_loss.backward(")
    assert before["pulls"] == len(before["fakes"]) == 4
    assert (before["vain"], before["waiting"], before["ghosts"]) == (0, 0, [])
    assert before["words"] == "g_loss pulls the fakes uphill, to where D says real."
    after = look(key, "opt_g.step(")
    assert (after["pulls"], after["vain"], after["waiting"]) == (0, 0, 0)
    assert after["ghosts"] == before["fakes"]
    assert all(moved(a, b) > 15 for a, b in zip(after["fakes"], after["ghosts"], strict=True))
    assert re.match(r"The fakes moved 0\.\d+, uphill: D gives them", after["words"])
    assert after["label"].startswith(after["words"])


def test_what_d_loss_sends_to_the_fakes_is_in_vain(look):
    shown = look("retain_graph", "d_loss.backward(")
    assert (shown["vain"], shown["pulls"]) == (4, 0)
    assert shown["words"] == "d_loss pulls the fakes downhill, but in vain: no step will use it."
    detached = look("detach", "d_loss.backward(")
    assert (detached["vain"], detached["pulls"]) == (0, 0)


# Of each arrow: its length beyond the mark that it begins at, its head, and where it points.
ARROWS = r"""
(field, kind) => Array.from(field.querySelectorAll(`.field-map .${kind}`), arrow => {
    const pair = /(-?[\d.]+) (-?[\d.]+)/g;
    const points = e => [...e.getAttribute('d').matchAll(pair)].map(m => [+m[1], +m[2]]);
    const [start] = points(arrow.querySelector('.shaft'));
    const [one, tip, other] = points(arrow.querySelector('.tip'));
    const foot = [(one[0] + other[0]) / 2, (one[1] + other[1]) / 2];
    const far = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]);
    return {start, tip, length: far(start, tip), head: far(foot, tip), wide: far(one, other),
        closed: arrow.querySelector('.tip').getAttribute('d').endsWith('z')};
})
"""


@pytest.mark.parametrize(
    ("shot", "kind", "uphill"),
    [(SHOTS[0], "pull.vain", False), (SHOTS[1], "pull", True), (SHOTS[2], "trail", True)],
)
def test_one_sees_which_way_an_arrow_points(offline, wanted, saved, shot, kind, uphill):
    page = offline.open(saved, address(wanted, shot))
    field = page.locator("section.explorer .field")
    arrows = field.evaluate(ARROWS, kind)
    assert len(arrows) == 4
    for arrow in arrows:
        assert arrow["length"] >= (5 if kind == "trail" else 15)  # none of it is behind a mark
        assert arrow["head"] >= 10
        assert arrow["wide"] >= 10
        assert arrow["closed"]
        assert 0 <= arrow["tip"][0] <= 300
        assert 0 <= arrow["tip"][1] <= 214
        assert (arrow["tip"][1] > arrow["start"][1]) == uphill  # here D says more further down


def test_the_legend_of_the_plane_names_what_is_there(offline, wanted, saved):
    def named(shot):
        page = offline.open(saved, address(wanted, shot))
        return page.locator("section.explorer .field-legend li:visible").all_inner_texts()

    assert [text.strip() for text in named(SHOTS[0])] == ["real", "fake", "in vain"]
    assert [text.strip() for text in named(SHOTS[1])] == ["real", "fake", "pull"]
    *marks, moves = (text.strip() for text in named(SHOTS[2]))
    assert marks == ["real", "fake", "before"]
    assert re.fullmatch(r"moves ×\d+", moves)


def test_in_s3_d_looks_at_the_fakes_that_g_has_left(look):
    shown = look("generator_first", "d_loss = ")
    assert shown["words"] == "D looks at the old fakes: G has moved on."
    assert shown["judged"] == 8  # the old fakes and the real points
    assert len(shown["ghosts"]) == 4


def test_where_the_gradient_comes_too_late_the_fakes_stand_still(look):
    shown = look("generator_first", "opt_g.step(", "step_first")
    assert shown["ghosts"] == []
    assert shown["words"] == "G's optimizer has stepped, and the fakes stand still."


def test_where_gradients_add_up_both_are_shown_and_they_move_further(look):
    arrived = look("retain_graph", "g_loss.backward(", "no_zero_grad_g")
    assert (arrived["pulls"], arrived["waiting"]) == (4, 4)
    shown = look("retain_graph", "opt_g.step(", "no_zero_grad_g")
    right = look("retain_graph", "opt_g.step(")
    far, wanted = (sum(map(moved, s["fakes"], s["ghosts"])) for s in (shown, right))
    ratio = re.search(r"That is ([\d.]+) times as far", shown["words"])
    assert ratio is not None
    assert far / wanted == pytest.approx(float(ratio[1]), abs=0.05)


def test_all_fakes_of_every_film_are_in_the_map(wanted):
    for key, base in wanted.data["films"].items():
        for what_if in ["", *(v["key"] for v in wanted.data["variants"][key])]:
            field = film_of(wanted, Shot("", key, "", what_if))["field"]
            left, bottom, right, top = field["box"]
            assert field["box"] == base["field"]["box"]
            for moment in field["moments"]:
                now = field["clouds"][moment["fakes"]] if "fakes" in moment else []
                old = field["clouds"][moment["from"]] if "from" in moment else now
                for (x, y), (u, v) in zip(now, old, strict=True):
                    across, up = (
                        (b + field["zoom"] * (a - b)) / field["per"] for a, b in ((x, u), (y, v))
                    )
                    assert left < across < right, (key, what_if)
                    assert bottom < up < top, (key, what_if)


def test_it_can_be_read_from_the_last_row(look):
    for shot in SHOTS:
        shown = look(shot.strategy, shot.line, shot.what_if)
        assert shown["small"] >= 14
        assert shown["text"] == 0  # all text is HTML: it does not shrink with the map
        assert shown["bands"] == 7


def test_all_of_it_is_within_the_explorer(offline, wanted, saved):
    for shot in SHOTS:
        page = offline.open(saved, address(wanted, shot))
        section, words, field, keeps = (
            page.locator(f"section.explorer {part}").bounding_box()
            for part in (".body", ".field-words", ".field-map", ".keeps")
        )
        matrix = page.locator("section.explorer .matrix").bounding_box()
        assert keeps["y"] + keeps["height"] <= matrix["y"] + matrix["height"] + 1
        assert words["y"] + words["height"] <= section["y"] + section["height"] + 1
        assert field["width"] / field["height"] == pytest.approx(300 / 214, abs=0.02)
        assert field["height"] >= 150


def test_it_follows_light_and_dark(wanted, saved, chromium):
    low = []
    for scheme in ("light", "dark"):
        context = chromium.new_context(color_scheme=scheme)
        page = context.new_page()
        page.goto(saved.as_uri())
        page.locator("section.explorer .field").wait_for()
        low.append(page.locator("section.explorer .field").evaluate(READ)["low"])
        context.close()
    assert low == ["rgb(154, 167, 181)", "rgb(11, 14, 18)"]


def test_without_motion_the_fakes_are_there_at_once(offline, wanted, saved):
    page = offline.open(saved, address(wanted, SHOTS[2]))
    fake = page.locator("section.explorer .field .fake").first
    assert fake.evaluate("e => getComputedStyle(e).transitionDuration") == "0.5s"
    page.emulate_media(reduced_motion="reduce")
    assert fake.evaluate("e => getComputedStyle(e).transitionDuration") == "0s"


def test_nets_whose_data_are_no_points_have_no_plane(offline, tmp_path):
    gan = mlp_gan(hidden_g=(4,), hidden_d=(4,))
    page = offline.open(explore("detach", gan=gan, what_if=False).save(tmp_path / "digits.html"))
    page.locator("section.explorer").wait_for()
    assert page.locator("section.explorer .field").is_hidden()
