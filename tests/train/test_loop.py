"""What a run computes and leaves behind."""

import json

import numpy as np
import parity  # noqa: F401  (registers the backend "strict", a stand-in for CuPy)
import pytest
import strict_recorder
import tiny_run
from strict_array import strict
from tqdm import tqdm

from minise import backend, cli, models
from minise import functional as F
from minise.backend import random
from minise.data import DataLoader
from minise.models.weights import read_config
from minise.tensor import Tensor
from minise.train import Config, DivergedError, datasets, loop, run_folder, train
from minise.train.interrupt import Interrupt

KEYS = [
    "epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "lr", "seconds",
    "images_per_second",
]  # fmt: skip


@pytest.fixture
def run(pictures, tmp_path):
    """Trains with tiny_run's settings and some changes; returns the run folder."""

    def call(name="run", **changes):
        config = Config(**tiny_run.settings(pictures, **changes))
        return train(config, tmp_path / name, progress=False)

    return call


@pytest.fixture
def stopped(pictures, tmp_path):
    """A `loop.Run` that has not begun."""

    def call(**changes):
        config = Config(**tiny_run.settings(pictures, **changes))
        return loop.Run(config, datasets.load(config), tmp_path, Interrupt(), progress=False)

    return call


def test_the_run_folder(run):
    out = run()
    assert sorted(path.name for path in out.iterdir()) == [
        "best.safetensors", "config.json", "last.safetensors", "metrics.jsonl",
        "state.safetensors",
    ]  # fmt: skip
    lines = tiny_run.metrics(out)
    assert [list(line) for line in lines] == [KEYS] * tiny_run.EPOCHS
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    for line in lines:
        assert 0 <= line["train_accuracy"] <= 1
        assert 0 <= line["test_accuracy"] <= 1
        assert line["seconds"] > 0
        assert line["images_per_second"] > 0
    assert lines[-1]["lr"] == pytest.approx(0.05 / 25e4)  # one-cycle's last rate


def test_it_learns(run):
    lines = tiny_run.metrics(run(epochs=5, augment=False))
    assert lines[-1]["train_accuracy"] > 0.9
    assert lines[-1]["train_loss"] < lines[0]["train_loss"]


def test_metrics_are_what_a_plain_loop_computes(run, pictures):
    """The same run, written down once more without checkpoints, bars and deferred sums."""
    changes = {"label_smoothing": 0.1, "schedule": "constant", "epochs": 2}
    lines = tiny_run.metrics(run(**changes))
    config = Config(**tiny_run.settings(pictures, **changes))
    data = datasets.load(config)
    random.manual_seed(0)
    model = models.create("se_resnet8", num_classes=2, reduction=4)
    velocity = {}
    loader = DataLoader(data.train, 8, shuffle=True, transform=data.transform, seed=0)
    for line in lines:
        losses, hits = [], 0
        for images, labels in loader:
            logits = model(Tensor(images))
            loss = F.cross_entropy(logits, Tensor(labels), label_smoothing=0.1)
            losses += [loss.item()] * len(labels)
            hits += (logits.numpy().argmax(1) == labels).sum()
            model.zero_grad()
            loss.backward()
            for parameter in model.parameters():
                gradient = parameter.grad.data + 1e-4 * parameter.data
                velocity[parameter] = 0.9 * velocity.get(parameter, 0) + gradient
                parameter.data -= 0.05 * (gradient + 0.9 * velocity[parameter])
        assert line["train_loss"] == pytest.approx(np.mean(losses), rel=1e-5)
        assert line["train_accuracy"] == hits / tiny_run.TRAIN
        assert line["lr"] == 0.05
        model.eval()
        logits = model(Tensor(data.test_transform(data.test.images)))
        model.train()
        test_loss = F.cross_entropy(logits, Tensor(data.test.labels)).item()
        assert line["test_loss"] == pytest.approx(test_loss, rel=1e-5)
        hits = logits.numpy().argmax(1) == data.test.labels
        assert line["test_accuracy"] == hits.mean()


def test_the_same_settings_give_the_same_run(run):
    first = tiny_run.outcome(run("first", seed=5))
    assert tiny_run.outcome(run("second", seed=5)) == first
    assert tiny_run.outcome(run("third", seed=6)) != first


def test_the_weights_can_be_used_elsewhere(run):
    out = run()
    lines = tiny_run.metrics(out)
    best = max(lines, key=lambda line: line["test_accuracy"])
    for name, line in (("best", best), ("last", lines[-1])):
        config = read_config(out / f"{name}.safetensors")
        assert (config["name"], config["num_classes"], config["reduction"]) == ("se_resnet8", 2, 4)
        models.load_weights(models.create(**config), out / f"{name}.safetensors")
        result = run_folder.evaluate_run(out, name)
        assert result.accuracy == line["test_accuracy"]
        assert result.loss == pytest.approx(line["test_loss"], rel=1e-6)
    assert run_folder.metrics(out) == lines


