"""Every network by name: parameters, multiply-adds, a forward, and the choices that are refused.

The figures are those of the papers, of timm and of osmr/imgclsmob, counted without running minise.
Multiply-adds are counted as `models.summary` does: convolutions, linear layers and SE's scale; the
paper's GFLOPs are such multiply-adds, of nets that stride in the first 1×1 (variant="caffe").
"""

import fresh_weights
import numpy
import pytest

import minise
from minise import models, nn
from minise.models.blocks import PreActBlock, ResidualBlock


@pytest.fixture
def cheap_weights(monkeypatch):
    fresh_weights.repeat(monkeypatch)


@pytest.fixture
def no_weights(monkeypatch):
    fresh_weights.leave_out(monkeypatch)


def parameters(net):
    return sum(parameter.size for parameter in net.parameters())


# --- parameters -----------------------------------------------------------------------------------

NO_BIAS = {"se_bias": False}
PARAMETERS = [
    ("resnet18", {}, 11_689_512),
    ("resnet34", {}, 21_797_672),
    ("resnet50", {}, 25_557_032),
    ("resnet101", {}, 44_549_160),
    ("resnet152", {}, 60_192_808),
    ("resnext50_32x4d", {}, 25_028_904),
    ("resnext101_32x4d", {}, 44_177_704),
    ("bn_inception", {}, 11_285_224),
    ("se_resnet18", {}, 11_778_592),
    ("se_resnet34", {}, 21_958_868),
    ("se_resnet50", {}, 28_088_024),
    ("se_resnet101", {}, 49_326_872),
    ("se_resnet152", {}, 66_821_848),
    ("se_resnext50_32x4d", {}, 27_559_896),
    ("se_resnext101_32x4d", {}, 48_955_416),
    ("senet154", {}, 115_088_984),
    ("se_bn_inception", {}, 11_931_622),
    ("se_resnet18", NO_BIAS, 11_776_552),
    ("se_resnet34", NO_BIAS, 21_954_856),
    ("se_resnet50", NO_BIAS, 28_071_976),
    ("se_resnet101", NO_BIAS, 49_292_328),
    ("se_resnet152", NO_BIAS, 66_770_984),
    ("se_resnext50_32x4d", NO_BIAS, 27_543_848),
    ("se_resnext101_32x4d", NO_BIAS, 48_920_872),
    ("se_resnet18", {"se_width": "timm"}, 11_779_624),
    ("se_resnet34", {"se_width": "timm"}, 21_960_416),
    ("resnet20", {"shortcut": "A"}, 269_722),
    ("resnet32", {"shortcut": "A"}, 464_154),
    ("resnet44", {"shortcut": "A"}, 658_586),
    ("resnet56", {"shortcut": "A"}, 853_018),
    ("resnet110", {"shortcut": "A"}, 1_727_962),
    ("resnet8", {}, 78_042),
    ("resnet20", {}, 272_474),
    ("resnet32", {}, 466_906),
    ("resnet44", {}, 661_338),
    ("resnet56", {}, 855_770),
    ("resnet110", {}, 1_730_714),
    ("resnet164", {}, 1_704_154),
    ("se_resnet20", {}, 274_847),
    ("se_resnet32", {}, 470_861),
    ("se_resnet44", {}, 666_875),
    ("se_resnet56", {}, 862_889),
    ("se_resnet110", {}, 1_744_952),
    ("se_resnet164", {}, 1_906_258),
    ("se_resnet20", NO_BIAS, 274_490),
    ("se_resnet32", NO_BIAS, 470_266),
    ("se_resnet44", NO_BIAS, 666_042),
    ("se_resnet56", NO_BIAS, 861_818),
    ("se_resnet110", NO_BIAS, 1_742_810),
    ("se_resnet164", NO_BIAS, 1_897_690),
    ("wrn_16_8", {}, 10_961_370),
    ("se_wrn_16_8", {}, 11_049_290),
    ("se_wrn_16_8", NO_BIAS, 11_047_386),
    ("preact_resnet164", {}, 1_703_258),
]


@pytest.mark.parametrize(("name", "choices", "expected"), PARAMETERS)
def test_parameters_to_the_unit(name, choices, expected, no_weights):
    assert parameters(models.create(name, **choices)) == expected


