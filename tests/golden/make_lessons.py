"""Makes minise/lessons/se_backward.safetensors: an SE block and its gradients in PyTorch, float64.

    python tests/golden/make_lessons.py       (needs torch; made with 2.13, on a CPU)

The file lies with the lesson that shows it, since that has to run where there are no tests.
"""

from pathlib import Path

import numpy

LESSONS = Path(__file__).resolve().parents[2] / "minise" / "lessons"
PATH = LESSONS / "se_backward.safetensors"

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


def main():
    from safetensors.numpy import save_file

    arrays = inputs()
    arrays |= {key: value.copy() for key, value in torch_gradients(arrays).items()}
    save_file(arrays, PATH)
    print(f"{PATH.name}: {len(arrays)} arrays, {PATH.stat().st_size} bytes")


if __name__ == "__main__":
    main()
