"""The stepper page in a real browser: every number on every step, keys, themes, JupyterLab.

Skips without what browsing.py needs, and the JupyterLab part without jupyterlab.
"""

from __future__ import annotations

import json

import numpy
import pytest
from browsing import jupyter_lab, marks, violations
from se_by_hand import by_hand

import minise
from minise import functional as F
from minise.tracing import examples
from minise.tracing.fold import EVERYTHING, views
from minise.tracing.stepper import fragment
from minise.tracing.text import shown

pytestmark = marks

# What the page says now: read in one go, because a walk reads it at every step.
READ = """
host => {
  const root = host.shadowRoot;
  const texts = (selector, within = root) => [...within.querySelectorAll(selector)].map(e => e.textContent);
  const cards = (within) => [...within.querySelectorAll(".card")].map(card => ({
    heading: card.querySelector(".head").firstChild.textContent,
    classes: [...card.classList],
    shape: card.querySelector(".head small")?.textContent.trim(),
    cells: texts("td", card),
    exact: [...card.querySelectorAll("td")].map(cell => cell.title),
  }));
  const panels = {};
  for (const panel of root.querySelectorAll("section.panel"))
    panels[panel.querySelector("h2, h3")?.textContent ?? ""] = cards(panel);
  return {
    panels,
    sentence: texts(".sentence")[0],
    position: texts(".position")[0],
    rule: texts(".rule")[0],
    shapes: texts(".shapes")[0],
    lit: root.querySelectorAll(".edge.on").length,
    focus: texts(".box.focus .name"),
    badges: texts(".badge").filter(Boolean),
  };
}
"""  # noqa: E501


@pytest.fixture(scope="module")
def block():
    return examples.trace_example("se")


@pytest.fixture(scope="module")
def saved(block, tmp_path_factory):
    path = tmp_path_factory.mktemp("pages") / "se.html"
    block.save(path)
    return path.as_uri()


def read(page, number=0):
    return page.locator(".minise-trace").nth(number).evaluate(READ)


def assert_shows(card, values):
    """A card against the array of the trace: each number, as text and in full."""
    numbers = [float(x) for x in values.shown.ravel()]
    assert card["shape"] == str(values.shape)
    assert card["cells"] == [shown(x) for x in numbers]
    exact = numpy.array([float(x) for x in card["exact"]]).astype(values.dtype)
    numpy.testing.assert_array_equal(exact, values.shown.ravel())


def assert_is_forward(said, trace, node):
    (cards,) = (cards for heading, cards in said["panels"].items() if heading == "Forward")
    shown_nodes = [trace.nodes[k] for k in node.inputs] + [node]
    assert [card["heading"] for card in cards] == [shown.name for shown in shown_nodes]
    for card, kept in zip(cards, shown_nodes):
        assert_shows(card, kept.value)
    assert said["rule"] == node.formula
    assert said["lit"] == len(node.inputs)
    assert said["focus"] == [node.name]
    assert said["sentence"].startswith(f"Forward: {node.op} makes {node.name} {node.value.shape}")


def assert_is_backward(said, trace, step):
    source, output = trace.nodes[step.source], trace.nodes[step.op]
    gradient, *operands, result = said["panels"]["This contribution"]
    assert gradient["heading"] == f"∂L/∂{output.name}"
    assert_shows(gradient, step.gradient)
    assert len(operands) == len(step.operands)
    for card, (_, node) in zip(operands, step.operands):
        assert card["heading"] == trace.nodes[node].name
        assert_shows(card, trace.nodes[node].value)
    assert result["heading"] == f"to {source.name}"
    assert_shows(result, step.value)
    assert said["rule"] == step.equation
    assert str(step.gradient.shape) in said["shapes"]
    assert str(step.value.shape) in said["shapes"]
    assert said["lit"] == 1
    assert said["focus"] == [source.name]
    terms = trace.ledger(source.name)
    ledger = said["panels"][f"Ledger of {source.name}: {step.arrival} of {len(terms)} arrived"]
    if len(terms) == 1:
        assert ledger == []
        assert "its only gradient: complete" in said["sentence"]
        return
    *parts, total = ledger
    assert [card["heading"] for card in parts] == [term.role for term in terms]
    for card, term in zip(parts, terms):
        if term.arrival <= step.arrival:
            assert_shows(card, term.value)
        else:
            assert "waiting" in card["classes"]
            assert card["cells"] == []
    assert total["heading"] == ("total" if step.arrival == len(terms) else "so far")
    assert_shows(total, step.total)
    assert f"gradient {step.arrival} of {len(terms)} ({step.role})" in said["sentence"]


