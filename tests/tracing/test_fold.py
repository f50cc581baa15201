"""Which boxes a graph is drawn with."""

from __future__ import annotations

import pytest

import minise
from minise import functional as F
from minise import models, nn
from minise.tracing import examples
from minise.tracing.fold import EVERYTHING, views


@pytest.fixture(scope="module")
def network():
    net = models.create("se_resnet20", num_classes=3)
    images = minise.randn(1, 3, 8, 8)
    loss = F.cross_entropy(net(images), minise.tensor([1]))
    return minise.trace(loss)


def by_name(trace):
    return {view.name: view for view in views(trace)}


def ops(trace, box):
    return sum(bool(trace.nodes[node].op) for node in box.nodes)


def test_a_small_graph_is_shown_open_first():
    trace = examples.trace_example("se")
    first, *others = views(trace)
    assert first.name == EVERYTHING
    assert len(first.boxes) == len(trace.nodes) == 13
    assert [view.name for view in others] == ["", "fc1", "fc2"]


@pytest.mark.parametrize("name", ["", "fc1", "fc2", EVERYTHING])
def test_no_view_of_an_se_block_has_crossings(name):
    assert by_name(examples.trace_example("se"))[name].layout.crossings == 0


def test_a_large_graph_is_shown_folded_first(network):
    first = views(network)[0]
    assert first.name == ""
    titles = [box.title for box in first.boxes]
    assert {"images", "▸ conv1", "▸ layer1", "▸ layer2", "▸ layer3", "▸ fc"} <= set(titles)
    assert len(titles) < 20


def test_every_node_is_in_one_box_and_every_edge_between_boxes_is_drawn(network):
    for view in views(network):
        box_of = {node: k for k, box in enumerate(view.boxes) for node in box.nodes}
        assert sum(len(box.nodes) for box in view.boxes) == len(network.nodes) == len(box_of)
        assert set(view.edges) == {
            (node.index, argument)
            for node in network.nodes
            for argument, source in enumerate(node.inputs)
            if box_of[source] != box_of[node.index]
        }


def test_opening_a_module_opens_those_around_it(network):
    view = by_name(network)["layer2.0.se"]
    modules = {box.module for box in view.boxes}
    assert {"layer1", "layer3", "layer2.0.conv1", "layer2.0.se.fc1", "layer2.1"} <= modules
    assert not {"layer2", "layer2.0", "layer2.0.se"} & modules


def test_parameters_are_folded_with_their_module(network):
    view = by_name(network)["layer1"]
    (box,) = (box for box in view.boxes if box.module == "layer1.0")
    assert network.node("layer1.0.se.fc1.weight").index in box.nodes
    assert box.subtitle == f"{network.modules['layer1.0']}, {ops(network, box)} ops"


def test_a_module_that_is_called_twice_makes_two_boxes():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 3)

        def forward(self, x):
            return self.fc(F.relu(self.fc(x)))

    net = Net()
    x = minise.zeros(2, 3)
    x.requires_grad = True
    view = by_name(minise.trace(net(x).sum()))[""]
    titles = [box.title for box in view.boxes]
    # The weights are used in both calls, so they stay outside.
    assert titles == ["fc.weight", "fc.bias", "x", "linear₁", "relu", "linear₂", "sum"]
    assert sum(len(box.nodes) for box in view.boxes) == 7


def test_interleaved_calls_do_not_make_a_circle():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.twice = nn.Sequential(nn.Linear(3, 3), nn.Sigmoid())

        def forward(self, x):
            return self.twice(self.twice(x) * 2)

    x = minise.zeros(2, 3)
    x.requires_grad = True
    net = Net()
    view = by_name(minise.trace(net(x).sum()))[""]
    assert [box.title for box in view.boxes if box.module] == ["▸ twice", "▸ twice"]


def test_a_graph_that_is_too_big_says_how_to_fold_it(tmp_path):
    y = minise.tensor(1.0, requires_grad=True)
    for _ in range(300):
        y = y.tanh()
    trace = minise.trace(y)
    with pytest.raises(ValueError, match=r"301 boxes .* at most 250 .* inside nn\.Modules"):
        trace.save(tmp_path / "big.html")
    assert not list(tmp_path.iterdir())
    shown = trace._repr_mimebundle_()
    assert [*shown] == ["text/plain"]
    assert "inside nn.Modules" in shown["text/plain"]


def test_folding_makes_a_big_graph_fit():
    chain = nn.Sequential(*(nn.Sequential(*(nn.Tanh() for _ in range(30))) for _ in range(10)))
    x = minise.tensor(0.5, requires_grad=True)
    found = by_name(minise.trace(chain(x)))
    assert len(found[""].boxes) == 11
    assert len(found["3"].boxes) == 40
    assert EVERYTHING not in found  # 301 boxes
