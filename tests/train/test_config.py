"""Settings of a run: what is refused, and how they are kept."""

import json
import math

import pytest

from minise.train import Config
from minise.train.config import DATASETS, SCHEDULES


@pytest.mark.parametrize(
    ("field", "value", "part"),
    [
        ("model", "se_resnet2O", "unknown network 'se_resnet2O'; did you mean"),
        ("reduction", 0, "reduction must be positive"),
        ("reduction", "4", "reduction: expected int, got '4'"),
        ("placement", "behind", "placement must be one of"),
        ("gate", "softmax", "gate must be one of"),
        ("data", "", "data: expected one of cue-digits"),
        ("limit", 0, "limit: expected at least 1, got 0"),
        ("limit", 1.5, "limit: expected int | None, got 1.5"),
        ("epochs", 0, "epochs: expected at least 1, got 0"),
        ("epochs", True, "epochs: expected int, got True"),
        ("batch_size", 0, "batch_size: expected at least 1, got 0"),
        ("batch_size", -3, "batch_size"),
        ("lr", 0, "lr: expected a number above 0, got 0"),
        ("lr", math.nan, "lr: expected a number above 0, got nan"),
        ("lr", math.inf, "lr"),
        ("lr", "0.1", "lr: expected float, got '0.1'"),
        ("momentum", 1, "momentum: expected 0 <= momentum < 1, got 1.0"),
        ("momentum", math.nan, "momentum"),
        ("weight_decay", -1e-4, "weight_decay"),
        ("weight_decay", math.nan, "weight_decay"),
        ("schedule", "triangle", "schedule: expected one of onecycle, cosine, multistep, constant"),
        ("warmup", -1, "warmup"),
        ("label_smoothing", 1, "label_smoothing"),
        ("label_smoothing", math.nan, "label_smoothing"),
        ("augment", "no", "augment: expected bool | None, got 'no'"),
        ("cutout", -1, "cutout"),
        ("seed", -1, "seed"),
        ("seed", 2**32, "seed"),
        ("compare", 1, "compare: expected bool, got 1"),
    ],
)
def test_what_cannot_be_is_refused_by_name(field, value, part):
    with pytest.raises(ValueError) as caught:
        Config(**{field: value})
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_combinations_that_cannot_be():
    with pytest.raises(ValueError, match="warmup: onecycle has a warm-up of its own"):
        Config(schedule="onecycle", warmup=2)
    with pytest.raises(ValueError, match="warmup: expected 0 to 4 of the epochs, got 5"):
        Config(schedule="cosine", epochs=5, warmup=5)
    for model in ("resnet20", "senet154"):
        with pytest.raises(ValueError, match=f"compare: {model} has no twin without SE"):
            Config(model=model, compare=True)
    with pytest.raises(ValueError, match="tf32: a CPU has no tensor cores; choose backend cupy"):
        Config(tf32=True)
    assert Config(tf32=True, backend="cupy").tf32


def test_defaults_are_those_of_the_paper():
    config = Config()
    assert (config.lr, config.momentum, config.weight_decay, config.batch_size) == (
        0.1, 0.9, 1e-4, 128,
    )  # fmt: skip


def test_pictures_are_augmented_but_digits_are_not():
    assert [Config(data=data).augment for data in DATASETS] == [False, False, True, True]
    assert Config(data="folder").augment
    assert Config(augment=True).augment
    assert not Config(data="cifar10", augment=False).augment


def test_paths_are_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = Config(data="mine", data_dir="there")
    assert (config.data, config.data_dir) == (str(tmp_path / "mine"), str(tmp_path / "there"))
    assert Config(data="cifar10").data == "cifar10"


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"stages": (2, 3), "limit": 7, "lr": 1 / 3, "augment": False, "data": "mine"},
        {"schedule": "cosine", "warmup": 3, "compare": True, "model": "se_wrn_16_8"},
    ],
)
def test_saved_and_loaded_it_is_the_same(tmp_path, settings):
    config = Config(**settings)
    config.save(tmp_path)
    assert Config.load(tmp_path) == config
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_every_schedule_is_accepted():
    assert [Config(schedule=name).schedule for name in SCHEDULES] == list(SCHEDULES)


def test_model_options_are_those_of_create():
    options = Config(model="se_resnet32", reduction=4, gate="tanh").model_options
    assert options == {
        "name": "se_resnet32", "reduction": 4, "se_bias": True, "se_width": "paper",
        "squeeze": "avg", "gate": "tanh", "placement": "standard", "stages": None,
        "shortcut": "B", "variant": "torch", "zero_init_residual": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("", "config.json: Expecting value"),
        ('{"epochs": 3', "config.json: Expecting"),
        ("[1, 2]", "config.json"),
        (json.dumps({"epoch": 3}), "'epoch'"),
        (json.dumps({"epochs": "three"}), "epochs: expected int, got 'three'"),
        ('{"lr": NaN}', "lr: expected a number above 0, got nan"),
        (b"\xff\xfe", "config.json"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, content, part):
    content = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ValueError) as caught:
        Config.load(tmp_path)
    assert part in str(caught.value)


def test_what_is_no_run_folder(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path, tmp_path / "nowhere", tmp_path / "file"):
        with pytest.raises(ValueError, match=r"no run folder \(config.json is missing\)"):
            Config.load(folder)
