"""Lesson 07, backprop through SE: what test_lessons.py plants in its solutions and holds it to."""

import execute_lessons as runner
import pytest
from notebooks import functions, judged, modules_of, read

lesson = modules_of("07").exercises
CHECK = lesson.check

MISTAKES = [  # blank, from, to, what the hint says
    ("grad_s", ".sum(", ".mean(", "is a sum, not a mean"),
    ("grad_s", "(2, 3)", "(1, 2)", "Axes are counted from 0"),
    ("grad_s", ".sum(axis=(2, 3))", "", "Σ over H and W is missing"),
    ("grad_s", "dy * x", "dy", "The factor x is missing"),
    ("grad_W2", "dv.T @ h", "(dv.T @ h).T", "The weight's gradient is transposed"),
    ("grad_W2", "dv.T @ h", "dv[-1:].T @ h[-1:]", "it has overwritten the others"),
    ("grad_W2", "dv.T @ h", "dv @ h", "The sum should run over the images"),
    ("grad_W2", "@ h", "@ h / len(h)", "the mean over the images"),
    ("grad_b2", "dv.sum(axis=0)", "dv[-1]", "it has overwritten the others"),
    ("grad_b2", "axis=0", "axis=1", "The wrong axis"),
    ("grad_b2", "axis=0", "", "The sum runs over the outputs too"),
    ("grad_b2", ".sum(axis=0)", "", "Σ over the images is missing"),
    ("grad_h", "dv @ W2", "(dv @ W2).T", "Rows and columns are exchanged"),
    ("grad_h", "dv @ W2", "-dv @ W2", "-1 times the expected one"),
    ("grad_h", "@ W2", "@ W2.T", "The weight is transposed"),
    ("grad_a", "(a > 0)", "np.maximum(a, 0)", "That is dh times ReLU(a)"),
    ("grad_a", "dh * (a > 0)", "a > 0", "That is the mask alone"),
    ("grad_a", "dh * (a > 0)", "dh", "The ReLU mask is missing"),
    ("grad_a", "(a > 0)", "(dh > 0)", "The mask looks at the wrong array"),
    ("grad_W1", "da.T @ z", "da.T @ np.ones_like(z)", "The factor z is missing"),
    ("grad_W1", "da.T @ z", "da @ z", "The sum should run over the images"),
    ("grad_W1", "@ z", "@ z / len(z)", "the mean over the images"),
    ("grad_W1", "da.T @ z", "z.T @ da", "The weight's gradient is transposed"),
    ("grad_b1", ".sum(", ".mean(", "the mean over the images"),
    ("grad_b1", ".sum(axis=0)", "", "Σ over the images is missing"),
    ("grad_b1", "da.sum(axis=0)", "da[-1]", "it has overwritten the others"),
    ("grad_z", "da @ W1", "(da @ W1).T", "Rows and columns are exchanged"),
    ("grad_z", "da @ W1", "da @ W1 / 2", "0.5 times the expected one"),
    ("grad_z", "@ W1", "@ W1.T", "The weight is transposed"),
    ("gate_path", " / (H * W)", "", "1/(H·W) is lost"),
    ("gate_path", "(H * W)", "x.size", "the size of all of x"),
    ("gate_path", "dz[:, :, None, None]", "dz[:, :, None, None] * x", "The factor x does not"),
    ("grad_x", " + gate", "", "The gate path is lost"),
    ("grad_x", "dy * s[:, :, None, None] + gate", "gate", "If the second contribution overwrote"),
    ("grad_x", "[:, :, None, None]", "", "write s[:, :, None, None]"),
]

CLAIMS = """
assert set(columns) == {'minise', 'PyTorch', 'yours'} and agree
random, even = by_size.values()
assert random[0] / random[-1] > 15 and all(a > b for a, b in zip(random, random[1:]))
assert max(even) / min(even) < 2
assert losses[0] > 2 and np.mean(losses[-20:]) < 1.4
assert np.mean(shares[:20]) < 0.02 and np.mean(shares[-20:]) > 0.04
assert careless and error.max() > 1 and broken.fc1.weight.grad is None
with minise.no_grad():
    se(stem(minise.tensor(images)))
planes = se.gate.numpy().reshape(len(images), 3, 8).mean(axis=2)
assert all(planes[train.cues == cue].mean(axis=0).argmax() == cue for cue in range(3))
gate = (total - direct)[0, 0]
assert np.allclose(gate, gate[0, 0], rtol=1e-12)
"""


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [(" * s * (1 - s)", "", "σ′ is missing"), (" * (1 - s)", "", "Half of σ′ is missing")],
)
def test_a_mistake_in_the_worked_step_too(old, new, hint):
    notebook = read(runner.ROOT / "lessons" / "07_backprop_through_se" / "lesson.ipynb")
    cell = next(c.source for c in notebook.cells if c.source.startswith("def grad_v"))
    assert cell.count(old) == 1
    verdict = judged(CHECK, "grad_v", functions(cell)["grad_v"].replace(old, new))
    assert verdict.state == "wrong"
    assert hint in verdict.hint