def test_variants_have_the_same_parameters(no_weights):
    for name in ("se_resnet50", "se_resnext50_32x4d"):
        assert parameters(models.create(name, variant="caffe")) == parameters(models.create(name))


def test_se_adds_its_published_parameters_to_resnet50(no_weights):
    se = [m for m in models.create("se_resnet50").modules() if isinstance(m, nn.SEBlock)]
    assert len(se) == 16
    assert sum(map(parameters, se)) == 28_088_024 - 25_557_032 == 2_530_992
    # Section 3.2: 2/r · Σ N_s · C_s², which leaves the biases out.
    formula = 2 / 16 * sum(n * c**2 for n, c in ((3, 256), (4, 512), (6, 1024), (3, 2048)))
    without = models.create("se_resnet50", se_bias=False)
    assert parameters(without) - 25_557_032 == formula == 2_514_944


def test_hidden_units_of_se_bn_inception(no_weights):
    net = models.create("se_bn_inception")
    hidden = [m.fc1.out_features for m in net.modules() if isinstance(m, nn.SEBlock)]
    assert hidden == [16, 20, 36, 36, 36, 38, 38, 66, 64, 64]


def test_hidden_units_on_cifar(no_weights):
    blocks = [m for m in models.create("se_resnet20").modules() if isinstance(m, nn.SEBlock)]
    assert [block.fc1.out_features for block in blocks] == [1] * 3 + [2] * 3 + [4] * 3


# --- multiply-adds --------------------------------------------------------------------------------

# Table 2 of the paper, 10⁹ per image of 224×224.
GFLOPS = {
    "resnet50": 3.86,
    "resnet101": 7.58,
    "resnet152": 11.30,
    "resnext50_32x4d": 4.24,
    "resnext101_32x4d": 7.99,
    "vgg16_bn": 15.47,
    "bn_inception": 2.03,
    "mobilenet": 0.569,
    "se_resnet50": 3.87,
    "se_resnet101": 7.60,
    "se_resnet152": 11.32,
    "se_resnext50_32x4d": 4.25,
    "se_resnext101_32x4d": 8.00,
    "se_vgg16_bn": 15.48,
    "se_bn_inception": 2.04,
    "se_mobilenet": 0.572,
}


def multiply_adds(name, variant="caffe"):
    return models.summary(models.create(name, variant=variant), (3, 224, 224)).macs


@pytest.mark.parametrize("name", GFLOPS)
def test_multiply_adds_are_the_papers_within_a_percent(name, no_weights):
    assert multiply_adds(name) / 1e9 == pytest.approx(GFLOPS[name], rel=0.01)


