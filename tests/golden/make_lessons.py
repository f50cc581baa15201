"""Makes the numbers of two lessons: an SE block in PyTorch, float64.

    lessons/06_squeeze_excite_scale/numbers.safetensors    its values
    lessons/07_backprop_through_se/numbers.safetensors     its gradients

    python tests/golden/make_lessons.py       (needs torch; made with 2.13, on a CPU)

The files lie with the lessons that show them, since these have to run where there are no tests.
"""

from pathlib import Path

import numpy

LESSONS = Path(__file__).resolve().parents[2] / "lessons"

N, C, J, H, W = 2, 4, 2, 3, 3  # images, channels, hidden units, height, width


def inputs():
    """Image 0 switches both hidden units on, image 1 only one: ReLU has something to mask."""
    stream = numpy.random.RandomState(6)
    shapes = {
        "x": (N, C, H, W), "W1": (J, C), "b1": (J,), "W2": (C, J), "b2": (C,), "dy": (N, C, H, W),
    }  # fmt: skip
    return {name: stream.standard_normal(shape).round(2) for name, shape in shapes.items()}


def torch_gradients(arrays):
    """The gradient of every value between x and y, dx as a whole and each of its paths alone."""
    import torch
    from torch.nn.functional import linear

    dy = torch.tensor(arrays["dy"])

    def backward(scaled, gated):
        """The gradients of all values, where y = scaled(x) · s and s is made from gated(x)."""
        leaf = {key: torch.tensor(arrays[key], requires_grad=True) for key in arrays}
        x = leaf["x"]
        z = gated(x).mean(dim=(2, 3))
        a = linear(z, leaf["W1"], leaf["b1"])
        h = a.relu()
        v = linear(h, leaf["W2"], leaf["b2"])
        s = v.sigmoid()
        y = scaled(x) * s[:, :, None, None]
        values = {"x": x, "z": z, "a": a, "h": h, "v": v, "s": s} | {
            key: leaf[key] for key in ("W1", "b1", "W2", "b2")
        }
        wanted = {key: value for key, value in values.items() if value.requires_grad}
        grads = torch.autograd.grad(y, list(wanted.values()), dy, allow_unused=True)
        return {f"d{key}": grad.numpy() for key, grad in zip(wanted, grads) if grad is not None}

    def whole(x):
        return x

    return backward(whole, whole) | {
        "direct": backward(whole, torch.detach)["dx"],
        "gate": backward(torch.detach, whole)["dx"],
    }


def forward_inputs():
    """Two images of 8 channels, as after a ReLU.

    Image 0 switches on one of the 2 hidden units, image 1 the other: their gates differ.
    """
    stream = numpy.random.RandomState(2519)
    brightness = stream.uniform(-0.5, 1.5, (2, 8, 1, 1))
    shapes = {"W1": (2, 8), "b1": (2,), "W2": (8, 2), "b2": (8,)}
    arrays = {"x": numpy.maximum(brightness + 0.6 * stream.standard_normal((2, 8, 4, 4)), 0)}
    arrays |= {name: 1.5 * stream.standard_normal(shape) for name, shape in shapes.items()}
    return {name: array.round(2) for name, array in arrays.items()}


def torch_values(arrays):
    """What an SE block makes of x: z, the gates s, and y."""
    import torch
    from torch.nn.functional import adaptive_avg_pool2d, linear

    x, W1, b1, W2, b2 = (torch.tensor(arrays[key]) for key in ("x", "W1", "b1", "W2", "b2"))
    z = adaptive_avg_pool2d(x, 1).flatten(1)
    s = linear(linear(z, W1, b1).relu(), W2, b2).sigmoid()
    y = s[:, :, None, None] * x
    return {"z": z.numpy(), "s": s.numpy(), "y": y.numpy()}


def main():
    for name, arrays, outputs in (
        ("06_squeeze_excite_scale", forward_inputs(), torch_values),
        ("07_backprop_through_se", inputs(), torch_gradients),
    ):
        write(LESSONS / name / "numbers.safetensors", arrays | outputs(arrays))


def write(path, arrays):
    from safetensors.numpy import save_file

    save_file({key: array.copy() for key, array in arrays.items()}, path)
    print(f"{path.parent.name}: {len(arrays)} arrays, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
