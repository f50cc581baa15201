"""Weights: to files and back, from timm and Cadene name by name, and files that are refused."""

from __future__ import annotations

import io
import os
import pickle
import sys

import numpy as np
import pytest
import safetensors.numpy

import minise
from minise import models, nn
from minise.models import weights

BN = ("weight", "bias", "running_mean", "running_var")


def ramp(index, shape):
    """Values that tell an array from all others, and its elements from each other."""
    return np.float32(index) + np.linspace(0, 0.5, int(np.prod(shape)), dtype=np.float32).reshape(
        shape
    )


class Foreign:
    """What a foreign ResNet's file holds, written down from its published code.

    `arrays` has the foreign names; `expected` has what must arrive, under minise's names.
    """

    def __init__(
        self, blocks, classes, *, bottleneck=True, widths=None, groups=1, hidden=None,
        authors=False, stem=((64, 3, 7, 7),), projection=1, counters=True, make=ramp,
    ):  # fmt: skip
        self.arrays, self.expected = {}, {}
        self.authors, self.counters, self.make = authors, counters, make
        stem_prefix = "layer0." if authors else ""
        for i, shape in enumerate(stem, start=1):
            self.add(f"{stem_prefix}conv{i}.weight", f"conv{i}.weight", shape)
            self.norm(f"{stem_prefix}bn{i}", f"bn{i}", shape[0])
        channels = stem[-1][0]
        for stage, count in enumerate(blocks, start=1):
            planes = 64 * 2 ** (stage - 1)
            for b in range(count):
                channels = self.block(
                    f"layer{stage}.{b}", channels, planes, bottleneck, widths, groups, hidden,
                    (1 if stage == 1 else projection) if b == 0 else None,
                )  # fmt: skip
        head = "last_linear" if authors else "fc"
        self.add(f"{head}.weight", "fc.weight", (classes, channels))
        self.add(f"{head}.bias", "fc.bias", (classes,))

    def block(self, path, channels, planes, bottleneck, widths, groups, hidden, projection):
        if bottleneck:
            out = 4 * planes
            first, second = widths(planes) if widths else (planes, planes)
            kernels = [
                (first, channels, 1, 1), (second, first // groups, 3, 3), (out, second, 1, 1)
            ]  # fmt: skip
        else:
            out = planes
            kernels = [(planes, channels, 3, 3), (planes, planes, 3, 3)]
        for i, shape in enumerate(kernels, start=1):
            self.add(f"{path}.conv{i}.weight", f"{path}.conv{i}.weight", shape)
            self.norm(f"{path}.bn{i}", f"{path}.bn{i}", shape[0])
        if hidden is not None:
            se, h = ("se_module" if self.authors else "se"), hidden(out)
            for fc, shape in (("fc1", (h, out)), ("fc2", (out, h))):
                theirs, ours = f"{path}.{se}.{fc}", f"{path}.se.{fc}"
                self.add(f"{theirs}.weight", f"{ours}.weight", shape, shape + (1, 1))
                self.add(f"{theirs}.bias", f"{ours}.bias", shape[:1])
        if projection is not None and channels != out:
            shape = (out, channels, projection, projection)
            self.add(f"{path}.downsample.0.weight", f"{path}.downsample.0.weight", shape)
            self.norm(f"{path}.downsample.1", f"{path}.downsample.1", out)
        return out

    def norm(self, theirs, ours, channels):
        for name in BN:
            self.add(f"{theirs}.{name}", f"{ours}.{name}", (channels,))
        if self.counters:
            self.arrays[f"{theirs}.num_batches_tracked"] = np.array(len(self.arrays))
            self.expected[f"{ours}.num_batches_tracked"] = np.array(len(self.arrays) - 1)

    def add(self, theirs, ours, shape, their_shape=None):
        value = self.make(len(self.arrays) + 1, shape)
        self.arrays[theirs] = value.reshape(their_shape or shape)
        self.expected[ours] = value

    def write(self, path):
        safetensors.numpy.save_file(self.arrays, path)
        return path


def timm_hidden(channels):
    """timm's make_divisible(C / 16, 8) for the widths of a ResNet."""
    return {64: 8, 128: 8, 256: 16, 512: 32, 1024: 64, 2048: 128}[channels]


def sixteenth(channels):
    return channels // 16


SENET_STEM = ((64, 3, 3, 3), (64, 64, 3, 3), (128, 64, 3, 3))
RESNEXT = {"widths": lambda planes: (2 * planes, 2 * planes), "groups": 32}

FOREIGN = {
    ("timm", "resnet18", "torch", "paper"): lambda: Foreign((2, 2, 2, 2), 7, bottleneck=False),
    ("timm", "se_resnet18", "torch", "timm"): lambda: Foreign(
        (2, 2, 2, 2), 7, bottleneck=False, hidden=timm_hidden
    ),
    ("timm", "resnet50", "torch", "paper"): lambda: Foreign((3, 4, 6, 3), 7),
    ("timm", "se_resnet50", "torch", "timm"): lambda: Foreign(
        (3, 4, 6, 3), 7, hidden=timm_hidden
    ),
    ("timm", "se_resnext50_32x4d", "torch", "paper"): lambda: Foreign(
        (3, 4, 6, 3), 7, hidden=timm_hidden, **RESNEXT
    ),
    ("timm", "se_resnet50", "caffe", "paper"): lambda: Foreign(
        (3, 4, 6, 3), 7, hidden=sixteenth, authors=True
    ),
    ("cadene", "se_resnext50_32x4d", "caffe", "paper"): lambda: Foreign(
        (3, 4, 6, 3), 7, hidden=sixteenth, authors=True, counters=False, **RESNEXT
    ),
}


@pytest.fixture(scope="module")
def small():
    return models.create("se_resnet20", num_classes=4)


def state_of(model):
    return {key: value.numpy().copy() for key, value in model.state_dict().items()}


def assert_state(model, expected):
    actual = model.state_dict()
    assert set(actual) == set(expected)
    for key, value in expected.items():
        np.testing.assert_array_equal(actual[key].numpy(), value, err_msg=key, strict=True)


def refused(kind, path, model, **options):
    """The message of the error; the model must be as before, and the message one clear line."""
    before = state_of(model)
    with pytest.raises(kind) as caught:
        models.load_weights(model, path, **options)
    assert_state(model, before)
    return str(caught.value)


# To a file and back


def test_round_trip_is_exact(tmp_path):
    minise.manual_seed(1)
    net = models.create("se_resnet20", num_classes=4, reduction=8, gate="tanh", stages=(2, 3))
    net(minise.randn(2, 3, 32, 32))  # running statistics and counters move
    models.save_weights(net, tmp_path / "net.safetensors")
    config = weights.read_config(tmp_path / "net.safetensors")
    minise.manual_seed(2)
    again = models.create(**config)
    assert again.config == net.config
    assert models.load_weights(again, str(tmp_path / "net.safetensors")) is again
    assert_state(again, state_of(net))
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]