def test_what_se_costs_on_resnet50(no_weights):
    """The paper's +0.26 % is 3.87 / 3.86, both rounded; unrounded it is +0.21 %."""
    plain, se = multiply_adds("resnet50"), multiply_adds("se_resnet50")
    assert (plain, se) == (3_857_973_248, 3_866_007_552)
    assert (round(plain / 1e9, 2), round(se / 1e9, 2)) == (3.86, 3.87)
    assert round(100 * (3.87 / 3.86 - 1), 2) == 0.26
    assert round(100 * (se / plain - 1), 3) == 0.208
    # All of it: two matrices per block, and one multiplication per element of the block's output.
    shapes = ((3, 256, 56), (4, 512, 28), (6, 1024, 14), (3, 2048, 7))
    assert se - plain == sum(n * (2 * c * (c // 16) + c * side**2) for n, c, side in shapes)


def test_stride_in_the_3x3_costs_more(no_weights):
    """4.09 · 10⁹ is what PyTorch's ResNet-50 is known for."""
    assert round(multiply_adds("resnet50", "torch") / 1e9, 2) == 4.09


# --- every name -----------------------------------------------------------------------------------

# parameters, and multiply-adds for one image of 32×32 (CIFAR) or 224×224, variant="torch"
RECORDED = {
    "resnet8": (78_042, 12_501_632),
    "resnet20": (272_474, 40_813_184),
    "resnet32": (466_906, 69_124_736),
    "resnet44": (661_338, 97_436_288),
    "resnet56": (855_770, 125_747_840),
    "resnet110": (1_730_714, 253_149_824),
    "resnet164": (1_704_154, 247_646_720),
    "preact_resnet110": (1_730_522, 253_149_824),
    "preact_resnet164": (1_703_258, 247_646_720),
    "wrn_16_8": (10_961_370, 1_548_145_664),
    "resnet18": (11_689_512, 1_814_073_344),
    "resnet34": (21_797_672, 3_663_761_408),
    "resnet50": (25_557_032, 4_089_184_256),
    "resnet101": (44_549_160, 7_801_405_440),
    "resnet152": (60_192_808, 11_513_626_624),
    "resnext50_32x4d": (25_028_904, 4_230_479_872),
    "resnext101_32x4d": (44_177_704, 7_969_996_800),
    "bn_inception": (11_285_224, 2_032_600_064),
    "vgg16_bn": (138_365_992, 15_470_264_320),
    "mobilenet": (4_231_976, 568_740_352),
    "se_resnet8": (78_833, 12_530_976),
    "se_resnet20": (274_847, 40_901_216),
    "se_resnet32": (470_861, 69_271_456),
    "se_resnet44": (666_875, 97_641_696),
    "se_resnet56": (862_889, 126_011_936),
    "se_resnet110": (1_744_952, 253_678_016),
    "se_resnet164": (1_906_258, 249_904_640),
    "se_preact_resnet110": (1_744_760, 253_678_016),
    "se_preact_resnet164": (1_905_362, 249_904_640),
    "se_wrn_16_8": (11_049_290, 1_548_690_432),
    "se_resnet18": (11_778_592, 1_814_913_024),
    "se_resnet34": (21_958_868, 3_665_298_432),
    "se_resnet50": (28_088_024, 4_097_218_560),
    "se_resnet101": (49_326_872, 7_815_079_936),
    "se_resnet152": (66_821_848, 11_533_350_912),
    "se_resnext50_32x4d": (27_559_896, 4_238_514_176),
    "se_resnext101_32x4d": (48_955_416, 7_983_671_296),
    "se_bn_inception": (11_931_622, 2_034_420_128),
    "se_vgg16_bn": (138_596_784, 15_484_038_144),
    "se_mobilenet": (4_718_044, 571_929_600),
    "senet154": (115_088_984, 20_701_509_632),
}


def test_every_name_is_in_the_table():
    assert sorted(models.names()) == sorted(RECORDED)
    assert len(set(models.names())) == len(models.names())


@pytest.mark.slow
@pytest.mark.parametrize("name", RECORDED)
def test_every_network_is_built_counted_and_run(name, cheap_weights):
    net = models.create(name).eval()
    side = net.image_size
    counted = models.summary(net, (3, side, side))
    assert (counted.params, counted.macs) == RECORDED[name]
    has_se = any(isinstance(module, nn.SEBlock) for module in net.modules())
    assert has_se == name.startswith("se")
    side = min(side, 64)
    with minise.no_grad():
        logits = net(minise.randn(1, 3, side, side)).numpy()
    assert logits.shape == (1, 10 if net.image_size == 32 else 1000)
    assert numpy.isfinite(logits).all()
    assert logits.std() > 0


# --- choices --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "choices", "message"),
    [
        ("se_resnet5", {}, "unknown network 'se_resnet5'; did you mean se_resnet56, se_resnet50"),
        ("resnext50_32x4", {}, "did you mean .*resnext50_32x4d"),
        ("SE_ResNet50", {}, "unknown network"),
        ("se_senet154", {}, "unknown network 'se_senet154'; did you mean senet154"),
        ("", {}, "unknown network ''; see minise.models.names()"),
        ("qqq", {}, "unknown network 'qqq'; see minise.models.names()"),
        ("se_resnet20", {"num_classes": 0}, "num_classes must be positive, got 0"),
        ("se_resnet20", {"reduction": 0}, "reduction must be positive, got 0"),
        ("se_resnet20", {"reduction": -2}, "reduction must be positive, got -2"),
        ("se_resnet20", {"reduction": 17}, "must lie between 1 and the 16 channels, got 17"),
        ("se_resnet20", {"placement": "Pre"}, "placement must be one of .*'inside'.*, got 'Pre'"),
        ("se_resnet20", {"gate": "softmax"}, "gate must be one of .*'sigmoid'.*, got 'softmax'"),
        ("se_resnet20", {"squeeze": "sum"}, "squeeze must be one of .*'max'.*, got 'sum'"),
        ("se_resnet20", {"shortcut": "C"}, "shortcut must be one of .*'A', 'B'.*, got 'C'"),
        ("se_resnet50", {"variant": "keras"}, "variant must be one of .*'caffe'.*, got 'keras'"),
        ("se_resnet18", {"se_width": "wide"}, "se_width must be one of .*'timm'.*, got 'wide'"),
        ("se_resnet20", {"stages": (4,)}, r"has SE in stages \(1, 2, 3\), not in 4"),
        ("se_resnet20", {"stages": (1, 0)}, r"has SE in stages \(1, 2, 3\), not in 0"),
        ("se_resnet18", {"stages": (5,)}, r"has SE in stages \(1, 2, 3, 4\), not in 5"),
        ("se_bn_inception", {"stages": (2,)}, r"has SE in stages \(3, 4, 5\), not in 2"),
        ("se_bn_inception", {"placement": "pre"}, "has no residual blocks, so only placement"),
        ("se_mobilenet", {"placement": "post"}, "has no residual blocks, so only placement"),
        ("se_vgg16_bn", {"placement": "inside"}, "has no residual blocks, so only placement"),
    ],
)
def test_bad_choices(name, choices, message, no_weights):
    with pytest.raises(ValueError, match=message):
        models.create(name, **choices)


def se_paths(net):
    return [path for path, module in net.named_modules() if isinstance(module, nn.SEBlock)]


@pytest.mark.parametrize(
    ("name", "stages", "paths"),
    [
        ("se_resnet20", (3,), ["layer3.0.se", "layer3.1.se", "layer3.2.se"]),
        ("se_resnet18", (2, 4), ["layer2.0.se", "layer2.1.se", "layer4.0.se", "layer4.1.se"]),
        ("se_preact_resnet110", (1,), [f"layer1.{index}.se" for index in range(18)]),
        ("se_bn_inception", (5,), ["inception_5a.se", "inception_5b.se"]),
        ("se_mobilenet", (5,), ["layer5.2", "layer5.5"]),
        ("se_vgg16_bn", (1,), ["layer1.1", "layer1.3"]),
        ("se_resnet20", (), []),
        ("resnet20", None, []),
    ],
)
def test_se_is_in_the_stages_asked_for_and_nowhere_else(name, stages, paths, no_weights):
    assert se_paths(models.create(name, stages=stages)) == paths


def test_wrong_channels_say_which_layer():
    with pytest.raises(RuntimeError, match=r"input has 1 channels.*expects 3.*\(in module conv1\)"):
        models.create("se_resnet20")(minise.zeros(1, 1, 32, 32))
    net = models.create("se_resnet20")
    net.layer2[0].se = nn.SEBlock(16)
    with pytest.raises(RuntimeError, match=r"\(in module layer2\.0\.se\.fc1\)"):
        net(minise.zeros(1, 3, 32, 32))


def test_the_same_seed_gives_the_same_weights():
    states = []
    for seed in (3, 3, 4):
        minise.manual_seed(seed)
        states.append(models.create("se_resnet20").state_dict())
    one, same, other = states
    assert all(numpy.array_equal(one[key].numpy(), same[key].numpy()) for key in one)
    assert not numpy.array_equal(one["conv1.weight"].numpy(), other["conv1.weight"].numpy())


@pytest.mark.parametrize("placement", ["standard", "pre", "inside", "post", "identity"])
@pytest.mark.parametrize("name", ["se_resnet20", "se_preact_resnet164", "se_resnet50"])
def test_zero_init_residual_starts_each_block_as_its_shortcut(name, placement, cheap_weights):
    net = models.create(name, placement=placement, zero_init_residual=True)
    found = [module for module in net.modules() if isinstance(module, ResidualBlock)]
    for block in (found[0], found[1], found[-1]):
        x = minise.randn(2, block.bn1.weight.size, 6, 6)
        if not isinstance(block, PreActBlock):
            x = minise.randn(2, block.conv1.weight.shape[1], 6, 6)
        with minise.no_grad():
            assert numpy.array_equal(block(x).numpy(), silent(block, x).numpy())


def silent(block, x):
    """What the block is if its branch gives zeros."""
    F = minise.functional
    if isinstance(block, PreActBlock):
        same = isinstance(block.downsample, nn.Identity)
        y = x if same else block.downsample(F.relu(block.bn1(x)))
        return block.se(y) if block.placement in ("identity", "post") else y
    y = block.downsample(x)
    y = F.relu(block.se(y) if block.placement == "identity" else y)
    return block.se(y) if block.placement == "post" else y


def test_without_zero_init_residual_no_gamma_is_zero():
    net = models.create("se_resnet20")
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all((norm.weight.numpy() == 1).all() for norm in norms)


# --- summary --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["se_resnet20", "se_preact_resnet164", "se_resnet50", "se_vgg16_bn", "se_mobilenet",
     "se_bn_inception", "wrn_16_8"],
)  # fmt: skip
def test_totals_are_the_sums_of_the_lines(name, no_weights):
    net = models.create(name, num_classes=7)
    counted = models.summary(net, (3, 64, 64))
    assert counted.params == sum(layer.params for layer in counted.layers) == parameters(net)
    assert counted.macs == sum(layer.macs for layer in counted.layers)
    paths = dict(net.named_modules())
    for layer in counted.layers:
        assert type(paths[layer.path]).__name__ == layer.kind
    assert len({layer.path for layer in counted.layers}) == len(counted.layers)