def walk(page, trace, number=0):
    """Steps with the keyboard from the first step to the last, reading everything."""
    ops = [node for node in trace.nodes if node.op]
    last = len(ops) + len(trace.contributions) + 1
    said = read(page, number)
    assert said["position"] == f"start · step 0 of {last}"
    for k, node in enumerate(ops, 1):
        page.keyboard.press("ArrowRight")
        said = read(page, number)
        assert said["position"] == f"forward · step {k} of {last}"
        assert_is_forward(said, trace, node)
    for k, step in enumerate(trace.contributions, len(ops) + 1):
        page.keyboard.press("ArrowRight")
        said = read(page, number)
        assert said["position"] == f"backward · step {k} of {last}"
        assert_is_backward(said, trace, step)
    page.keyboard.press("ArrowRight")
    said = read(page, number)
    assert said["sentence"] == "All gradients have arrived."
    cards = said["panels"]["Gradients of the leaves"]
    leaves = [node for node in trace.nodes if not node.op and trace.arrivals[node.index]]
    assert [card["heading"] for card in cards] == [f"{leaf.name}.grad" for leaf in leaves]
    for card, leaf in zip(cards, leaves):
        assert_shows(card, trace.ledger(leaf.name)[-1].total)


# --- a saved page ---------------------------------------------------------------------------------


def test_every_number_on_every_step(open_page, saved, block):
    walk(open_page(saved), block)


def test_home_end_and_back(open_page, saved, block):
    page = open_page(saved)
    page.keyboard.press("End")
    assert read(page)["position"] == "end · step 22 of 22"
    page.keyboard.press("ArrowRight")  # nothing behind the end
    page.keyboard.press("ArrowLeft")
    assert_is_backward(read(page), block, block.contributions[-1])
    page.keyboard.press("Home")
    page.keyboard.press("ArrowLeft")
    assert read(page)["position"] == "start · step 0 of 22"
    assert page.get_by_label("Step back").is_disabled()
    slider = page.get_by_role("slider", name="Step")
    slider.focus()
    page.keyboard.press("ArrowRight")  # the slider has keys of its own: one step, not two
    assert read(page)["position"] == "forward · step 1 of 22"
    slider.fill("9")
    assert_is_backward(read(page), block, block.contributions[0])
    assert slider.get_attribute("aria-valuetext") == "backward · step 9 of 22"


def test_the_first_screen_tells_the_story(open_page, saved, block):
    page = open_page(saved, viewport={"width": 1280, "height": 800})
    said = read(page)
    scale, squeeze, total = said["panels"]["Where several gradients meet"]
    ledger = block.ledger("u")
    assert (scale["heading"], squeeze["heading"]) == ("scale path", "squeeze path")
    assert_shows(scale, ledger[0].value)
    assert_shows(squeeze, ledger[1].value)
    assert_shows(total, ledger[1].total)
    box = page.locator(".card.result").bounding_box()
    assert box["y"] + box["height"] <= 800
    page.get_by_role("button", name="Go to this contribution: squeeze path").click()
    assert_is_backward(read(page), block, ledger[1])


def test_jumping_and_clicking_in_the_graph(open_page, saved, block):
    page = open_page(saved)
    page.locator("g.box", has_text="multiply").click()  # before any step: its gradient
    page.get_by_label("Step on (right arrow)").click()
    page.get_by_label("First step").click()
    page.get_by_label("Jump between").click()  # from the start to the first backward step
    assert_is_backward(read(page), block, block.contributions[0])
    page.get_by_label("Jump between").click()
    assert_is_forward(read(page), block, block.node("y"))
    page.locator("g.box", has_text="relu").click()
    assert_is_forward(read(page), block, block.node("h"))
    page.get_by_label("Jump between").click()
    assert read(page)["focus"] == ["a₁"]
    page.locator("g.box", has_text="fc2.bias").click()
    assert_is_backward(read(page), block, block.ledger("fc2.bias")[0])


