"""Shapes, indexing, joining and padding against PyTorch."""

from __future__ import annotations

import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import numpy
import parity
from hypothesis import given
from parity import booleans, case, integers, values

SHAPES = {
    "reshape": (lambda F, x: x.reshape(6, 4), (2, 3, 4)),
    "reshape tuple": (lambda F, x: x.reshape((4, 6)), (2, 3, 4)),
    "reshape -1": (lambda F, x: x.reshape(2, -1), (2, 3, 4)),
    "reshape to a row": (lambda F, x: x.reshape(-1), (2, 3)),
    "reshape to no axes": (lambda F, x: x.reshape(()), (1, 1)),
    "reshape from no axes": (lambda F, x: x.reshape(1, 1), ()),
    "reshape empty": (lambda F, x: x.reshape(0, 2), (3, 0)),
    "reshape empty -1": (lambda F, x: x.reshape(-1, 2), (3, 0)),
    "reshape transposed": (lambda F, x: x.transpose(0, 1).reshape(-1), (2, 3)),
    "flatten": (lambda F, x: x.flatten(), (2, 3, 4)),
    "flatten 1": (lambda F, x: x.flatten(1), (2, 3, 4, 2)),
    "flatten 1 -2": (lambda F, x: x.flatten(1, -2), (2, 3, 4, 2)),
    "flatten one axis": (lambda F, x: x.flatten(start_dim=1, end_dim=1), (2, 3)),
    "flatten no axes": (lambda F, x: x.flatten(), ()),
    "flatten no rows": (lambda F, x: x.flatten(1), (0, 3, 2)),
    "transpose": (lambda F, x: x.transpose(0, 2), (2, 3, 4)),
    "transpose negative": (lambda F, x: x.transpose(-1, -2), (2, 3, 4)),
    "transpose itself": (lambda F, x: x.transpose(1, 1), (2, 3)),
    "transpose no axes": (lambda F, x: x.transpose(0, -1), ()),
    "T": (lambda F, x: x.T, (2, 3)),
    "permute": (lambda F, x: x.permute(2, 0, 1), (2, 3, 4)),
    "permute tuple": (lambda F, x: x.permute((0, 2, 3, 1)), (2, 3, 4, 2)),
    "permute negative": (lambda F, x: x.permute(-1, 0, -2), (2, 3, 4)),
    "permute no axes": (lambda F, x: x.permute(()), ()),
    "squeeze": (lambda F, x: x.squeeze(), (1, 2, 1, 3)),
    "squeeze 0": (lambda F, x: x.squeeze(0), (1, 2, 1)),
    "squeeze -1": (lambda F, x: x.squeeze(dim=-1), (1, 2, 1)),
    "squeeze longer": (lambda F, x: x.squeeze(1), (1, 2, 1)),
    "squeeze several": (lambda F, x: x.squeeze((0, 1)), (1, 2, 1)),
    "squeeze none": (lambda F, x: x.squeeze(()), (1, 2, 1)),
    "squeeze no axes": (lambda F, x: x.squeeze(0), ()),
    "unsqueeze": (lambda F, x: x.unsqueeze(1), (2, 3)),
    "unsqueeze -1": (lambda F, x: x.unsqueeze(-1), (2, 3)),
    "unsqueeze no axes": (lambda F, x: x.unsqueeze(0), ()),
    "expand": (lambda F, x: x.expand(2, 3, 4), (2, 1, 4)),
    "expand tuple": (lambda F, x: x.expand((2, 3)), (1, 1)),
    "expand -1": (lambda F, x: x.expand(-1, 3), (2, 1)),
    "expand new axes": (lambda F, x: x.expand(2, -1, -1), (3, 1)),
    "expand no axes": (lambda F, x: x.expand(2, 2), ()),
    "expand to nothing": (lambda F, x: x.expand(0, 3), (1, 3)),
    "broadcast_to": (lambda F, x: x.broadcast_to((2, 3)), (3,)),
    "broadcast_to same": (lambda F, x: x.broadcast_to((2, 3)), (2, 3)),
    "detour": (lambda F, x: x.permute(1, 2, 0).flatten(1).unsqueeze(0).transpose(0, 2), (2, 3, 4)),
}