def test_the_lines_of_a_small_network():
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.SEBlock(8, 2))
    lines = [
        (layer.path, layer.kind, layer.output, layer.params, layer.macs)
        for layer in models.summary(net, (3, 5, 6)).layers
    ]
    assert lines == [
        ("0", "Conv2d", (8, 5, 6), 8 * 27 + 8, 8 * 30 * 27),
        ("1", "BatchNorm2d", (8, 5, 6), 16, 0),
        ("2.fc1", "Linear", (4,), 8 * 4 + 4, 8 * 4),
        ("2.fc2", "Linear", (8,), 4 * 8 + 8, 4 * 8),
        ("2", "SEBlock", (8, 5, 6), 0, 8 * 30),
    ]


def test_a_batch_axis_does_not_matter():
    net = models.create("se_resnet20")
    one, batch = models.summary(net, (3, 32, 32)), models.summary(net, [128, 3, 32, 32])
    assert one == batch
    assert one.input == (3, 32, 32)


def test_looking_changes_nothing():
    net = models.create("se_resnet20")
    net.train()
    net.layer1.eval()
    seen = []
    net.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    net(minise.randn(2, 3, 8, 8))
    hooks = {path: len(module._forward_hooks) for path, module in net.named_modules()}
    modes = {path: module.training for path, module in net.named_modules()}
    state = {key: value.numpy().copy() for key, value in net.state_dict().items()}
    gates = {path: net.get_submodule(path).gate for path in se_paths(net)}
    models.summary(net, (3, 32, 32))
    assert hooks == {path: len(module._forward_hooks) for path, module in net.named_modules()}
    assert modes == {path: module.training for path, module in net.named_modules()}
    for path, gate in gates.items():
        assert net.get_submodule(path).gate is gate
    for key, value in net.state_dict().items():
        assert numpy.array_equal(value.numpy(), state[key])
    assert all(parameter.grad is None for parameter in net.parameters())
    net(minise.randn(2, 3, 8, 8))
    assert seen[0] == seen[-1] == (2, 10)


