"""Lesson 09: where SE goes in a residual block, and how many parameters it brings.

What is expected of a placement is what minise's own block gives, `models/blocks.py`, on the
learner's branch, shortcut and SE. A test holds that block against PyTorch.
"""

from __future__ import annotations

from typing import Any

import numpy

from minise import Tensor
from minise import functional as F
from minise.models.blocks import BasicBlock
from minise.models.options import Options
from minise.nn import SEBlock
from minise.teach import Check, Exercise, Mistake, Point

Array = numpy.ndarray

PLACEMENTS = ("standard", "pre", "post", "identity")


def make_block(channels: int, stride: int, seed: int) -> BasicBlock:
    """A block of 3×3 convolutions with SE (r = 2), in float64, ready for evaluation.

    With stride 2 its shortcut is a convolution, with stride 1 it is x itself.
    """
    options = Options(se=True, reduction=2)
    block = BasicBlock(channels, channels, stride, 1, options).double().eval()
    stream = numpy.random.RandomState(seed)
    state = {name: stream.standard_normal(t.shape) for name, t in block.state_dict().items()}
    positive = {name: numpy.abs(array) for name, array in state.items() if "running_var" in name}
    block.load_state_dict({**state, **positive})
    return block


def on_arrays(function: Any) -> Any:
    """The same function for NumPy arrays."""
    return lambda x: function(Tensor(x)).numpy()


def point(channels: int, stride: int, seed: int) -> Point:
    """x, the parts of a block as functions of arrays, and y for every placement."""
    block = make_block(channels, stride, seed)
    x = numpy.random.RandomState(seed + 1).standard_normal((2, channels, 6, 6))
    parts = {"branch": block.branch, "shortcut": block.downsample, "se": block.se, "relu": F.relu}
    values = {"x": x, **{name: on_arrays(part) for name, part in parts.items()}}
    for placement in PLACEMENTS:
        block.placement = placement
        values[f"y_{placement}"] = block(Tensor(x)).numpy()
    return values


def counted(widths: list[int], r: int) -> Point:
    """The parameters of SE blocks of these widths, counted one by one."""
    blocks = [SEBlock(width, r) for width in widths]
    count = sum(parameter.size for block in blocks for parameter in block.parameters())
    return {"widths": numpy.array(widths), "r": r, "count": count}


# --- the mistakes ---------------------------------------------------------------------------------

NO_SHORTCUT = Mistake(
    "The shortcut is x itself here. Where a block changes the shape it is not: call shortcut(x).",
    lambda x, branch, shortcut, se, relu: relu(se(branch(x)) + x),
)
PLAIN = Mistake(
    "There is no SE in it: that is the plain residual block.",
    lambda x, branch, shortcut, se, relu: relu(branch(x) + shortcut(x)),
)
IDENTITY = Mistake(
    "The gate sits on the shortcut, so the branch is not gated at all.",
    lambda x, branch, shortcut, se, relu: relu(branch(x) + se(shortcut(x))),
)
BOTH = Mistake(
    "The sum is gated, shortcut included. Gate the branch before it is added.",
    lambda x, branch, shortcut, se, relu: relu(se(branch(x) + shortcut(x))),
)
NO_RELU = "The last ReLU is missing: it follows the addition."

STANDARD = [
    PLAIN,
    NO_SHORTCUT,
    IDENTITY,
    BOTH,
    Mistake(NO_RELU, lambda x, branch, shortcut, se, relu: se(branch(x)) + shortcut(x)),
    Mistake(
        "A ReLU too many: SE follows the branch's last BatchNorm directly, so that a block can "
        "subtract as well as add.",
        lambda x, branch, shortcut, se, relu: relu(se(relu(branch(x))) + shortcut(x)),
    ),
]

PRE = [
    PLAIN,
    Mistake(
        "The shortcut is gated too. Only what the branch sees goes through SE.",
        lambda x, branch, shortcut, se, relu: relu(branch(se(x)) + shortcut(se(x))),
    ),
    Mistake(
        "SE sits behind the branch; pre means ahead of it.",
        lambda x, branch, shortcut, se, relu: relu(se(branch(x)) + shortcut(x)),
    ),
    Mistake(NO_RELU, lambda x, branch, shortcut, se, relu: branch(se(x)) + shortcut(x)),
]

POST = [
    PLAIN,
    Mistake(
        "SE comes before the ReLU here. Post means behind everything, the ReLU included.",
        lambda x, branch, shortcut, se, relu: relu(se(branch(x) + shortcut(x))),
    ),
    Mistake(
        "The ReLU is missing between the addition and SE.",
        lambda x, branch, shortcut, se, relu: se(branch(x) + shortcut(x)),
    ),
    Mistake(
        "SE sits behind the branch; post means behind the sum and its ReLU.",
        lambda x, branch, shortcut, se, relu: relu(se(branch(x)) + shortcut(x)),
    ),
]

ON_IDENTITY = [
    PLAIN,
    Mistake(
        "That is the standard place. Here the branch stays as it is, and SE is on the shortcut.",
        lambda x, branch, shortcut, se, relu: relu(se(branch(x)) + shortcut(x)),
    ),
    Mistake(
        "SE comes ahead of the shortcut. It gates what the shortcut gives: se(shortcut(x)).",
        lambda x, branch, shortcut, se, relu: relu(branch(x) + shortcut(se(x))),
    ),
    Mistake(NO_RELU, lambda x, branch, shortcut, se, relu: branch(x) + se(shortcut(x))),
]

SE_PARAMETERS = [
    Mistake(
        "The biases are missing: J for the first layer and C for the second.",
        lambda widths, r: (2 * widths * (widths // r)).sum(),
    ),
    Mistake(
        "There are two weight matrices, C·J and J·C.",
        lambda widths, r: (widths * (widths // r) + widths // r + widths).sum(),
    ),
    Mistake(
        "The biases are C and J numbers: a layer has one per output, not per input and output.",
        lambda widths, r: (2 * widths * (widths // r) + 2 * (widths // r + widths)).sum(),
    ),
    Mistake(
        "That is one number per block. Add the blocks up.",
        lambda widths, r: 2 * widths * (widths // r) + widths // r + widths,
    ),
    Mistake(
        "Each distinct width was counted once. Every block has an SE of its own.",
        lambda widths, r: sum(2 * w * (w // r) + w // r + w for w in numpy.unique(widths)),
    ),
]

RESNET20 = [16] * 3 + [32] * 3 + [64] * 3
RESNET50 = [256] * 3 + [512] * 4 + [1024] * 6 + [2048] * 3

INPUTS = "x branch shortcut se relu"

check = Check(
    {
        "a block with stride 2": point(channels=4, stride=2, seed=901),
        "a block with stride 1": point(channels=6, stride=1, seed=903),
        "the widths of SE-ResNet-20": counted(RESNET20, r=16),
        "the widths of SE-ResNet-50": counted(RESNET50, r=16),
    },
    [
        Exercise("standard", INPUTS, "y_standard", STANDARD),
        Exercise("pre", INPUTS, "y_pre", PRE),
        Exercise("post", INPUTS, "y_post", POST),
        Exercise("identity", INPUTS, "y_identity", ON_IDENTITY),
        Exercise("se_parameters", "widths r", "count", SE_PARAMETERS),
    ],
)