INDEXING = {
    "x[0]": (lambda F, x: x[0], (3, 4)),
    "x[-1]": (lambda F, x: x[-1], (3, 4)),
    "x[1, 2]": (lambda F, x: x[1, 2], (3, 4)),
    "x[-1, -2]": (lambda F, x: x[-1, -2], (3, 4)),
    "x[:, 1]": (lambda F, x: x[:, 1], (3, 4)),
    "x[1:3]": (lambda F, x: x[1:3], (5, 2)),
    "x[:-1, 1:]": (lambda F, x: x[:-1, 1:], (3, 4)),
    "x[::2, ::3]": (lambda F, x: x[::2, ::3], (5, 7)),
    "x[1:10]": (lambda F, x: x[1:10], (3,)),
    "x[2:1]": (lambda F, x: x[2:1], (3, 2)),
    "x[...]": (lambda F, x: x[...], (2, 3)),
    "x[..., 0]": (lambda F, x: x[..., 0], (2, 3, 4)),
    "x[0, ..., 1]": (lambda F, x: x[0, ..., 1], (2, 3, 4, 2)),
    "x[None]": (lambda F, x: x[None], (2, 3)),
    "x[:, None]": (lambda F, x: x[:, None], (2, 3)),
    "x[..., None]": (lambda F, x: x[..., None], (2, 3)),
    "x[None, 0, None]": (lambda F, x: x[None, 0, None], (2, 3)),
    "x[()]": (lambda F, x: x[()], (2, 3)),
    "x[...] no axes": (lambda F, x: x[...], ()),
    "x[None] no axes": (lambda F, x: x[None], ()),
    "x[[0, 2]]": (lambda F, x: x[[0, 2]], (3, 4)),
    "x[[0, 2, 0, 0]]": (lambda F, x: x[[0, 2, 0, 0]], (3, 4)),
    "x[[-1, 0]]": (lambda F, x: x[[-1, 0]], (3, 4)),
    "x[:, [1, 1]]": (lambda F, x: x[:, [1, 1]], (3, 4)),
    "x[[0, 1], [2, 3]]": (lambda F, x: x[[0, 1], [2, 3]], (3, 4)),
    "x[[0, 0], [2, 2]]": (lambda F, x: x[[0, 0], [2, 2]], (3, 4)),
    "x[[[0], [2]], [1, 3]]": (lambda F, x: x[[[0], [2]], [1, 3]], (3, 4)),
    "x[[0, 1], :, [1, 0]]": (lambda F, x: x[[0, 1], :, [1, 0]], (2, 3, 2)),
    "x[:, [0, 1], [1, 0]]": (lambda F, x: x[:, [0, 1], [1, 0]], (2, 3, 2)),
    "x[[0, 1], None, [1, 0]]": (lambda F, x: x[[0, 1], None, [1, 0]], (2, 3)),
    "x[1, [0, 2]]": (lambda F, x: x[1, [0, 2]], (3, 4)),
    "x[[1, 0], 1:, None]": (lambda F, x: x[[1, 0], 1:, None], (3, 4)),
    "x[..., [0, 0, 1]]": (lambda F, x: x[..., [0, 0, 1]], (2, 3, 2)),
    "x[[True, False, True]]": (lambda F, x: x[[True, False, True]], (3, 2)),
    "x[x > 0]": (lambda F, x: x[x > 0], (3, 4)),
    "x[x > 99]": (lambda F, x: x[x > 99], (3, 4)),
    "x[0][0]": (lambda F, x: x[0][0], (3, 4)),
    "iteration": (lambda F, x: tuple(row * i for i, row in enumerate(x)), (3, 4)),
}

PADDING = {
    "1": ((1, 1), (2, 3)),
    "one side": ((2, 0), (2, 3)),
    "two axes": ((1, 2, 0, 1), (2, 3)),
    "images": ((1, 1, 2, 2), (2, 2, 3, 3)),
    "all axes": ((1, 0, 0, 2, 1, 1), (2, 2, 2)),
    "nothing": ((), (2, 3)),
    "zeros": ((0, 0), (2, 3)),
    "crop": ((-1, -1), (2, 4)),
    "crop and pad": ((-1, 2, 1, -1), (3, 4)),
    "crop all": ((-1, -2), (2, 3)),
}
BORDERS = {
    "width 1": ((1, 1, 1, 1), (2, 2, 3, 4)),
    "uneven": ((2, 0, 0, 1), (1, 2, 3, 4)),
    "widest": ((3, 3, 2, 2), (1, 1, 3, 4)),
    "one axis": ((2, 1), (2, 3, 4)),
    "(C, H, W)": ((1, 2, 1, 0), (2, 3, 4)),
    "zeros": ((0, 0, 0, 0), (1, 1, 2, 2)),
    "3-D": ((1, 1, 1, 0, 0, 1), (1, 1, 2, 3, 2)),
}


def pick(F, x, i):
    return x[i]


