"""Where to draw the boxes of a graph: in layers, from top to bottom, with few crossings.

The method is that of Sugiyama, Tagawa, Toda (1981):

1. each box gets a layer: one below the lowest box that it depends on;
2. an edge that passes through layers gets an invisible box (a dummy) in each of them;
3. boxes of a layer change places, towards the average place of their neighbours in the layer above,
   then below, and so on; the order with the fewest crossings is kept;
4. each box moves sideways towards its neighbours as far as the order allows.

Nothing is random: the same graph is always drawn the same way.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf

SWEEPS = 12  # up and down; more change nothing any more
GAP = 18.0  # between neighbours in a layer
LAYER_GAP = 34.0  # between layers

Edge = tuple[int, int]
Point = tuple[float, float]


@dataclass(frozen=True)
class Layout:
    """Boxes are numbered; y grows downwards.

    centres  of the boxes
    routes   for each edge the points that it passes through, from box to box: first and last are
             on the border of the boxes
    width, height  of the picture
    crossings      how often two edges cross between two layers
    """

    centres: list[Point]
    routes: list[list[Point]]
    width: float
    height: float
    crossings: int


def layout(sizes: Sequence[tuple[float, float]], edges: Sequence[Edge]) -> Layout:
    """Place boxes of the given (width, height) so that all edges point down.

    edges  pairs (from, to) of box numbers with from < to; the same pair may occur several times

    Raises ValueError for an edge that is not of this kind.
    """
    for a, b in edges:
        if not 0 <= a < b < len(sizes):
            raise ValueError(f"layout: edge ({a}, {b}) does not lead from a box to a later one")
    layer_of = assign_layers(len(sizes), edges)
    graph = Layered.build(layer_of, edges)
    graph.reduce_crossings()
    return graph.coordinates(sizes, edges)


def assign_layers(count: int, edges: Sequence[Edge]) -> list[int]:
    """Longest path from the top; then boxes that depend on nothing sink to where they are used."""
    layer = [0] * count
    for a, b in sorted(edges, key=lambda edge: edge[1]):  # all edges into a come before those out
        layer[b] = max(layer[b], layer[a] + 1)
    has_input = {b for _, b in edges}
    for a in range(count):
        uses = [layer[b] for source, b in edges if source == a]
        if a not in has_input and uses:
            layer[a] = min(uses) - 1
    return layer


@dataclass
class Layered:
    """A graph whose edges all lead from one layer to the next: boxes and dummies are its points.

    layers  the points of each layer, from left to right, and
    layer_of  the layer of each point
    below   for each point those that it leads to, and
    above   those that lead to it
    chains  for each edge of the original graph the points that it passes through
    boxes   how many points are boxes: point i < boxes is box i
    """

    layers: list[list[int]]
    layer_of: list[int]
    above: list[list[int]]
    below: list[list[int]]
    chains: dict[Edge, list[int]]
    boxes: int

    @staticmethod
    def build(layer_of: list[int], edges: Sequence[Edge]) -> Layered:
        """Boxes by their layers; an edge over several layers gets a dummy point in each between."""
        boxes, layer_of = len(layer_of), list(layer_of)
        layers: list[list[int]] = [[] for _ in range(max(layer_of, default=-1) + 1)]
        for box, layer in enumerate(layer_of):
            layers[layer].append(box)
        chains: dict[Edge, list[int]] = {}
        points = boxes
        for a, b in dict.fromkeys(edges):
            dummies = list(range(points, points + layer_of[b] - layer_of[a] - 1))
            points += len(dummies)
            for layer, dummy in enumerate(dummies, layer_of[a] + 1):
                layers[layer].append(dummy)
                layer_of.append(layer)
            chains[a, b] = [a, *dummies, b]
        above: list[list[int]] = [[] for _ in range(points)]
        below: list[list[int]] = [[] for _ in range(points)]
        for chain in chains.values():
            for p, q in pairwise(chain):
                below[p].append(q)
                above[q].append(p)
        return Layered(layers, layer_of, above, below, chains, boxes)

    # Order

    def reduce_crossings(self) -> None:
        """Sweeps down and up; the best order that was met stays."""
        best, fewest = [list(layer) for layer in self.layers], self.crossings()
        for sweep in range(SWEEPS):
            if fewest == 0:
                break
            down = sweep % 2 == 0
            layers = self.layers if down else self.layers[::-1]
            for fixed, free in pairwise(layers):
                if sweep % 4 > 1:  # so that ties are broken the other way
                    free.reverse()
                self.sort_towards(fixed, free, self.above if down else self.below)
            while self.swap_neighbours():
                pass
            if self.crossings() < fewest:
                best, fewest = [list(layer) for layer in self.layers], self.crossings()
        self.layers = best

    def sort_towards(self, fixed: list[int], free: list[int], side: list[list[int]]) -> None:
        """Order `free` by the average place of each point's neighbours in `fixed`."""
        place = {point: i for i, point in enumerate(fixed)}
        own = {point: i for i, point in enumerate(free)}

        def barycentre(point: int) -> float:
            neighbours = side[point]
            if not neighbours:  # stays where it is
                return own[point] * len(fixed) / len(free)
            return sum(place[n] for n in neighbours) / len(neighbours)

        free[:] = sorted(free, key=barycentre)

    def swap_neighbours(self) -> bool:
        """Exchange two points that stand side by side wherever that saves crossings.

        Returns whether there were any.
        """
        swapped = False
        for i, layer in enumerate(self.layers):
            places = [
                {point: k for k, point in enumerate(self.layers[j])} if 0 <= j < len(self.layers)
                else {} for j in (i - 1, i + 1)
            ]  # fmt: skip
            improved = True
            while improved:
                improved = False
                for k in range(len(layer) - 1):
                    p, q = layer[k], layer[k + 1]
                    change = 0
                    for side, place in zip((self.above, self.below), places):
                        ps, qs = [place[n] for n in side[p]], [place[n] for n in side[q]]
                        change += sum((b > a) - (b < a) for a in ps for b in qs)
                    if change < 0:
                        layer[k], layer[k + 1] = q, p
                        improved = swapped = True
        return swapped

    def crossings(self) -> int:
        """How many pairs of edges cross."""
        return sum(
            count_crossings(upper, lower, self.below) for upper, lower in pairwise(self.layers)
        )

    # Coordinates

    def coordinates(self, sizes: Sequence[tuple[float, float]], edges: Sequence[Edge]) -> Layout:
        """Where each box stands and each edge runs, for boxes of these (width, height)."""
        dummies = len(self.above) - self.boxes
        width = [w for w, _ in sizes] + [0.0] * dummies
        height = [h for _, h in sizes] + [0.0] * dummies
        x = self.place_sideways(width)
        left = min((x[p] - width[p] / 2 for p in range(len(x))), default=0.0)
        x = [value - left for value in x]
        y, bottom = [0.0] * len(x), -LAYER_GAP
        for layer in self.layers:
            top = bottom + LAYER_GAP
            bottom = top + max(height[point] for point in layer)
            for point in layer:
                y[point] = (top + bottom) / 2
                if point >= self.boxes:  # a long edge runs straight down past the boxes
                    height[point] = bottom - top
        ports = self.ports(x, [w for w, _ in sizes], edges)
        routes = []
        for number, edge in enumerate(edges):
            ends = [
                (x[p] + ports.get((number, p), 0.0), y[p] + side * height[p] / 2)
                for p in self.chains[edge]
                for side in (-1, 1)
            ]
            routes.append(ends[1:-1])  # from the bottom of one box to the top of the other
        return Layout(
            centres=[(x[i], y[i]) for i in range(self.boxes)],
            routes=routes,
            width=max((x[p] + width[p] / 2 for p in range(len(x))), default=0.0),
            height=max(bottom, 0.0),
            crossings=self.crossings(),
        )

    def place_sideways(self, width: list[float]) -> list[float]:
        """x of every point: layer after layer as close to the neighbours as the order allows.

        The dummies of an edge pull each other into one vertical line. Boxes are pulled by boxes
        that are no leaves, where there are such: a chain of ops becomes a straight line.
        """
        x = [0.0] * len(width)
        for layer in self.layers:
            edge = 0.0
            for point in layer:
                x[point] = edge + width[point] / 2
                edge += width[point] + GAP
        lines = [chain[1:-1] for chain in self.chains.values()]
        line_of = {point: line for line in lines for point in line}
        for sweep in range(2 * SWEEPS):
            down = sweep % 2 == 0
            for layer in self.layers if down else self.layers[::-1]:
                wanted, weight = [], []
                for point in layer:
                    if point in line_of:
                        pull, strength = line_of[point], 20.0
                    else:
                        pull = self.above[point] if down else self.below[point]
                        pull = pull or self.below[point] or self.above[point] or [point]
                        pull = [n for n in pull if n < self.boxes and self.above[n]] or pull
                        strength = 1.0 if self.above[point] else 0.001
                    wanted.append(sum(x[n] for n in pull) / len(pull))
                    weight.append(strength)
                apart = [(width[p] + width[q]) / 2 + GAP for p, q in pairwise(layer)]
                for point, value in zip(layer, closest(wanted, weight, apart)):
                    x[point] = value
        for line in lines:
            self.straighten(line, x, width)
        return x

    def straighten(self, line: list[int], x: list[float], width: list[float]) -> None:
        """Give the dummies of an edge one x, if there is one at which they touch nothing."""
        low, high = -inf, inf
        for point in line:
            layer = self.layers[self.layer_of[point]]
            place = layer.index(point)
            if place > 0:
                low = max(low, x[layer[place - 1]] + width[layer[place - 1]] / 2 + GAP)
            if place + 1 < len(layer):
                high = min(high, x[layer[place + 1]] - width[layer[place + 1]] / 2 - GAP)
        if line and low <= high:
            middle = min(max(sum(x[point] for point in line) / len(line), low), high)
            for point in line:
                x[point] = middle

    def ports(
        self, x: list[float], width: Sequence[float], edges: Sequence[Edge]
    ) -> dict[tuple[int, int], float]:
        """How far from the middle of a box an edge leaves or enters it: side by side, in order."""
        ends: dict[tuple[int, bool], list[tuple[float, int]]] = {}
        for number, (a, b) in enumerate(edges):
            chain = self.chains[a, b]
            ends.setdefault((a, True), []).append((x[chain[1]], number))
            ends.setdefault((b, False), []).append((x[chain[-2]], number))
        offsets = {}
        for (box, _), found in ends.items():
            step = min(16.0, width[box] / (len(found) + 1))
            for k, (_, number) in enumerate(sorted(found)):
                offsets[number, box] = (k - (len(found) - 1) / 2) * step
        return offsets


