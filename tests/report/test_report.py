"""report.html, `minise gates` and `minise predict` on run folders."""

from __future__ import annotations

import base64
import io
import json
import shlex
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import tiny_run
from PIL import Image

from minise import cli, models
from minise import plot as figure
from minise.models.predict import Predictor
from minise.report import figures, outcome
from minise.report import write as report
from minise.train import Config, datasets, run_folder, train

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """The elements of a page as (tag, attributes), its text, and whether each tag is closed."""

    def __init__(self, path):
        super().__init__()
        self.elements, self.open, self.words = [], [], []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        assert "svg" in self.open  # only there does a slash close an element
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).replace("\N{NO-BREAK SPACE}", " ").split())

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def check(page):
    """What holds for every report."""
    assert page.source.startswith("<!DOCTYPE html>")
    assert len(page.all("h1")) == len(page.all("title")) == 1
    assert page.all("html") == [{"lang": "en"}]
    for tag in ("script", "link", "iframe", "object", "base"):
        assert not page.all(tag)
    assert "@import" not in page.source
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "action"):
            if name in attributes:
                assert attributes[name].startswith(("data:image/png;base64,", "#")), tag
        assert not any(name.startswith("on") for name in attributes)
        assert "url(http" not in attributes.get("style", "")
    for attributes in page.all("img"):
        assert attributes["alt"]
        Image.open(io.BytesIO(base64.b64decode(attributes["src"].partition(",")[2]))).load()
    for attributes in page.all("svg"):
        assert attributes["role"] == "img"
        assert attributes["aria-label"]
    assert all(attributes["scope"] in ("col", "row") for attributes in page.all("th"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


@pytest.fixture(scope="module")
def compared(pictures, tmp_path_factory):
    """A run with its plain twin."""
    folder = tmp_path_factory.mktemp("report") / "run"
    return train(Config(**tiny_run.settings(pictures), compare=True), folder, progress=False)


@pytest.fixture
def copy(compared, tmp_path):
    """Of that run, to be damaged."""
    return shutil.copytree(compared, tmp_path / "copy")


def test_the_report_of_a_comparison(compared):
    path = report.write(compared)
    assert path == compared / "report.html"
    assert not [*compared.glob(".*")]  # no temporary file is left
    page = Page(path)
    check(page)
    for folder, name in ((compared, "se_resnet8"), (compared / "plain", "resnet8")):
        lines = tiny_run.metrics(folder)
        best = max(line["test_accuracy"] for line in lines)
        assert f"{100 * (1 - best):.2f} % test error, {name}" in page.text
        last = 1 - lines[-1]["test_accuracy"]
        assert f"{name} after its last epoch: {100 * last:.2f} %" in page.text
        assert f"{np.mean([line['images_per_second'] for line in lines]):,.0f}" in page.text
        summary = models.summary(models.create(name, num_classes=2, reduction=4), (3, 32, 32))
        assert f"{summary.params:,}" in page.text
        assert f"{summary.macs:,}" in page.text
    assert "20 training pictures, 6 test pictures" in page.text
    assert "3 of 3" in page.text
    for part in ("Learning curves", "Predictions", "Confusion matrix", "Gates", "By class"):
        assert part in page.text
    assert "The task" not in page.text  # only CueDigits needs to be explained


def test_the_command_in_the_report_starts_the_same_run(compared, pictures):
    config = Config(
        **tiny_run.settings(pictures), compare=True, se_bias=False, stages=(2, 3), cutout=4,
        augment=False, weight_decay=1e-3, data_dir="else where",
    )  # fmt: skip
    for settings in (Config(), Config.load(compared), config):
        options = cli.parser().parse_args(shlex.split(report.command(settings))[1:])
        known = {k: v for k, v in vars(options).items() if k in Config.__dataclass_fields__}
        assert Config(**known) == settings
    path = compared / "other.html"
    path.write_text(
        report.build(compared, [replace(outcome.load(compared), config=config)]), "utf-8"
    )
    assert report.command(config) in Page(path).text


def test_cue_digits(tmp_path, monkeypatch):
    """With the task explained, and gates by plane too; a few pictures of it are enough here."""
    config = Config(model="se_resnet8", reduction=4, epochs=1, data_dir=str(tmp_path / "data"))
    whole = datasets.load(config)
    data = replace(whole, train=whole.train.take(30), test=whole.test.take(40))
    monkeypatch.setattr(datasets, "load", lambda config: data)
    folder = train(config, tmp_path / "run", progress=False)
    page = Page(report.write(folder))
    check(page)
    assert "se_resnet8 on CueDigits" in page.text
    assert "The task" in page.text
    assert "By plane that counts" in page.text
    assert "red green blue all pictures" in page.text
    for plane, colour in enumerate(("red", "green", "blue")):
        label = data.test.labels[np.flatnonzero(data.test.cues == plane)[0]]
        assert f"The {colour} plane counts: the answer is {label} ." in page.text
    assert cli.main(["gates", str(folder), "-o", str(tmp_path / "gates.svg")]) == 0
    assert "layer3.0.se, by plane that counts" in (tmp_path / "gates.svg").read_text()


def test_a_plain_network_has_no_gates(copy):
    page = Page(report.write(copy / "plain"))
    check(page)
    assert "resnet8 gives" in page.text
    assert "By class" not in page.text


def test_a_run_that_was_broken_off(copy):
    """After its first epoch, before its twin had one."""
    lines = (copy / "metrics.jsonl").read_text().splitlines(keepends=True)
    (copy / "metrics.jsonl").write_text(lines[0])
    (copy / "plain" / "best.safetensors").unlink()
    page = Page(report.write(copy))
    check(page)
    assert "se_resnet8 has done 1 of 3 epochs." in page.text
    assert "The twin without SE has not finished an epoch yet." in page.text
    (copy / "metrics.jsonl").unlink()  # even without metrics the weights can be looked at
    page = Page(report.write(copy))
    check(page)
    assert "Learning curves" not in page.text


def test_numbers_that_are_none(copy):
    lines = tiny_run.metrics(copy)
    lines[0]["test_loss"] = lines[2]["test_accuracy"] = float("nan")
    lines[1]["seconds"] = None
    del lines[1]["train_loss"]
    (copy / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = Page(report.write(copy))
    check(page)
    assert "se_resnet8 after its last epoch: –" in page.text
    assert "nan" not in page.text.lower().split()


@pytest.mark.parametrize("hostile", ['"&amp;$x$', '" onload="alert(1)', "{{ 7 * 7 }}"])
def test_names_of_classes_are_text(compared, hostile):
    names = ["<script>alert(1)</script>", hostile]
    result = outcome.load(compared)
    for part in (result.data.train, result.data.test):
        part.classes = names
    path = compared / "names.html"
    path.write_text(report.build(compared, [result]), encoding="utf-8")
    page = Page(path)
    check(page)
    assert names[0] in page.text
    assert names[1] in page.text


def test_errors_leave_the_old_report(copy, tmp_path):
    (copy / "best.safetensors").unlink()
    (copy / "report.html").write_text("the old one")
    with pytest.raises(ValueError, match="no epoch of this run was finished"):
        report.write(copy)
    assert (copy / "report.html").read_text() == "the old one"
    with pytest.raises(ValueError, match="no run folder"):
        report.write(tmp_path)
    for content, message in (("{", "is damaged"), ("3\n", "expected one object per line")):
        (copy / "metrics.jsonl").write_text(content)
        with pytest.raises(ValueError, match=message):
            run_folder.metrics(copy)


def test_confusion_by_hand():
    labels, predictions = np.array([0, 0, 0, 1, 2, 2]), np.array([0, 2, 2, 1, 2, 0])
    counts = figures.confusion(labels, predictions, 4)
    expected = [[1, 0, 2, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(counts, expected)
    _, plots = figure.new(3, 3)
    figures.draw_confusion(plots[0, 0], counts, ["a", "b", "c", "d"])
    cells = {text.get_position(): text.get_text() for text in plots[0, 0].texts}
    assert cells == {(0, 0): "1", (2, 0): "2", (1, 1): "1", (0, 2): "1", (2, 2): "1"}


def test_curves_are_the_metrics(compared):
    _, plots = figure.new(3, 2)
    figures.draw_curves(plots[0, 0], [outcome.load(compared)], "accuracy", 100)
    train_line, test_line = plots[0, 0].get_lines()
    lines = tiny_run.metrics(compared)
    assert test_line.get_xdata().tolist() == [1, 2, 3]
    assert test_line.get_ydata() == pytest.approx([100 * e["test_accuracy"] for e in lines])
    assert train_line.get_ydata() == pytest.approx([100 * e["train_accuracy"] for e in lines])


# The command line


def refused(capsys, *arguments):
    """The one line with which these arguments are refused."""
    assert cli.main([str(word) for word in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


def test_gates_of_a_run(compared, tmp_path, capsys):
    for name in ("gates.png", "gates.svg", "gates.pdf"):
        assert cli.main(["gates", str(compared), "-o", str(tmp_path / name)]) == 0
        assert (tmp_path / name).stat().st_size > 1000
    assert "layer1.0.se, by class" in (tmp_path / "gates.svg").read_text()
    capsys.readouterr()
    assert "must end in" in refused(capsys, "gates", compared, "-o", tmp_path / "gates.bmp")
    assert "no SE blocks" in refused(capsys, "gates", compared / "plain", "-o", "gates.png")
    assert "no run folder" in refused(capsys, "gates", tmp_path, "-o", "gates.png")
    assert "nowhere" in refused(capsys, "gates", compared, "-o", tmp_path / "nowhere" / "a.png")


def test_predict_with_a_run(compared, pictures, tmp_path, capsys):
    """The same as the network says to the test pictures of the run; with names of classes."""
    result = outcome.load(compared).evaluation
    predictor = Predictor(run_folder.weights_file(compared))
    paths = [pictures / "test" / name / f"{i}.png" for name in ("green", "red") for i in range(3)]
    for path, expected in zip(paths, result.probabilities):
        np.testing.assert_allclose(predictor.probabilities(path), expected, rtol=1e-4)
    assert cli.main(["predict", str(compared), str(paths[0])]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == str(paths[0])
    assert sorted(line.split()[1] for line in out[1:]) == ["green", "red"]
    assert "no run folder" in refused(capsys, "predict", tmp_path, paths[0])
    (tmp_path / "config.json").write_text((compared / "config.json").read_text())
    assert "no epoch of this run was finished" in refused(capsys, "predict", tmp_path, paths[0])


@pytest.mark.parametrize(
    ("notes", "message"),
    [
        ({"classes": ["a"]}, "expected 10 names"),
        ({"classes": 3}, "expected 10 names"),
        ({"mean": [0, 0], "std": [1, 1, 1]}, "three numbers"),
        ({"mean": [0, 0, 0], "std": [1, 1, 0]}, "three positive numbers"),
        ({"mean": {}, "std": [1, 1, 1]}, "mean and std"),
    ],
)
def test_notes_that_make_no_sense(notes, message, tmp_path):
    models.save_weights(models.create("resnet8"), tmp_path / "net", **notes)
    with pytest.raises(ValueError, match=f"the notes in .*net cannot be used: .*{message}"):
        Predictor(tmp_path / "net")