CASES = [
    *(case(name, f, shape) for name, (f, shape) in SHAPES.items()),
    *(case(name, f, shape) for name, (f, shape) in INDEXING.items()),
    case("x[::-1]", lambda F, x: x[::-1], (4, 2), theirs=lambda F, x: x.flip(0)),
    case("x[:, 3:0:-2]", lambda F, x: x[:, 3:0:-2], (2, 4), theirs=lambda F, x: x[:, [3, 1]]),
    case("x[indices]", pick, (4, 3), values([3, 0, 3, -1])),
    case("x[table of indices]", pick, (4, 2), integers(-4, 4, 3, 5)),
    case("x[index without axes]", pick, (4, 2), values(2)),
    case("x[no indices]", pick, (4, 2), values([], "int64")),
    case("x[int32]", pick, (4, 2), values([1, 1, 2], "int32")),
    case("x[rows mask]", pick, (4, 2), booleans(4)),
    case("x[mask]", pick, (4, 2), booleans(4, 2)),
    case("x[:, mask]", lambda F, x, m: x[:, m], (2, 4), booleans(4)),
    case("x[mask, indices]", lambda F, x, m, i: x[m, i], (3, 4), values([True, False, True]),
         values([1, 1])),
    case("x[mask, 0]", lambda F, x, m: x[m, 0], (3, 4), booleans(3)),
    case("x[i, j]", lambda F, x, i, j: x[i, j], (3, 4), integers(0, 3, 5, 1), integers(0, 4, 2)),
    case("x[arange, labels]", lambda F, x, i, t: x[i, t], (3, 4), values([0, 1, 2]),
         integers(0, 4, 3)),
    case("x[..., i, :]", lambda F, x, i: x[..., i, :], (2, 4, 2), integers(0, 4, 6)),
    case("integers[indices]", pick, integers(0, 9, 4, 2), values([3, 0, 3])),
    *(
        case(f"cat dim {dim}", lambda F, a, b, d=dim: F.cat([a, b], d), (2, 3, 2), (2, 3, 2))
        for dim in (0, 1, 2, -1, -3)
    ),
    case("cat of 3 lengths", lambda F, a, b, c: F.cat((a, b, c), 1), (2, 1), (2, 3), (2, 2)),
    case("cat of one", lambda F, a: F.cat([a]), (2, 3)),
    case("cat with itself", lambda F, a: F.cat([a, a], dim=1), (2, 3)),
    case("cat of an empty part", lambda F, a, b: F.cat([a, b]), (0, 3), (2, 3)),
    case("cat constant", lambda F, a, b: F.cat([a, b]), (1, 3), parity.constant((2, 3))),
    *(
        case(f"stack dim {dim}", lambda F, a, b, d=dim: F.stack([a, b], d), (2, 3), (2, 3))
        for dim in (0, 1, 2, -1, -2)
    ),
    case("stack no axes", lambda F, a, b: F.stack([a, b]), (), ()),
    case("stack of one", lambda F, a: F.stack([a], dim=1), (2,)),
    *(case(f"pad {name}", lambda F, x, w=w: F.pad(x, w), s) for name, (w, s) in PADDING.items()),
    case("pad value", lambda F, x: F.pad(x, (1, 2), value=2.5), (2, 3)),
    case("pad -inf", lambda F, x: F.pad(x, (1, 2), "constant", -float("inf")), (2, 3)),
    case("pad list", lambda F, x: F.pad(x, [1, 0], mode="constant", value=1), (2, 3)),
    case("pad integers", lambda F, x: F.pad(x, (1, 2), value=7), integers(0, 5, 2, 3)),
    case("pad no rows", lambda F, x: F.pad(x, (1, 2)), (0, 3)),
    *(
        case(f"pad {mode} {name}", lambda F, x, w=w, m=mode: F.pad(x, w, mode=m), shape)
        for mode in ("reflect", "replicate")
        for name, (w, shape) in BORDERS.items()
    ),
    case("pad replicate far", lambda F, x: F.pad(x, (5, 4, 3, 6), mode="replicate"), (1, 2, 2, 1)),
]  # fmt: skip


@parity.every(CASES)
def test_parity(case, way):
    parity.check(case, way)


@given(st.data())
def test_any_index(data):
    """Integers, slices, None, `...` and arrays of integers. PyTorch has no negative steps."""
    shape = data.draw(arrays.array_shapes(min_dims=1, max_dims=4, max_side=4))
    key = data.draw(arrays.basic_indices(shape, allow_newaxis=True, max_dims=6))
    parts = key if isinstance(key, tuple) else (key,)
    key = tuple(upwards(part) if isinstance(part, slice) else part for part in parts)
    parity.check_live(case(f"{shape} {key}", lambda F, x: x[key], shape))


def upwards(part):
    return slice(part.start, part.stop, None if part.step is None else abs(part.step))


@given(st.data())
def test_any_integer_arrays(data):
    shape = data.draw(arrays.array_shapes(min_dims=1, max_dims=3, max_side=4))
    key = data.draw(arrays.integer_array_indices(shape, dtype=numpy.int64))
    chosen = [values(part) for part in key]
    parity.check_live(case(f"{shape} {key}", lambda F, x, *i: x[tuple(i)], shape, *chosen))
