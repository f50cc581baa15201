"""Where boxes go: layers, crossings, coordinates."""

from __future__ import annotations

import random
from itertools import combinations, pairwise, permutations, product

import pytest

from minise.tracing.layout import Layered, assign_layers, closest, count_crossings, layout

CHAIN = [(0, 1), (1, 2), (2, 3)]
DIAMOND = [(0, 1), (0, 2), (1, 3), (2, 3)]
# pool, reshape, linear (with weight and bias), relu, linear, sigmoid, reshape, multiply
SE_BLOCK = [(0, 5), (5, 6), (6, 7), (1, 7), (2, 7), (7, 8), (8, 9), (3, 9), (4, 9), (9, 10),
            (10, 11), (0, 12), (11, 12)]  # fmt: skip
# two residual blocks: convolution, convolution, addition with the input
RESIDUAL = [(0, 1), (1, 2), (0, 3), (2, 3), (3, 4), (4, 5), (3, 6), (5, 6)]


def square_boxes(edges):
    return [(50.0, 20.0)] * (max(max(edge) for edge in edges) + 1)


def bipartite(left, right):
    return [(a, left + b) for a in range(left) for b in range(right)]


def random_graph(stream, layers=(3, 4, 3), edges=11):
    """Edges lead from one layer to the next or over one; every box has at least one."""
    starts = [sum(layers[:i]) for i in range(len(layers))]
    boxes = [range(start, start + n) for start, n in zip(starts, layers)]
    found = {(a, stream.choice(boxes[1])) for a in boxes[0]}
    found |= {(a, stream.choice(boxes[2])) for a in boxes[1]}
    found |= {(stream.choice(boxes[0]), b) for b in boxes[1]}  # no box sinks
    found |= {(stream.choice(boxes[1]), b) for b in boxes[2]}
    while len(found) < edges:
        above = stream.choice([0, 1])
        found.add((stream.choice(boxes[above]), stream.choice(boxes[stream.choice([1, 2])])))
        found = {(a, b) for a, b in found if a < b and not any({a, b} <= set(r) for r in boxes)}
    return sorted(found)


def fewest_crossings(edges):
    """Over all orders of all layers, dummies included."""
    count = max(max(edge) for edge in edges) + 1
    graph = Layered.build(assign_layers(count, edges), edges)
    return min(
        sum(naive_crossings(upper, lower, graph.below) for upper, lower in pairwise(order))
        for order in product(*(permutations(layer) for layer in graph.layers))
    )


def naive_crossings(upper, lower, below):
    segments = [(i, lower.index(q)) for i, p in enumerate(upper) for q in below[p]]
    return sum((a - c) * (b - d) < 0 for (a, b), (c, d) in combinations(segments, 2))


@pytest.mark.parametrize(
    ("edges", "layers"),
    [
        (CHAIN, [0, 1, 2, 3]),
        (DIAMOND, [0, 1, 1, 2]),
        (RESIDUAL, [0, 1, 2, 3, 4, 5, 6]),
        ([(0, 1), (1, 3), (2, 3)], [0, 1, 1, 2]),  # a leaf sinks to where it is used
        ([(0, 1), (1, 2), (0, 2)], [0, 1, 2]),
    ],
)
def test_layers(edges, layers):
    assert assign_layers(len(layers), edges) == layers


@pytest.mark.parametrize("edges", [CHAIN, DIAMOND, SE_BLOCK, RESIDUAL, [(0, 1), (0, 1)]])
def test_planar_graphs_have_no_crossings(edges):
    assert layout(square_boxes(edges), edges).crossings == 0


@pytest.mark.parametrize(("left", "right"), [(2, 2), (3, 3), (2, 5), (4, 3)])
def test_complete_bipartite_graphs(left, right):
    """Whatever the order: each pair above crosses once with each pair below."""
    edges = bipartite(left, right)
    expected = left * (left - 1) // 2 * (right * (right - 1) // 2)
    assert layout(square_boxes(edges), edges).crossings == expected


def test_crossings_are_counted():
    stream = random.Random(0)
    for _ in range(100):
        upper, lower = [*range(6)], [*range(6, 12)]
        below = [stream.sample(lower, stream.randint(0, 4)) for _ in upper]
        stream.shuffle(upper)
        stream.shuffle(lower)
        assert count_crossings(upper, lower, below) == naive_crossings(upper, lower, below)