def test_predict_before_reveal(open_page, saved, block):
    page = open_page(saved)
    page.get_by_label("Predict first").check()
    page.get_by_role("slider", name="Step").fill("9")
    said = read(page)
    *_, result = said["panels"]["This contribution"]
    assert set(result["cells"]) == {"?"}
    first, _, total = said["panels"]["Ledger of u: 1 of 2 arrived"]
    assert set(first["cells"]) == set(total["cells"]) == {"?"}
    assert not any(first["exact"] + total["exact"])  # no peeping either
    right = float(block.contributions[0].value.shown.ravel()[0])
    page.get_by_label("Element [0, 0, 0, 0] of the contribution will be").fill("0.5")
    page.keyboard.press("Enter")
    said = read(page)
    assert_is_backward(said, block, block.contributions[0])
    verdict = page.locator(".verdict").text_content()
    assert verdict == f"You said 0.500, it is {shown(right)}: off by {shown(abs(0.5 - right))}."
    page.keyboard.press("ArrowRight")  # the keys still work, and the next one is hidden again
    assert page.get_by_role("button", name="Reveal").is_visible()


def test_cutting_each_edge(open_page, saved, block):
    """What the page says about 13 cut edges, against a graph in which that edge does not exist."""
    page = open_page(saved)
    names = ["u", "fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]
    leaves = [minise.tensor(block.node(name).value.shown) for name in names]
    dy = minise.tensor(block.contributions[0].gradient.shown)
    right = dict(zip(names, by_hand(leaves, dy)))
    ops = [node.index for node in block.nodes if node.op]
    slider = page.get_by_role("slider", name="Step")
    for k, step in enumerate(block.contributions, 1 + len(ops)):
        slider.fill(str(k))
        page.get_by_label("Cut this edge").check()
        wrong = dict(zip(names, by_hand(leaves, dy, cut=(ops.index(step.op), step.argument))))
        changed = [n for n in names if not numpy.allclose(wrong[n], right[n], atol=1e-7)]
        panels = read(page)["panels"]
        heading = f"Without this edge: {len(changed)} of 5 gradients of leaves are wrong"
        assert heading in panels, (heading, [*panels])
        cards = panels[heading]
        labels = page.locator(".panel", has_text="Without this edge").locator(".symbol")
        labels = [text for text in labels.all_text_contents() if text != "≠"]
        assert sorted(labels) == sorted(f"{name}.grad" for name in changed)
        for label, good, bad in zip(labels, cards[::2], cards[1::2]):
            name = label.removesuffix(".grad")
            for card, array in ((good, right[name]), (bad, wrong[name])):
                numbers = [float(x) for x in card["exact"]]
                numpy.testing.assert_allclose(numbers, array.ravel(), rtol=1e-5, atol=1e-7)
    assert len(page.locator("g.box.lost").all()) == 1  # the last edge is u's own
    page.get_by_role("combobox", name="Modules").select_option("")  # as another view or step does
    assert not page.get_by_label("Cut this edge").is_checked()


def test_source_lines(open_page, saved, block):
    page = open_page(saved)
    page.get_by_role("slider", name="Step").fill("9")
    details = page.locator("details.panel")
    details.locator("summary").click()
    assert "minise/ops/arithmetic.py:" in details.text_content()
    assert "da = unbroadcast(grad * b, a.shape)" in details.text_content()
    page.keyboard.press("ArrowRight")
    assert page.locator("details pre").first.is_visible()  # stays open


def test_two_steppers_on_one_page(open_page, tmp_path, block):
    x = minise.tensor([[1.5, -2.0]], requires_grad=True)
    y = (x * x).sum()
    other = minise.trace(y)
    path = tmp_path / "two.html"
    path.write_text(f"<!doctype html><meta charset=utf-8>{fragment(block)}{fragment(other)}")
    page = open_page(path.as_uri())
    page.keyboard.press("ArrowRight")  # neither has the focus
    assert read(page, 0)["position"] == "start · step 0 of 22"
    page.get_by_role("slider", name="Step").nth(1).focus()
    walk(page, other, number=1)
    assert read(page, 0)["position"] == "start · step 0 of 22"
    page.get_by_role("slider", name="Step").nth(0).focus()
    page.keyboard.press("End")
    assert read(page, 0)["position"] == "end · step 22 of 22"


def test_numbers_that_are_none_and_no_numbers(open_page, tmp_path):
    x = minise.tensor([[1.0, numpy.nan], [numpy.inf, -numpy.inf]], requires_grad=True)
    empty = minise.zeros(0, 2)
    empty.requires_grad = True
    y = minise.cat((x, empty))
    path = tmp_path / "odd.html"
    trace = minise.trace(y, minise.tensor([[1.0, numpy.nan], [0.0, -numpy.inf]]))
    trace.save(path)
    page = open_page(path.as_uri())
    page.keyboard.press("ArrowRight")
    cards = read(page)["panels"]["Forward"]
    assert cards[0]["cells"] == ["1.000", "NaN", "∞", "−∞"]
    assert cards[1]["cells"] == []
    assert "no elements" in page.locator(".card").nth(1).text_content()
    assert "3 NaN or infinite" in page.locator(".card").nth(0).text_content()
    page.keyboard.press("ArrowRight")
    assert read(page)["panels"]["This contribution"][-1]["cells"] == ["1.000", "NaN", "0", "−∞"]


# --- a network ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    trace = examples.trace_example("se_resnet20", size=8)
    path = tmp_path_factory.mktemp("pages") / "net.html"
    trace.save(path)
    return trace, path.as_uri()


def test_folding(open_page, network):
    trace, address = network
    page = open_page(address)
    select = page.get_by_role("combobox", name="Modules")
    assert len(select.locator("option").all()) == len(views(trace))
    titles = page.locator("g.box .name")
    assert "▸ layer2" in titles.all_text_contents()
    page.locator("g.box", has_text="▸ layer2").click()
    assert select.input_value() == "layer2"
    assert "▸ layer2.0" in titles.all_text_contents()
    select.select_option("layer2.0.se")
    for view in views(trace):
        if view.name == "layer2.0.se":
            assert titles.all_text_contents() == [box.title for box in view.boxes]
    select.select_option("")
    page.keyboard.press("Home")
    page.get_by_role("button", name="Go to this contribution: squeeze path").first.click()
    assert select.input_value() == "layer1.0"  # which is the first to show it
    assert "(squeeze path)" in read(page)["sentence"]
    select.select_option("")
    page.get_by_label("First step").click()
    seen = 0
    while not page.get_by_label("Last step").is_disabled():  # only what crosses a box is stepped
        page.get_by_label("Step on (right arrow)").click()
        seen += 1
        said = read(page)
        assert len(said["focus"]) <= 1
        assert said["lit"] <= 4
    assert 20 < seen < 60 < len(trace.contributions)
    assert said["sentence"] == "All gradients have arrived."


def test_a_whole_network_can_be_walked(open_page, network):
    trace, address = network
    page = open_page(address)
    page.get_by_role("combobox", name="Modules").select_option(EVERYTHING)
    slider = page.get_by_role("slider", name="Step")
    ops = [node for node in trace.nodes if node.op]
    assert slider.get_attribute("max") == str(len(ops) + len(trace.contributions) + 1)
    for k in range(0, len(ops), 7):
        slider.fill(str(k + 1))
        assert_is_forward(read(page), trace, ops[k])
    for k in range(0, len(trace.contributions), 5):
        slider.fill(str(k + 1 + len(ops)))
        assert_is_backward(read(page), trace, trace.contributions[k])
    assert page.get_by_label("Cut this edge").is_disabled()  # too large to try


# --- looks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessibility(open_page, saved, scheme):
    """The rules of axe, at the start, forward, backward, with an edge cut, at the end."""
    page = open_page(saved, color_scheme=scheme)
    slider = page.get_by_role("slider", name="Step")
    for step in ("0", "3", "9", "21", "22"):
        slider.fill(step)
        assert violations(page) == []
    slider.fill("10")
    page.get_by_label("Cut this edge").check()
    page.locator("details.panel summary").click()
    assert violations(page) == []
    page.get_by_label("Predict first").check()
    assert violations(page) == []


def test_axe_notices(open_page, saved):
    page = open_page(saved)
    page.evaluate("""document.querySelector(".minise-trace").shadowRoot
        .querySelector("input[type=range]").removeAttribute("aria-label")""")
    assert [rule for rule, _ in violations(page)] == ["label"]


@pytest.mark.parametrize(
    ("scheme", "background"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(13, 17, 23)")]
)
def test_light_and_dark(open_page, saved, scheme, background):
    page = open_page(saved, color_scheme=scheme)
    host = page.locator(".minise-trace")
    assert host.evaluate("e => getComputedStyle(e).backgroundColor") == background
    # JupyterLab's theme goes before the system's.
    page.evaluate("document.body.dataset.jpThemeLight = 'false'")
    assert host.evaluate("e => getComputedStyle(e).backgroundColor") == "rgb(13, 17, 23)"
    page.evaluate("document.body.dataset.jpThemeLight = 'true'")
    assert host.evaluate("e => getComputedStyle(e).backgroundColor") == "rgb(255, 255, 255)"


@pytest.mark.parametrize(("wish", "animation"), [("no-preference", "flow"), ("reduce", "none")])
def test_reduced_motion(open_page, saved, wish, animation):
    page = open_page(saved, reduced_motion=wish)
    page.get_by_role("slider", name="Step").fill("9")
    edge = page.locator(".edge.on")
    assert edge.evaluate("e => getComputedStyle(e).animationName") == animation


@pytest.mark.parametrize("width", [1280, 820, 390])
def test_nothing_sticks_out(open_page, saved, width, tmp_path):
    page = open_page(saved, viewport={"width": width, "height": 800})
    slider = page.get_by_role("slider", name="Step")
    for step in ("0", "9", "22"):
        slider.fill(step)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        picture = page.screenshot(path=tmp_path / f"{width}-{step}.png")
        assert len(picture) > 10_000


def test_without_scripts(browser, saved, block):
    """What a forge or an untrusted notebook leaves: a picture that loads, sums, and a table."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(saved)
    assert page.locator("h3").text_content() == examples.SE_TITLE
    assert page.get_by_text("[scale path").is_visible()
    image = page.locator("img").bounding_box()
    assert image["height"] > 300
    assert "then sigmoid" in page.locator("img").get_attribute("alt")
    page.locator("summary").click()
    assert len(page.locator("tbody tr").all()) == len(block.contributions)
    context.close()


# --- JupyterLab -----------------------------------------------------------------------------------


def notebook(name, *traces):
    """A notebook with one output for each trace, as `minise.trace(loss)` in a cell leaves it.

    Trust goes by content, so two notebooks have to differ in something.
    """
    cells = [
        {
            "cell_type": "code", "execution_count": k, "id": f"cell{k}", "metadata": {},
            "source": "minise.trace(y)",
            "outputs": [{
                "output_type": "execute_result", "execution_count": k, "metadata": {},
                "data": trace._repr_mimebundle_(),
            }],
        }
        for k, trace in enumerate(traces, 1)
    ]  # fmt: skip
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {
        "cells": cells,
        "metadata": {"kernelspec": kernel, "title": name},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


@pytest.fixture(scope="module")
def small():
    x = minise.tensor([[1.5, -2.0]], requires_grad=True)
    return minise.trace((F.relu(x) * x).sum(), names={"x": x})


@pytest.fixture(scope="module")
def lab(tmp_path_factory, block, small):
    """The address of a JupyterLab with trusted.ipynb and untrusted.ipynb."""
    pytest.importorskip("jupyterlab", reason="JupyterLab is not installed")
    folder = tmp_path_factory.mktemp("lab") / "work"
    folder.mkdir()
    for name in ("trusted", "untrusted"):
        (folder / f"{name}.ipynb").write_text(json.dumps(notebook(name, block, small)))
    with jupyter_lab(folder, trust=["trusted.ipynb"]) as address:
        yield address


def test_jupyterlab_trusted(open_page, lab, block, small):
    page = open_page(f"{lab}/lab/tree/trusted.ipynb?reset")
    sliders = page.get_by_role("slider", name="Step")
    sliders.nth(0).wait_for(timeout=60_000)
    sliders.nth(0).focus()
    walk(page, block)
    sliders.nth(1).focus()
    walk(page, small, number=1)
    # The keys of a notebook in command mode (here: "delete this cell") do not get through.
    page.keyboard.press("d")
    page.keyboard.press("d")
    assert len(page.locator(".minise-trace").all()) == 2


def test_jupyterlab_untrusted(open_page, lab, block):
    page = open_page(f"{lab}/lab/tree/untrusted.ipynb?reset")
    output = page.locator(".jp-OutputArea-output", has_text=examples.SE_TITLE).first
    output.wait_for(timeout=60_000)
    assert output.get_by_text("[scale path").is_visible()
    assert output.locator("img").bounding_box()["height"] > 300
    output.locator("summary").click()
    assert len(output.locator("tbody tr").all()) == len(block.contributions)
    assert page.get_by_role("slider", name="Step").count() == 0
    assert output.locator("script, style, svg").count() == 0