def test_models_that_create_did_not_make(tmp_path):
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm2d(2))
    models.save_weights(net, tmp_path / "net")
    assert weights.read_config(tmp_path / "net") is None
    assert_state(models.load_weights(net, tmp_path / "net"), state_of(net))
    assert "classes" not in refused(RuntimeError, tmp_path / "net", nn.Linear(3, 4))


def test_views_of_any_strides_are_saved(tmp_path):
    net = nn.Linear(3, 2)
    net.weight.data = np.arange(6, dtype=np.float32).reshape(3, 2).T
    models.save_weights(net, tmp_path / "net")
    again = models.load_weights(nn.Linear(3, 2), tmp_path / "net")
    np.testing.assert_array_equal(again.weight.numpy(), [[0, 2, 4], [1, 3, 5]])


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_in_the_middle_leaves_the_old_file(small, tmp_path, monkeypatch, error):
    path = tmp_path / "net.safetensors"
    models.save_weights(small, path)
    before = path.read_bytes()

    def fail(state, file, metadata):
        with open(file, "wb") as half:
            half.write(before[:100])
        raise error

    monkeypatch.setattr(weights, "save_file", fail)
    with pytest.raises(error):
        models.save_weights(small, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_safetensors_cannot_write_is_an_oserror(small, tmp_path, monkeypatch):
    def fail(state, file, metadata):
        raise weights.SafetensorError("No space left on device")

    monkeypatch.setattr(weights, "save_file", fail)
    with pytest.raises(OSError, match="No space left"):
        models.save_weights(small, tmp_path / "net")
    with pytest.raises(OSError):
        models.save_weights(small, tmp_path / "nowhere" / "net")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_the_file_has_the_mode_that_the_umask_leaves(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        models.save_weights(nn.Linear(2, 1), tmp_path / "net")
    finally:
        os.umask(before)
    assert (tmp_path / "net").stat().st_mode & 0o777 == mode


# From other libraries


@pytest.mark.parametrize("case", FOREIGN, ids="-".join)
def test_foreign_weights_arrive_where_they_belong(case, tmp_path):
    source, name, variant, se_width = case
    foreign = FOREIGN[case]()
    model = models.create(name, num_classes=7, variant=variant, se_width=se_width)
    own = state_of(model)
    counters = {key: own[key] for key in own if key.endswith("num_batches_tracked")}
    models.load_weights(model, foreign.write(tmp_path / "theirs"), source)
    assert_state(model, {**counters, **foreign.expected})  # counters that are missing stay


@pytest.mark.slow
def test_senet154_has_cadenes_names_and_shapes():
    def shape_only(index, shape):
        return np.broadcast_to(np.float32(index), shape)

    foreign = Foreign(
        (3, 8, 36, 3), 7, widths=lambda planes: (2 * planes, 4 * planes), groups=64,
        hidden=sixteenth, authors=True, stem=SENET_STEM, projection=3, make=shape_only,
    )  # fmt: skip
    model = models.create("senet154", num_classes=7, variant="caffe")
    ours = {key: value.shape for key, value in model.state_dict().items()}
    translated = weights.translate(foreign.arrays, model)
    assert {key: value.shape for key, value in translated.items()} == ours
    assert all(translated[key].flat[0] == v.flat[0] for key, v in foreign.expected.items())


def test_torchvisions_nets_as_cadene_renames_them(tmp_path):
    foreign = FOREIGN["timm", "resnet18", "torch", "paper"]()
    for name in ("weight", "bias"):
        foreign.arrays[f"last_linear.{name}"] = foreign.arrays.pop(f"fc.{name}")
    model = models.create("resnet18", num_classes=7)
    models.load_weights(model, foreign.write(tmp_path / "theirs"), "cadene")
    assert_state(model, foreign.expected)


def test_the_other_variant_is_refused(tmp_path):
    torch_style = FOREIGN["timm", "se_resnet18", "torch", "timm"]().write(tmp_path / "torch")
    model = models.create("se_resnet18", num_classes=7, variant="caffe", se_width="timm")
    message = refused(ValueError, torch_style, model, source="timm")
    assert "belong to variant='torch'" in message
    authors = Foreign((1, 1, 1, 1), 7, hidden=sixteenth, authors=True).write(tmp_path / "caffe")
    model = models.create("se_resnet18", num_classes=7)
    message = refused(ValueError, authors, model, source="cadene")
    assert "belong to variant='caffe'" in message


def test_timms_relu_before_se_is_refused(tmp_path):
    foreign = Foreign((2, 2, 2, 2), 7, bottleneck=False, hidden=sixteenth, authors=True)
    model = models.create("se_resnet18", num_classes=7, variant="caffe")
    message = refused(ValueError, foreign.write(tmp_path / "legacy"), model, source="timm")
    assert "ReLU before SE" in message


def test_timms_hidden_width_is_named_as_misshapen(tmp_path):
    foreign = FOREIGN["timm", "se_resnet18", "torch", "timm"]()
    model = models.create("se_resnet18", num_classes=7)
    message = refused(RuntimeError, foreign.write(tmp_path / "timm"), model, source="timm")
    assert "layer1.0.se.fc1.weight must be (4, 64), got (8, 64)" in message
    assert "layer3.0.se" not in message  # 256 / 16 is a multiple of 8


def test_every_key_that_does_not_fit_is_named(small, tmp_path):
    arrays = state_of(small)
    missing = ["conv1.weight", "fc.bias"]
    for key in missing:
        del arrays[key]
    unexpected = ["conv9.weight", "layer1.0.extra", "running"]
    arrays.update({key: np.zeros(2, np.float32) for key in unexpected})
    misshapen = ["layer1.0.conv1.weight", "layer2.0.se.fc1.bias", "bn1.running_var"]
    arrays.update({key: np.zeros((9, 9), np.float32) for key in misshapen})
    safetensors.numpy.save_file(arrays, tmp_path / "odd")
    message = refused(RuntimeError, tmp_path / "odd", small)
    assert all(f"missing: {key}" in message for key in missing)
    assert all(f"unexpected: {key}" in message for key in unexpected)
    assert all(f"wrong shape: {key} must be " in message for key in misshapen)
    assert message.count("\n") == 8


@pytest.mark.parametrize("name", ["se_resnet20", "preact_resnet110", "mobilenet"])
def test_the_wrong_number_of_classes_is_said_in_words(name, tmp_path):
    models.save_weights(models.create(name, num_classes=7), tmp_path / "seven")
    message = refused(RuntimeError, tmp_path / "seven", models.create(name, num_classes=5))
    assert "for 7 classes (num_classes=7), the model for 5" in message
    assert "wrong shape: fc.weight" in message


def test_unknown_source(small, tmp_path):
    with pytest.raises(ValueError, match=r"source must be one of .*got 'keras'"):
        models.load_weights(small, tmp_path / "any", source="keras")


# Files that are no weights


def test_damaged_and_other_files(small, tmp_path):
    whole = tmp_path / "whole"
    models.save_weights(small, whole)
    content = whole.read_bytes()
    files = {
        "empty": b"",
        "short": content[:5],
        "header": content[:200],
        "cut": content[:-1],
        "longer": content + b"x",
        "text": b"epoch 1: loss 0.5\n" * 20,
        "zeros": bytes(1000),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        message = refused(ValueError, tmp_path / name, small)
        assert str(tmp_path / name) in message
        assert "no intact safetensors file" in message
        with pytest.raises(ValueError, match="no intact safetensors file"):
            weights.read_config(tmp_path / name)


def test_files_that_cannot_be_opened(small, tmp_path):
    assert "missing" in refused(FileNotFoundError, tmp_path / "missing", small)
    refused(OSError, tmp_path, small)


def test_a_header_may_be_as_long_as_a_pickle_starts(small, tmp_path):
    """A length of ...80 (hexadecimal) starts as a pickle does."""
    path = tmp_path / "net"
    for padding in range(0, 256, 8):
        metadata = {"padding": "x" * padding}
        safetensors.numpy.save_file(state_of(small), path, metadata=metadata)
        if path.read_bytes()[0] == 0x80:
            break
    else:
        pytest.fail("no header of such a length")
    models.load_weights(small, path)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floats_are_converted(small, tmp_path, dtype):
    arrays = {
        key: value.astype(dtype) if value.dtype.kind == "f" else value
        for key, value in state_of(small).items()
    }
    safetensors.numpy.save_file(arrays, tmp_path / "net")
    net = models.load_weights(models.create("se_resnet20", num_classes=4), tmp_path / "net")
    assert_state(net, {k: v.astype(state_of(small)[k].dtype) for k, v in arrays.items()})


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.bool_, np.complex64])
def test_whole_numbers_are_no_weights(small, tmp_path, dtype):
    arrays = state_of(small)
    arrays["conv1.weight"] = arrays["conv1.weight"].astype(dtype)
    try:
        safetensors.numpy.save_file(arrays, tmp_path / "net")
    except Exception:
        pytest.skip(f"this safetensors does not write {np.dtype(dtype)}")
    message = refused(ValueError, tmp_path / "net", small)
    assert f"conv1.weight is {np.dtype(dtype)}" in message


@pytest.mark.parametrize(("code", "size"), [("BF16", 2), ("F8_E4M3", 1)])
def test_numbers_that_numpy_does_not_have(small, tmp_path, code, size):
    header = f'{{"a":{{"dtype":"{code}","shape":[4],"data_offsets":[0,{4 * size}]}}}}'.encode()
    content = len(header).to_bytes(8, "little") + header + bytes(4 * size)
    (tmp_path / "net").write_bytes(content)
    message = refused(ValueError, tmp_path / "net", small)
    assert "convert them to float32" in message


def test_a_note_that_is_no_json(small, tmp_path):
    safetensors.numpy.save_file(state_of(small), tmp_path / "net", metadata={"config": "{"})
    assert weights.read_config(tmp_path / "net") is None


# PyTorch's files


def test_without_torch_a_pickle_is_refused_with_the_reason(small, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    files = {"zip.pth": b"PK\x03\x04" + bytes(50), "old.pth": pickle.dumps({"a": 1})}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        message = refused(ValueError, tmp_path / name, small)
        assert "can run code" in message
        assert "convert it to safetensors, or install PyTorch" in message


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("zipped", [False, True])
def test_torch_reads_its_own_files(small, tmp_path, nested, zipped):
    torch = pytest.importorskip("torch")
    state = {key: torch.from_numpy(value) + 1 for key, value in state_of(small).items()}
    state["conv1.weight"] = torch.nn.Parameter(state["conv1.weight"])
    state["fc.weight"] = state["fc.weight"].to(torch.bfloat16)
    saved = {"state_dict": state, "epoch": 3} if nested else state
    torch.save(saved, tmp_path / "net.pth", _use_new_zipfile_serialization=zipped)
    net = models.load_weights(models.create("se_resnet20", num_classes=4), tmp_path / "net.pth")
    expected = {
        key: (value.float() if value.dtype == torch.bfloat16 else value).detach().numpy()
        for key, value in state.items()
    }
    assert_state(net, expected)
    assert weights.read_config(tmp_path / "net.pth") is None


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [False, True])
def test_code_in_a_torch_file_does_not_run(small, tmp_path, zipped):
    torch = pytest.importorskip("torch")
    victim = tmp_path / "victim"
    torch.save(
        {"state_dict": {}, "hook": Malicious(victim)}, tmp_path / "bad.pth",
        _use_new_zipfile_serialization=zipped,
    )  # fmt: skip
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Malicious(victim)))
    for name in ("bad.pth", "plain.pkl"):
        message = refused(ValueError, tmp_path / name, small)
        assert "PyTorch's weights_only reader refuses it" in message
        assert "\n" not in message
    assert not victim.exists()


