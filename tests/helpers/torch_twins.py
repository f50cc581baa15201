"""SE networks in plain PyTorch, to hold minise against; needs torch.

Written from the papers and not from minise: there is one kind of residual unit, a list of
convolutions with a shortcut around it, and every network is a list of such lists. Only the names of
the weights are minise's, so that a state dict fits both.
"""

import torch
from torch import nn
from torch.nn import functional as F

GATES = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    # Not F.hardsigmoid, whose derivative on the CPU is the float32 number nearest to 1/6.
    "hardsigmoid": lambda x: (x / 6 + 0.5).clamp(0, 1),
}


class SE(nn.Module):
    """Hu et al., section 3: s = σ(W2 · ReLU(W1 · z)), y = s · u."""

    def __init__(self, channels, reduction=16, *, hidden=None, bias=True, squeeze="avg",
                 gate="sigmoid"):  # fmt: skip
        super().__init__()
        hidden = hidden or channels // reduction
        self.fc1 = nn.Linear(channels, hidden, bias)
        self.fc2 = nn.Linear(hidden, channels, bias)
        self.largest, self.sigma = squeeze == "max", GATES[gate]

    def forward(self, u):
        z = F.adaptive_max_pool2d(u, 1).flatten(1) if self.largest else u.mean((2, 3))  # (N, C)
        s = self.sigma(self.fc2(torch.relu(self.fc1(z))))  # (N, C)
        return s[:, :, None, None] * u


class ZeroPad(nn.Module):
    """He et al., shortcut A: skip pixels, and let the new channels be zero."""

    def __init__(self, new_channels, stride):
        super().__init__()
        self.new_channels, self.stride = new_channels, stride

    def forward(self, x):
        x = x[:, :, :: self.stride, :: self.stride]
        new = x.new_zeros(x.shape[0], self.new_channels, *x.shape[2:])
        return torch.cat([x, new], 1)


def conv(in_channels, out_channels, kernel, stride=1, groups=1):
    return nn.Conv2d(
        in_channels, out_channels, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False
    )