def test_weights_know_how_pictures_are_prepared(run, pictures):
    from safetensors import safe_open

    data = datasets.load(Config(**tiny_run.settings(pictures)))
    with safe_open(run() / "best.safetensors", framework="numpy") as file:
        notes = {name: json.loads(file.metadata()[name]) for name in ("classes", "mean", "std")}
    assert notes == {"classes": ["green", "red"], "mean": data.mean, "std": data.std}


def test_best_is_the_first_of_the_best_epochs(stopped, monkeypatch, tmp_path):
    run = stopped(epochs=4)
    accuracies = iter([0.2, 0.6, 0.6, 0.4])
    monkeypatch.setattr(
        loop, "evaluate", lambda *args, **options: type("", (), {
            "loss": 1.0, "accuracy": next(accuracies),
        }),
    )  # fmt: skip
    saved = {}
    monkeypatch.setattr(
        loop, "save_weights", lambda model, path, **notes: saved.setdefault(path.name, []).append(
            run.position.epoch
        ),
    )  # fmt: skip
    run.finish()
    assert saved == {"last.safetensors": [1, 2, 3, 4], "best.safetensors": [1, 2]}
    for metrics, seconds in zip(run.position.history, (20, 30, 40, 6), strict=True):
        metrics["seconds"] = seconds
    assert run.result() == (
        "se_resnet8: test accuracy 40.00%, best 60.00% (epoch 2); all epochs together took "
        "1.6 minutes"
    )
    run.save()
    resumed = stopped(epochs=4)
    resumed.resume()
    assert resumed.result() == run.result()


def test_limit(run):
    out = run(limit=5, epochs=1)
    (line,) = tiny_run.metrics(out)
    assert (line["train_accuracy"] * 5) % 1 == 0


# Against PyTorch


@pytest.mark.parametrize("options", [
    {},
    {"schedule": "cosine", "warmup": 1, "label_smoothing": 0.1, "momentum": 0, "weight_decay": 0},
])  # fmt: skip
def test_twenty_steps_as_in_pytorch(stopped, options):
    torch = pytest.importorskip("torch")
    import torch_twins

    run = stopped(epochs=7, **options)
    run.model.double()
    twin = torch_twins.load(
        lambda: torch_twins.cifar("basic", 1, classes=2, reduction=4),
        {key: value.numpy() for key, value in run.model.state_dict().items()},
    )
    config = run.config
    sgd = torch.optim.SGD(
        twin.parameters(), config.lr, config.momentum, nesterov=config.momentum > 0,
        weight_decay=config.weight_decay,
    )  # fmt: skip
    moves = torch.optim.lr_scheduler
    if config.schedule == "onecycle":
        schedule = moves.OneCycleLR(sgd, config.lr, total_steps=21, cycle_momentum=False)
    else:
        ramp = moves.LinearLR(sgd, 1 / 3, total_iters=3)
        schedule = moves.SequentialLR(sgd, [ramp, moves.CosineAnnealingLR(sgd, 18)], [3])
    batches = [batch for _ in range(7) for batch in run.loader]
    for images, labels in batches[:20]:
        images = images.astype(np.float64)
        loss, correct = run.step(images, labels)
        run.schedule.step()
        logits = twin(torch.tensor(images))
        expected = torch.nn.functional.cross_entropy(
            logits, torch.tensor(labels), label_smoothing=config.label_smoothing
        )
        sgd.zero_grad()
        expected.backward()
        sgd.step()
        schedule.step()
        assert float(loss) == pytest.approx(expected.item(), rel=1e-8)
        assert correct == (logits.argmax(1).numpy() == labels).sum()
    assert len(batches) == 21


# On a device


@pytest.fixture(params=["op by op", "captured"])
def device(request, monkeypatch, capsys):
    """The strict array: without and with kernels of our own for matrix products."""
    for op, kernel in strict_recorder.own_kernels().items():
        if request.param == "captured":
            monkeypatch.setitem(backend.get("strict").kernels, op, kernel)
    logs = []
    monkeypatch.setattr(
        strict_recorder.StandIn, "replay",
        lambda self, replay=strict_recorder.StandIn.replay: (logs.append("replay"), replay(self)),
    )  # fmt: skip
    yield "strict"
    assert bool(logs) == (request.param == "captured")


def test_a_run_on_a_device(run, device):
    """As on a GPU: every array is moved, nothing mixes, the result is that of NumPy."""
    options = {"epochs": 3, "limit": 18, "label_smoothing": 0.1}
    on_device = tiny_run.metrics(run("device", backend=device, **options))
    on_host = tiny_run.metrics(run("numpy", **options))
    for ours, theirs in zip(on_device, on_host):
        for name in KEYS[:6]:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-3)


@pytest.mark.parametrize("device", ["captured"], indirect=True)
def test_a_run_that_is_resumed_on_a_device(run, device, monkeypatch, tmp_path):
    """It is captured anew, after other steps than in the run that was not interrupted."""
    options = {"backend": device, "epochs": 2, "limit": 18, "batch_size": 4}
    whole = tiny_run.outcome(run("whole", **options))
    with monkeypatch.context() as patched:
        break_at(patched, 8, np.nan)
        with pytest.raises(DivergedError):
            run(**options)
    out = tmp_path / "run"
    train(Config.load(out), out, resume=True, progress=False)
    assert tiny_run.outcome(out) == whole