def test_torch_files_that_hold_something_else(small, tmp_path):
    torch = pytest.importorskip("torch")
    for name, content in {"list": [1, 2], "number": {"a": 1}, "nested": {"state_dict": 5}}.items():
        torch.save(content, tmp_path / name)
        message = refused(ValueError, tmp_path / name, small)
        assert "holds no mapping from names to tensors" in message
    buffer = io.BytesIO()
    torch.save({"a": torch.ones(100)}, buffer)
    (tmp_path / "cut").write_bytes(buffer.getvalue()[:300])
    assert "weights_only reader refuses it" in refused(ValueError, tmp_path / "cut", small)


@pytest.mark.parametrize(
    "choice", [{"variant": "caffe"}, {"placement": "post"}, {"squeeze": "max"}, {"gate": "tanh"}]
)
def test_a_net_of_the_same_shapes_that_computes_otherwise_is_refused(tmp_path, choice):
    path = tmp_path / "net.safetensors"
    models.save_weights(models.create("se_resnet20"), path)
    name, value = next(iter(choice.items()))
    with pytest.raises(ValueError, match=f"is for {name}=.*model has {name}={value!r}"):
        models.load_weights(models.create("se_resnet20", **choice), path)
    models.load_weights(models.create("se_resnet20"), path)