def test_crossings_are_close_to_the_fewest():
    """Brute force over all orders of small graphs: seldom above, and then by little."""
    stream = random.Random(1)
    found, best = [], []
    for _ in range(40):
        edges = random_graph(stream)
        found.append(layout(square_boxes(edges), edges).crossings)
        best.append(fewest_crossings(edges))
    assert all(ours >= fewest for ours, fewest in zip(found, best))
    assert sum(ours > fewest for ours, fewest in zip(found, best)) <= 4
    assert sum(found) <= 1.1 * sum(best)


def test_boxes_keep_apart_and_edges_point_down():
    stream = random.Random(2)
    count = 60
    edges = sorted({tuple(sorted(stream.sample(range(count), 2))) for _ in range(90)})
    sizes = [(stream.uniform(20, 120), stream.uniform(20, 40)) for _ in range(count)]
    placed = layout(sizes, edges)
    boxes = [
        (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
        for (x, y), (w, h) in zip(placed.centres, sizes)
    ]
    for a, b in combinations(boxes, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
    assert all(x0 >= -1e-6 and x1 <= placed.width + 1e-6 for x0, _, x1, _ in boxes)
    assert all(y0 >= -1e-6 and y1 <= placed.height + 1e-6 for _, y0, _, y1 in boxes)
    for (a, b), route in zip(edges, placed.routes):
        assert all(y0 < y1 for (_, y0), (_, y1) in pairwise(route))
        assert boxes[a][0] <= route[0][0] <= boxes[a][2]
        assert route[0][1] == pytest.approx(boxes[a][3])
        assert boxes[b][0] <= route[-1][0] <= boxes[b][2]
        assert route[-1][1] == pytest.approx(boxes[b][1])


def test_a_chain_is_straight_and_a_long_edge_too():
    x = [x for x, _ in layout(square_boxes(CHAIN), CHAIN).centres]
    assert x == pytest.approx([x[0]] * 4)
    placed = layout(square_boxes(SE_BLOCK), SE_BLOCK)
    (route,) = (route for edge, route in zip(SE_BLOCK, placed.routes) if edge == (0, 12))
    inner = [x for x, _ in route[1:-1]]
    assert inner == pytest.approx([inner[0]] * 14)  # in and out of seven layers


def test_edges_between_the_same_boxes_are_drawn_apart():
    first, second = layout([(50, 20), (50, 20)], [(0, 1), (0, 1)]).routes
    assert first[0] != second[0]
    assert first[-1] != second[-1]


def test_the_same_graph_is_drawn_the_same_way():
    stream = random.Random(3)
    for _ in range(5):
        edges = random_graph(stream)
        assert layout(square_boxes(edges), edges) == layout(square_boxes(edges), edges)


def test_nothing_to_draw():
    assert layout([], []).centres == []
    assert layout([(30.0, 10.0)], []) == layout([(30.0, 10.0)], [])


@pytest.mark.parametrize("edge", [(1, 0), (0, 0), (0, 2), (-1, 1)])
def test_bad_edges_are_refused(edge):
    with pytest.raises(ValueError, match="does not lead from a box to a later one"):
        layout([(10, 10), (10, 10)], [edge])


def test_closest_is_the_best_place():
    """Checked against small steps of every point: none brings the sum down."""
    stream = random.Random(4)
    for _ in range(50):
        wanted = [stream.uniform(0, 10) for _ in range(6)]
        weight = [stream.uniform(0.5, 5) for _ in range(6)]
        apart = [stream.uniform(0, 3) for _ in range(5)]
        x = closest(wanted, weight, apart)

        def cost(points, wanted=wanted, weight=weight):
            return sum(w * (p - q) ** 2 for p, q, w in zip(points, wanted, weight))

        def allowed(points, apart=apart):
            return all(b - a >= gap - 1e-9 for (a, b), gap in zip(pairwise(points), apart))

        assert allowed(x)
        for first in range(6):
            for last in range(first, 6):
                for step in (-1e-3, 1e-3):
                    moved = [v + step * (first <= i <= last) for i, v in enumerate(x)]
                    assert not allowed(moved) or cost(moved) >= cost(x) - 1e-9