def count_crossings(upper: list[int], lower: list[int], below: list[list[int]]) -> int:
    """Pairs of edges between two layers that cross: those whose ends are in opposite order."""
    place = {point: i for i, point in enumerate(lower)}
    seen: list[int] = []  # places of the ends of all edges from further left, sorted
    crossings = 0
    for point in upper:
        targets = sorted(place[n] for n in below[point])
        crossings += sum(len(seen) - bisect_right(seen, target) for target in targets)
        for target in targets:
            insort(seen, target)
    return crossings


def closest(wanted: list[float], weight: list[float], apart: list[float]) -> list[float]:
    """The x that minimise Σ weight · (x - wanted)² under x[i + 1] - x[i] >= apart[i].

    Isotonic regression by pooling: what would overlap is put side by side and moves as one.
    """
    shift = [0.0]
    for distance in apart:
        shift.append(shift[-1] + distance)
    blocks: list[list[float]] = []  # [mean of (wanted - shift), weight, how many]
    for value, mass, offset in zip(wanted, weight, shift):
        blocks.append([value - offset, mass, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            value, mass, count = blocks.pop()
            last = blocks[-1]
            last[0] = (last[0] * last[1] + value * mass) / (last[1] + mass)
            last[1] += mass
            last[2] += count
    means = [mean for mean, _, count in blocks for _ in range(int(count))]
    return [mean + offset for mean, offset in zip(means, shift)]