def test_looking_changes_nothing_where_it_fails():
    net = models.create("se_resnet20")
    with pytest.raises(RuntimeError, match="in module conv1"):
        models.summary(net, (1, 32, 32))
    assert all(module.training for module in net.modules())
    assert not any(module._forward_hooks for module in net.modules())


@pytest.mark.parametrize("size", [(3, 32), (32,), (), (3, 0, 32), (3, -1, 32)])
def test_bad_input_sizes(size):
    with pytest.raises(ValueError, match=r"summary: input_size must be \(C, H, W\), got"):
        models.summary(models.create("resnet20"), size)


def test_the_printed_table():
    lines = str(models.summary(models.create("se_resnet20"), (3, 32, 32))).splitlines()
    assert lines[0] == "se_resnet20, input 3 × 32 × 32"
    assert lines[1].split() == ["layer", "kind", "output", "parameters", "multiply-adds"]
    table = {line.split()[0]: line.split()[1:] for line in lines[2:]}
    assert table["conv1"] == ["Conv2d", "16", "×", "32", "×", "32", "432", "442,368"]
    assert table["layer3.2.se.fc1"] == ["Linear", "4", "260", "256"]
    assert table["total"] == ["274,847", "40,901,216"]
    assert len({len(line) for line in lines[1:]}) == 1  # columns line up