class Unit(nn.Module):
    """y = x + f(x), f being `layers`: (channels, kernel, stride, groups) of each convolution.

    `place` says where SE is (figure 7 of the journal paper), None that there is none. With
    `preactivation` BatchNorm and ReLU stand ahead of each convolution instead of behind it.
    """

    def __init__(self, channels, layers, *, shortcut, kernel, preactivation, place, se):
        super().__init__()
        self.preactivation, self.place, self.depth = preactivation, place, len(layers)
        self.first_3x3 = [layer[1] for layer in layers].index(3) + 1
        width, stride = channels, 1
        for number, (out, size, step, groups) in enumerate(layers, 1):
            setattr(self, f"bn{number}", nn.BatchNorm2d(width if preactivation else out))
            setattr(self, f"conv{number}", conv(width, out, size, step, groups))
            width, stride = out, stride * step
        self.downsample = None
        if stride > 1 or width != channels:
            if shortcut == "A":
                self.downsample = ZeroPad(width - channels, stride)
            elif preactivation:
                self.downsample = conv(channels, width, kernel, stride)
            else:
                projection = conv(channels, width, kernel, stride)
                self.downsample = nn.Sequential(projection, nn.BatchNorm2d(width))
        if place is not None:
            gated = {"pre": channels, "inside": layers[self.first_3x3 - 1][0]}
            self.se = SE(gated.get(place, width), **se)
        self.out_channels = width

    def gate(self, place, x):
        return self.se(x) if place == self.place else x

    def layer(self, number):
        return getattr(self, f"conv{number}"), getattr(self, f"bn{number}")

    def forward(self, x):
        return self.preactivated(x) if self.preactivation else self.postactivated(x)

    def postactivated(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        u = self.gate("pre", x)
        for number in range(1, self.depth + 1):
            convolution, norm = self.layer(number)
            u = norm(convolution(u))
            if number == self.first_3x3:
                u = self.gate("inside", u)
            if number < self.depth:
                u = torch.relu(u)
        y = torch.relu(self.gate("standard", u) + self.gate("identity", shortcut))
        return self.gate("post", y)

    def preactivated(self, x):
        u = torch.relu(self.bn1(x))
        shortcut = x if self.downsample is None else self.downsample(u)
        u = self.gate("pre", u)
        for number in range(1, self.depth + 1):
            convolution, norm = self.layer(number)
            if number > 1:
                u = torch.relu(norm(u))
            u = convolution(u)
            if number == self.first_3x3:
                u = self.gate("inside", u)
        return self.gate("post", self.gate("standard", u) + self.gate("identity", shortcut))


# The convolutions of a unit, (channels, kernel, stride, groups), from its planes and stride.
UNITS = {
    "basic": lambda n, stride: [(n, 3, stride, 1), (n, 3, 1, 1)],
    "bottleneck": lambda n, stride: [(n, 1, 1, 1), (n, 3, stride, 1), (4 * n, 1, 1, 1)],
    "caffe": lambda n, stride: [(n, 1, stride, 1), (n, 3, 1, 1), (4 * n, 1, 1, 1)],
    "resnext": lambda n, stride: [(2 * n, 1, 1, 1), (2 * n, 3, stride, 32), (4 * n, 1, 1, 1)],
    "senet": lambda n, stride: [(2 * n, 1, 1, 1), (4 * n, 3, stride, 64), (4 * n, 1, 1, 1)],
}


class Net(nn.Module):
    """Stem, stages of residual units, mean over the image, classifier.

    unit      one of UNITS
    stages    (planes, number of units, stride of the first unit) of each
    stem      (channels, kernel, stride) of each convolution
    pool      what follows the stem
    kernel    of the projection on the shortcut, from the second stage on
    se_stages  those that have SE, counted from 1
    se        the arguments of SE
    """

    def __init__(self, unit, stages, classes, *, stem=((16, 3, 1),), pool=None, kernel=1,
                 dropout=0.0, shortcut="B", preactivation=False, placement="standard",
                 se_stages=(1, 2, 3, 4), **se):  # fmt: skip
        super().__init__()
        self.pool, self.dropout, self.preactivation = pool, dropout, preactivation
        self.stem_depth, self.depth = len(stem), len(stages)
        channels = 3
        for number, (width, size, stride) in enumerate(stem, 1):
            setattr(self, f"conv{number}", conv(channels, width, size, stride))
            if not preactivation:
                setattr(self, f"bn{number}", nn.BatchNorm2d(width))
            channels = width
        for number, (planes, count, stride) in enumerate(stages, 1):
            units = []
            for index in range(count):
                units.append(
                    Unit(
                        channels,
                        UNITS[unit](planes, stride if index == 0 else 1),
                        shortcut=shortcut,
                        kernel=kernel if number > 1 else 1,
                        preactivation=preactivation,
                        place=placement if number in se_stages else None,
                        se=se,
                    )
                )
                channels = units[-1].out_channels
            setattr(self, f"layer{number}", nn.Sequential(*units))
        if preactivation:
            self.bn = nn.BatchNorm2d(channels)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x):
        for number in range(1, self.stem_depth + 1):
            x = getattr(self, f"conv{number}")(x)
            if not self.preactivation:
                x = torch.relu(getattr(self, f"bn{number}")(x))
        x = x if self.pool is None else self.pool(x)
        for number in range(1, self.depth + 1):
            x = getattr(self, f"layer{number}")(x)
        if self.preactivation:
            x = torch.relu(self.bn(x))
        return self.fc(F.dropout(x.mean((2, 3)), self.dropout, self.training))


def cifar(unit, blocks, classes=10, planes=(16, 32, 64), **options):
    """He et al. 2016, section 4.2; with preactivation=True "Identity Mappings"."""
    stages = [(n, blocks, 1 if index == 0 else 2) for index, n in enumerate(planes)]
    return Net(unit, stages, classes, **options)


def imagenet(unit, counts=(3, 4, 6, 3), classes=1000, variant="torch", **options):
    """He et al. 2016, table 1; "caffe" strides in a bottleneck's first 1×1 and pools unpadded."""
    if variant == "caffe":
        unit = "caffe" if unit == "bottleneck" else unit
        pool = nn.MaxPool2d(3, 2, ceil_mode=True)
    else:
        pool = nn.MaxPool2d(3, 2, padding=1)
    stages = [(n, c, 1 if n == 64 else 2) for n, c in zip((64, 128, 256, 512), counts)]
    options = {"stem": [(64, 7, 2)], **options}
    return Net(unit, stages, classes, pool=pool, **options)


def senet154(counts=(3, 8, 36, 3), **options):
    """Hu et al., appendix: three 3×3 as stem, 3×3 projections, 64 groups, dropout 0.2."""
    stem = [(64, 3, 2), (64, 3, 1), (128, 3, 1)]
    return imagenet("senet", counts, stem=stem, kernel=3, dropout=0.2, **options)


def load(make, state):
    """The module that `make()` builds, holding copies of the arrays of `state` by name.

    It is built without memory of its own first: drawing weights takes longer than copying them.
    """
    with torch.device("meta"):
        twin = make()
    twin.load_state_dict({key: torch.tensor(array) for key, array in state.items()}, assign=True)
    return twin
