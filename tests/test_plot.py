"""Pictures as files and inside pages."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from scripts import run_script

from minise import plot
from minise.gates import figure
from minise.gates.figure import Division


def line(title="losses"):
    picture, plots = plot.new(3, 2)
    with plot.style():
        plots[0, 0].plot([1, 2, 3], [3, 1, 2], color=plot.INK, marker="o")
        plots[0, 0].fill_between([1, 2, 3], [1, 1, 1], [2, 2, 2], color=plot.BLUE)
        plots[0, 0].set_title(title)
    return picture


def test_files_by_their_ending(tmp_path):
    starts = {"a.png": b"\x89PNG", "a.svg": b"<?xml", "a.pdf": b"%PDF", "b.PNG": b"\x89PNG"}
    for name, start in starts.items():
        plot.save(line(), tmp_path / name)
        first = (tmp_path / name).read_bytes()
        assert first.startswith(start)
        plot.save(line(), tmp_path / name)
        assert (tmp_path / name).read_bytes() == first  # no date, no random names
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(starts)
    for name in ("c.bmp", "c"):
        with pytest.raises(ValueError, match=r"must end in \.png, \.svg, \.pdf"):
            plot.save(line(), tmp_path / name)
    with pytest.raises(OSError, match="nowhere"):
        plot.save(line(), tmp_path / "nowhere" / "a.png")


def test_inside_a_page():
    svg = plot.inline(line(), "one", 'it falls & "rises" <so>')
    root = ElementTree.fromstring(svg)  # well-formed
    assert root.get("role") == "img"
    assert root.get("aria-label") == 'it falls & "rises" <so>'
    assert root.get("viewBox") == "0 0 216 144"
    assert "://" not in svg
    assert {element.tag for element in root.iter()}.isdisjoint({"metadata", "style", "script"})
    ids = re.findall(r' id="([^"]*)"', svg)
    assert len(ids) == len(set(ids)) > 0
    assert set(re.findall(r'["(]#([^")]*)', svg)) == set(ids)
    assert all(name.startswith("one-") for name in ids)
    assert plot.INK not in svg  # the page's colour instead
    assert "var(--ink)" in svg
    assert plot.BLUE in svg
    assert "losses" in "".join(root.itertext())  # text stays text


def test_two_pictures_on_a_page_share_no_ids():
    svg = plot.inline(line(), "one", "") + plot.inline(line(), "two", "")
    ids = re.findall(r' id="([^"]*)"', svg)
    assert len(ids) == len(set(ids))


def test_the_settings_of_the_user_neither_matter_nor_change():
    expected = plot.render(line(), ".svg")
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "svg.fonttype": "path"}):
        before = dict(matplotlib.rcParams)
        assert plot.render(line(), ".svg") == expected
        assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("title", ["$x$", "$", r"\frac", "a & <b>", "猫", "x_1^2"])
def test_names_are_taken_literally(title):
    svg = plot.inline(line(title), "one", title)
    assert title in "".join(ElementTree.fromstring(svg).itertext())


def test_no_window_system_is_touched():
    program = (
        "import sys; from minise import plot; assert 'matplotlib' not in sys.modules;"
        "plot.render(plot.new(2, 2)[0], '.png'); print('matplotlib.pyplot' in sys.modules)"
    )
    assert run_script(program) == "False"


# Gates

GATES = np.array([[0.9, 0.1, 0.5], [0.7, 0.3, 0.5], [0.2, 0.2, 0.6], [0.4, 0.0, 0.8]])
COLOUR = Division("colour", np.array([0, 0, 1, 1]), ["red", "green"], (plot.RED, plot.GREEN))


def drawn(axes):
    return {line.get_label(): line.get_ydata().tolist() for line in axes.get_lines()}


def test_mean_gates_by_hand():
    _, plots = plot.new(3, 2)
    figure.draw(plots[0, 0], GATES, COLOUR)
    lines = drawn(plots[0, 0])  # channels in the order of their means: 0.15, 0.55, 0.6
    assert lines["red"] == pytest.approx([0.2, 0.8, 0.5])
    assert lines["green"] == pytest.approx([0.1, 0.3, 0.7])
    assert lines["all"] == pytest.approx([0.15, 0.55, 0.6])
    assert plots[0, 0].get_lines()[0].get_color() == plot.RED


def test_of_many_groups_five_have_lines():
    names = [f"class {number}" for number in range(9)]
    division = Division("class", np.arange(9), names)
    _, plots = plot.new(3, 2)
    figure.draw(plots[0, 0], np.random.default_rng(0).random((9, 4)), division)
    shown = [f"class {number}" for number in (0, 2, 4, 6, 8)]
    assert [*drawn(plots[0, 0])] == [*shown, "all"]


def test_a_group_without_pictures():
    division = Division("class", np.array([0, 0, 2, 2]), ["a", "b", "c"])
    picture, plots = plot.new(3, 2)
    figure.draw(plots[0, 0], GATES, division)
    assert plot.render(picture, ".png")


def test_a_row_for_each_division_and_a_column_for_each_stage():
    other = Division("class", np.array([0, 1, 0, 1]), ["a", "b"])
    found = {"layer1.0.se": GATES, "layer1.1.se": GATES[::-1], "layer2.0.se": GATES}
    titles = [axes.get_title() for axes in figure.by_stage(found, [COLOUR, other]).axes]
    assert titles == [
        "layer1.1.se, by colour", "layer2.0.se, by colour",
        "layer1.1.se, by class", "layer2.0.se, by class",
    ]  # fmt: skip


def test_explained_by_hand():
    """One channel, as in gates/test_activations.py: 0.8 by the groups; nothing by other ones."""
    values = np.array([[0.2], [0.4], [0.6], [0.8]])
    picture, plots = plot.new(3, 2)
    constant = np.full((4, 1), 0.5)  # explained by nothing, and no reason to fail
    figure.draw_variance_explained(plots[0, 0], {"a1": values, "a2": constant}, [COLOUR])
    assert drawn(plots[0, 0])["colour"] == pytest.approx([80, np.nan], nan_ok=True)
    assert [label.get_text() for label in plots[0, 0].get_xticklabels()] == ["a1", "a2"]
    assert plot.render(picture, ".png")