def test_no_step_waits_for_the_device(stopped, device, monkeypatch):
    """The losses of an epoch are read in two transfers: the losses, the hits."""
    run = stopped(backend=device, epochs=2, limit=18)
    run.bar = tqdm(disable=True)
    monkeypatch.setattr(loop, "READ_EVERY", 1e9)
    for _ in range(2):
        strict.sync_count = 0
        run.train_epoch()
        assert strict.sync_count == 2
        assert run.position.step == tiny_run.STEPS
        run.position.step = 0


def test_the_line_that_says_why_a_step_is_not_captured(pictures, tmp_path, capsys):
    config = Config(**tiny_run.settings(pictures, backend="strict", epochs=2))
    train(config, tmp_path / "run")
    lines = [line for line in capsys.readouterr().out.splitlines() if "op by op" in line]
    assert lines == [
        "training op by op, the step cannot be captured as a CUDA graph: calling cuBLAS API during "
        "stream capture (matmul) (in module conv1)"
    ]


@pytest.mark.parametrize("tf32", [False, True])
def test_tf32_is_for_training_and_not_for_testing(run, monkeypatch, tf32):
    seen = {"step": set(), "evaluate": set()}

    def noted(name, whole):
        return lambda *args, **options: (
            seen[name].add(backend.using_tf32()), whole(*args, **options)
        )[1]  # fmt: skip

    monkeypatch.setattr(loop.Run, "step", noted("step", loop.Run.step))
    monkeypatch.setattr(loop, "evaluate", noted("evaluate", loop.evaluate))
    run(backend="strict", tf32=tf32, epochs=1)
    assert seen == {"step": {tf32}, "evaluate": {False}}


# A loss that is no number


def break_at(monkeypatch, step, value):
    """The loss of that step (counted from 1 over the whole run) becomes `value`."""
    whole_step, count = loop.Run.step, [0]

    def broken(self, images, labels):
        loss, correct = whole_step(self, images, labels)
        count[0] += 1
        return (loss * 0 + value if count[0] == step else loss), correct

    monkeypatch.setattr(loop.Run, "step", broken)


@pytest.mark.parametrize("read_every", [0, 1e9])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_no_number_stops_the_run(monkeypatch, run, tmp_path, value, read_every):
    monkeypatch.setattr(loop, "READ_EVERY", read_every)
    expected = tiny_run.outcome(run("whole"))
    break_at(monkeypatch, 5, value)
    with pytest.raises(DivergedError) as caught:
        run()
    message = str(caught.value)
    assert f"diverged in epoch 2: loss is {value} at step 2 (lr 0.0" in message
    out = tmp_path / "run"
    assert f"the last checkpoint is {out / 'state.safetensors'}, the end of epoch 1" in message
    assert len(tiny_run.metrics(out)) == 1

    monkeypatch.undo()  # and from that checkpoint the run can go on
    train(Config.load(out), out, resume=True, progress=False)
    assert tiny_run.outcome(out) == expected


def test_weights_that_explode(run, tmp_path, recwarn):
    with pytest.raises(DivergedError, match=r"epoch 1: .*no checkpoint was written yet"):
        run(lr=1e30)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.json"]
    assert not recwarn.list


def test_a_test_loss_that_is_no_number(monkeypatch, run):
    bad = type("", (), {"loss": np.nan, "accuracy": 0.0})
    monkeypatch.setattr(loop, "evaluate", lambda *args, **options: bad)
    with pytest.raises(DivergedError, match="epoch 1: test loss is nan after its last step"):
        run()


def test_weights_that_are_no_numbers_are_not_saved(stopped, tmp_path):
    run = stopped()
    run.save()
    before = (tmp_path / "state.safetensors").read_bytes()
    run.model.fc.bias.data[1] = np.inf
    with pytest.raises(DivergedError, match=r"no longer finite: model\.fc\.bias"):
        run.save()
    assert (tmp_path / "state.safetensors").read_bytes() == before


# Side by side


def test_compare_trains_the_twin_too(run, capsys, pictures):
    out = run("both", compare=True)
    alone = [run("se"), run("plain", model="resnet8")]
    assert tiny_run.outcome(out) == tiny_run.outcome(alone[0])
    assert tiny_run.outcome(out / "plain") == tiny_run.outcome(alone[1])
    assert Config.load(out / "plain") == Config.load(alone[1])


def test_what_is_printed(pictures, tmp_path, capsys):
    arguments = tiny_run.arguments(pictures, epochs=1)
    assert cli.main(["train", "--compare", "--out", str(tmp_path / "out"), *arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert "se_resnet8: 80,350 parameters" in lines[0]
    assert "20 pictures to train, 6 to test" in lines[0]
    assert lines[1].startswith("epoch   1/1  train loss ")
    assert lines[2].startswith("resnet8: 77,522 parameters")
    assert lines[-3].startswith("se_resnet8: test accuracy ")
    assert lines[-2].startswith("resnet8: test accuracy ")
    assert lines[-1] == f"report: {tmp_path / 'out' / 'report.html'}"
