"""The page: what it is made of, without a browser. tests/browser looks at it in one."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser

import numpy
import pytest

import minise
from minise import cli
from minise.tracing import examples
from minise.tracing.stepper import fragment, resource
from minise.tracing.text import shown


def data_of(html):
    (text,) = re.findall(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)
    return json.loads(text)


def array_of(data, dtype):
    shape = data.get("corner", data["shape"])
    return numpy.array([float(x) for x in data["values"]]).astype(dtype).reshape(shape)


@pytest.fixture(scope="module")
def block():
    return examples.trace_example("se")


@pytest.fixture(scope="module")
def network():
    return examples.trace_example("se_resnet20", size=16)


@pytest.mark.parametrize("which", ["block", "network"])
def test_every_number_in_the_page_is_one_of_the_trace(which, request):
    trace = request.getfixturevalue(which)
    data = data_of(fragment(trace))
    pairs = [(node["value"], kept.value) for node, kept in zip(data["nodes"], trace.nodes)]
    for step, kept in zip(data["steps"], trace.contributions):
        pairs += [
            (step["gradient"], kept.gradient), (step["value"], kept.value),
            (step["total"], kept.total),
        ]  # fmt: skip
        if kept.cut is not None:
            assert [*step["cut"]] == [str(node) for node in kept.cut]
            pairs += [*zip(step["cut"].values(), kept.cut.values())]
    for number, values in pairs:
        array = data["arrays"][number]
        assert tuple(array["shape"]) == values.shape
        numpy.testing.assert_array_equal(array_of(array, values.dtype), values.shown)
        if not values.whole:
            assert array["stats"] == [values.minimum, values.maximum, values.norm]
    assert {number for number, _ in pairs} == set(range(len(data["arrays"])))
    assert len(data["steps"]) == len(trace.contributions)


def test_not_finite_and_not_there():
    x = minise.tensor([1.0, math.nan, math.inf, -math.inf], requires_grad=True)
    data = data_of(fragment(minise.trace(x.reshape(2, 2), minise.ones(2, 2))))
    array = data["arrays"][data["nodes"][0]["value"]]
    assert array["values"] == [1.0, "NaN", "Infinity", "-Infinity"]
    assert array["nonfinite"] == 3
    empty = minise.zeros(0, 3)
    empty.requires_grad = True
    data = data_of(fragment(minise.trace(empty.sum())))
    assert data["arrays"][data["nodes"][0]["value"]] == {"shape": [0, 3], "values": []}


def test_sizes(block, network):
    assert len((resource("stepper.js") + resource("stepper.css")).encode()) <= 25_000
    assert len(fragment(block).encode()) < 100_000
    assert len(fragment(network).encode()) < 3_000_000


class Outline(HTMLParser):
    """Which elements there are, where addresses lead, and the text outside of scripts."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.addresses, self.ids, self.text = [], [], [], ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.ids += [value for name, value in attributes if name == "id"]
        self.addresses += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data):
        if self.tags[-1] not in ("script", "style"):
            self.text += data


def test_nothing_is_fetched(block):
    html = fragment(block)
    outline = Outline(html)
    assert all(address.startswith("data:") for address in outline.addresses)
    assert not outline.ids
    addresses = set(re.findall(r"https?://[^\"'\s)]+", html))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name, not an address


def test_it_can_be_read_without_scripts_styles_and_svg(block):
    html = fragment(block)
    stripped = re.sub(r"<(script|style|svg)\b.*?</\1>", "", html, flags=re.DOTALL)
    outline = Outline(stripped)
    assert {"img", "details", "table"} <= set(outline.tags)
    assert not {"script", "style", "svg"} & set(outline.tags)
    for text in (examples.SE_TITLE, examples.SE_LEAD, "scale path, 1 of 2", "squeeze path, 2 of 2"):
        assert text in outline.text
    assert stripped.count("<tr>") == 1 + len(block.contributions)
    assert 'alt="Graph of y: adaptive_avg_pool2d, then reshape, then linear' in stripped


def test_names_cannot_break_out_of_the_page():
    x = minise.tensor([1.0], requires_grad=True)
    name = '</script><img src=x onerror="alert(1)"><!--'
    html = fragment(minise.trace(x * 2, names={name: x}))
    assert name not in html
    assert Outline(html).tags.count("img") == 1
    assert data_of(html)["nodes"][0]["name"] == name


def test_the_same_trace_is_the_same_page():
    assert fragment(examples.trace_example("se")) == fragment(examples.trace_example("se"))


def test_no_path_of_this_machine(block, network):
    for trace in (block, network):
        places = {source["place"] for source in data_of(fragment(trace))["sources"]}
        assert places
        assert all(place.startswith("minise/") for place in places)


def test_saving_replaces_the_file_and_leaves_no_other(tmp_path, block):
    path = tmp_path / "se.html"
    path.write_text("old")
    block.save(path)
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert fragment(block) in text
    assert [*tmp_path.iterdir()] == [path]
    with pytest.raises(OSError, match="nowhere"):
        block.save(tmp_path / "nowhere" / "se.html")


def test_in_a_notebook(block):
    bundle = block._repr_mimebundle_(include=None, exclude=None)
    assert bundle == {"text/html": fragment(block), "text/plain": str(block)}


def test_the_story_of_the_example(block):
    scale, squeeze = block.ledger("u")
    assert (scale.role, squeeze.role) == ("scale path", "squeeze path")
    assert {"u", "z", "a₁", "h", "a₂", "s", "y"} <= {node.name for node in block.nodes}
    per_channel = squeeze.value.shown.reshape(4, -1)
    assert (per_channel == per_channel[:, :1]).all()
    assert squeeze.value.norm > 0.2 * scale.value.norm  # both paths can be seen


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (0.0, "0"), (-0.0, "0"), (0.12345, "0.123"), (-1.5, "−1.500"), (12.345, "12.35"),
        (123.456, "123.5"), (1234.5, "1.2e3"), (-0.00012, "−1.2e-4"), (3e-12, "3.0e-12"),
        (math.nan, "NaN"), (math.inf, "∞"), (-math.inf, "−∞"), (None, "none"),
    ],
)  # fmt: skip
def test_numbers_as_they_are_shown(x, text):
    assert shown(x) == text


# --- minise step ----------------------------------------------------------------------------------


def test_minise_step_prints_the_se_block(capsys):
    assert cli.main(["step"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Trace of y (1, 4, 3, 2): 8 ops, 13 contributions")
    assert "u.grad = [scale path " in out


def test_minise_step_writes_a_page(tmp_path, capsys):
    path = tmp_path / "net.html"
    assert cli.main(["step", "se_resnet20", "--size", "16", "--seed", "3", "-o", str(path)]) == 0
    assert f"{path}: open it in a browser" in capsys.readouterr().out
    assert "Backprop through se_resnet20" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resnet21"], "unknown network 'resnet21'"),
        (["se", "--size", "0"], "size must be at least 1, got 0"),
        (["se", "-o", "nowhere/se.html"], "nowhere"),
    ],
)
def test_minise_step_refuses(arguments, message, capsys):
    assert cli.main(["step", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("minise step: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err
