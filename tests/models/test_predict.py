"""Predictions: the net a file asks for, its preprocessing, its labels."""

from __future__ import annotations

import json

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

import minise
from minise import models
from minise.data import images
from minise.models.predict import Predictor, rebuild, statistics

IMAGENET = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], np.float32)
CIFAR10 = np.array([[0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]], np.float32)


def picture(height, width, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


def by_hand(net, square, moments):
    """Probabilities from uint8 (H, W, 3), every step spelled out; softmax in float64."""
    mean, std = moments
    x = ((square.astype(np.float32) / 255 - mean) / std).transpose(2, 0, 1)[None]  # (1, 3, H, W)
    net.eval()
    with minise.no_grad():
        logits = net(minise.tensor(np.ascontiguousarray(x))).numpy()[0].astype(np.float64)
    exponentials = np.exp(logits - logits.max())
    return exponentials / exponentials.sum()


def saved(tmp_path, name, **options):
    minise.manual_seed(3)
    net = models.create(name, **options)
    models.save_weights(net, tmp_path / "net.safetensors")
    return net, tmp_path / "net.safetensors"


def test_cifar_net_agrees_with_the_steps_by_hand(tmp_path):
    net, path = saved(tmp_path, "se_resnet20")
    picture(32, 32).save(tmp_path / "a.png")
    predictor = Predictor(path)
    p = predictor.probabilities(tmp_path / "a.png")
    assert (p.shape, p.dtype) == ((10,), np.float32)
    assert p.sum() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(p, by_hand(net, np.asarray(picture(32, 32)), CIFAR10), rtol=1e-5)
    lines = predictor.table(tmp_path / "a.png").splitlines()
    best = np.argsort(-p, kind="stable")[:5]
    assert lines == [f"  {p[i]:7.2%}  {i}" for i in best]
    assert predictor.table(tmp_path / "a.png").splitlines() == lines


def test_imagenet_net_resizes_to_256_and_crops_224(tmp_path):
    net, path = saved(tmp_path, "se_resnet18", num_classes=3)
    picture(256, 300).save(tmp_path / "a.png")  # the shorter side is 256 already: only the crop
    p = Predictor(path).probabilities(tmp_path / "a.png")
    square = np.asarray(picture(256, 300))[16:240, 38:262]
    np.testing.assert_allclose(p, by_hand(net, square, IMAGENET), rtol=1e-4)
    assert len(Predictor(path).table(tmp_path / "a.png").splitlines()) == 3  # fewer than five


def test_other_sizes_are_scaled(tmp_path):
    net, path = saved(tmp_path, "resnet20", num_classes=4)
    picture(50, 80).save(tmp_path / "a.png")
    whole = picture(50, 80).resize((51, 32), Image.Resampling.BILINEAR)
    square = np.asarray(whole)[:, 10:42]
    p = Predictor(path).probabilities(tmp_path / "a.png")
    np.testing.assert_allclose(p, by_hand(net, square, CIFAR10), atol=5e-3)


def test_the_statistics_are_those_of_the_training_pictures():
    assert statistics(models.create("resnet20")) == (images.CIFAR10_MEAN, images.CIFAR10_STD)
    hundred = models.create("resnet20", num_classes=100)
    assert statistics(hundred) == (images.CIFAR100_MEAN, images.CIFAR100_STD)
    assert statistics(models.create("mobilenet", num_classes=100))[0] == images.IMAGENET_MEAN


def test_ties_go_to_the_first_class(tmp_path):
    net = models.create("resnet20", num_classes=8)
    net.fc.weight.data[:] = 0
    net.fc.bias.data[:] = 0
    models.save_weights(net, tmp_path / "net")
    picture(32, 32).save(tmp_path / "a.png")
    table = Predictor(tmp_path / "net").table(tmp_path / "a.png")
    assert table.splitlines() == [f"   12.50%  {i}" for i in range(5)]


def test_the_file_rebuilds_its_net(tmp_path):
    options = {"num_classes": 3, "reduction": 4, "se_bias": False, "placement": "pre"}
    net, path = saved(tmp_path, "se_resnet20", stages=(1, 3), shortcut="A", **options)
    again = Predictor(path).model
    assert again.config == net.config
    assert not again.training


@pytest.mark.parametrize(
    "note",
    [
        5, [], "se_resnet20", {}, {"name": 5}, {"name": "se_resnet20", "depth": 3},
        {"name": "lenet"}, {"name": "resnet20", "num_classes": "ten"},
        {"name": "resnet20", "num_classes": -1}, {"name": "resnet20", "stages": [9]},
    ],
)  # fmt: skip
def test_impossible_notes_are_refused(tmp_path, note):
    arrays = {"a": np.zeros(1, np.float32)}
    safetensors.numpy.save_file(arrays, tmp_path / "net", metadata={"config": json.dumps(note)})
    with pytest.raises(ValueError, match="asks for an impossible network"):
        rebuild(tmp_path / "net")


def test_weights_without_a_note_need_a_model(tmp_path):
    net, path = saved(tmp_path, "se_resnet20")
    state = {key: value.numpy() for key, value in net.state_dict().items()}
    safetensors.numpy.save_file(state, path)
    with pytest.raises(ValueError, match="does not say which network it belongs to"):
        Predictor(path)
    picture(32, 32).save(tmp_path / "a.png")
    p = Predictor(path, models.create("se_resnet20")).probabilities(tmp_path / "a.png")
    np.testing.assert_allclose(p, by_hand(net, np.asarray(picture(32, 32)), CIFAR10), rtol=1e-5)


def test_labels(tmp_path):
    _, path = saved(tmp_path, "se_resnet20", num_classes=3)
    picture(32, 32).save(tmp_path / "a.png")
    names = tmp_path / "names.txt"
    unix = "cat\ngrey wolf\nöre"
    for text in (unix, unix.replace("\n", "\r\n") + "\r\n\r\n", f"\ufeff{unix}\n"):
        names.write_text(text, encoding="utf-8", newline="")
        predictor = Predictor(path, labels=names)
        assert predictor.labels == ["cat", "grey wolf", "öre"]
        found = {line.split("%  ")[1] for line in predictor.table(tmp_path / "a.png").splitlines()}
        assert found == set(predictor.labels)
    for text, lines in (("cat\nwolf\n", 2), ("", 0), ("a\nb\nc\nd\n", 4)):
        names.write_text(text)
        with pytest.raises(ValueError, match=f"has {lines} lines, the network 3 classes"):
            Predictor(path, labels=names)
    names.write_bytes(b"\xff\xfe\x00cat")
    with pytest.raises(ValueError, match="no text in UTF-8"):
        Predictor(path, labels=names)
    with pytest.raises(FileNotFoundError):
        Predictor(path, labels=tmp_path / "none.txt")


def test_unknown_backend(tmp_path):
    _, path = saved(tmp_path, "resnet20")
    with pytest.raises(ValueError, match="abacus"):
        Predictor(path, backend="abacus")


def test_pictures_of_all_kinds_become_the_same_rgb(tmp_path):
    _, path = saved(tmp_path, "resnet20")
    predictor = Predictor(path)
    image = picture(32, 32)
    image.save(tmp_path / "upright.png")
    expected = predictor.probabilities(tmp_path / "upright.png")

    image.convert("RGBA").save(tmp_path / "rgba.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side: turn by 90° to the right
    image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    for name in ("rgba.png", "turned.png"):
        np.testing.assert_array_equal(predictor.probabilities(tmp_path / name), expected)

    grey = image.convert("L")
    grey.convert("RGB").save(tmp_path / "grey.png")
    grey16 = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    grey.save(tmp_path / "l.png")
    grey16.save(tmp_path / "i16.png")
    expected = predictor.probabilities(tmp_path / "grey.png")
    for name in ("l.png", "i16.png"):
        np.testing.assert_allclose(predictor.probabilities(tmp_path / name), expected, atol=1e-6)

    for mode, name in (("CMYK", "cmyk.jpg"), ("1", "bits.png"), ("P", "palette.gif")):
        image.convert(mode).save(tmp_path / name)
        assert predictor.probabilities(tmp_path / name).sum() == pytest.approx(1, abs=1e-6)


def test_a_huge_picture_is_refused(tmp_path, monkeypatch):
    _, path = saved(tmp_path, "resnet20")
    picture(32, 32).save(tmp_path / "a.png")
    monkeypatch.setattr(images, "MAX_PIXELS", 1000)
    with pytest.raises(ValueError, match="32 x 32 pixels are more than the limit"):
        Predictor(path).probabilities(tmp_path / "a.png")
