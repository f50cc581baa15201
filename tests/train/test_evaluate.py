"""Loss, accuracy and predictions over a data set."""

import numpy as np
import pytest

from minise import Tensor, nn
from minise.data import Dataset
from minise.data.transforms import ToFloat
from minise.train import evaluate


class Brightest(nn.Module):
    """Its logits are the mean brightness of the three channels, times a weight."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.scale = nn.Parameter(np.float32([scale]))
        self.modes = []

    def forward(self, x):
        self.modes.append((self.training, len(x.data)))
        return x.mean(axis=(2, 3)) * self.scale


@pytest.fixture
def dataset():
    images = np.random.RandomState(0).randint(0, 256, (7, 3, 4, 4)).astype(np.uint8)
    return Dataset(images, np.array([0, 1, 2, 0, 1, 2, 0]), list("rgb"))


def test_against_the_formulas(dataset):
    result = evaluate(Brightest(30), dataset, ToFloat(), batch_size=3)
    logits = 30 * (dataset.images / 255).mean((2, 3))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(result.probabilities, p, rtol=1e-5)
    assert result.loss == pytest.approx(-np.log(p[np.arange(7), dataset.labels]).mean(), rel=1e-5)
    assert result.predictions.tolist() == p.argmax(1).tolist()
    assert result.accuracy == np.mean(p.argmax(1) == dataset.labels)
    assert result.labels is dataset.labels


def test_it_runs_in_evaluation_mode_and_in_batches(dataset):
    model, calls = Brightest(), []
    evaluate(model, dataset, ToFloat(), batch_size=3, after_batch=lambda: calls.append(1))
    assert model.modes == [(False, 3), (False, 3), (False, 1)]
    assert len(calls) == 3
    assert model.training
    evaluate(model.eval(), dataset, ToFloat())
    assert not model.training


def test_the_mode_is_restored_after_an_interruption(dataset):
    def stop():
        raise KeyboardInterrupt

    model = Brightest()
    with pytest.raises(KeyboardInterrupt):
        evaluate(model, dataset, ToFloat(), after_batch=stop)
    assert model.training


def test_no_graph_is_kept(dataset):
    outputs = []
    model = Brightest()
    model.register_forward_hook(lambda module, args, output: outputs.append(output))
    evaluate(model, dataset, ToFloat())
    assert isinstance(outputs[0], Tensor)
    assert outputs[0].op is None
