"""Makes models.safetensors: what PyTorch's SE-ResNet-20 and SE-ResNet-50 answer, in float64.

    python tests/golden/make_models.py       (needs torch; made with 2.13, on a CPU)

Weights and images are drawn here, so that minise's own start plays no part: each array from a
RandomState that its name seeds, whose stream NumPy promises never to change.
"""

import sys
from pathlib import Path
from zlib import crc32

import numpy

PATH = Path(__file__).with_name("models.safetensors")

IMAGES = {"se_resnet20": (4, 3, 32, 32), "se_resnet50": (2, 3, 64, 64)}


def draw(name, shape):
    """The array of that name in a state dict, at a scale that keeps signals of ordinary size."""
    stream = numpy.random.RandomState(crc32(name.encode()))
    kind = name.rpartition(".")[2]
    if kind == "num_batches_tracked":
        return numpy.zeros(shape, numpy.int64)
    if kind == "running_var":
        return stream.uniform(0.5, 1.5, shape)
    if kind == "weight" and len(shape) == 1:  # γ: below 1, or sums of many branches would grow
        return stream.uniform(0.3, 1, shape)
    if kind == "weight":  # variance 2 / fan-in
        return stream.uniform(-1, 1, shape) * numpy.sqrt(6 / numpy.prod(shape[1:]))
    return stream.uniform(-0.3, 0.3, shape)


def weights(shapes):
    """All arrays of a state dict, from the shapes by name."""
    return {name: draw(name, shape) for name, shape in shapes.items()}


def images(*shape):
    return numpy.random.RandomState(0).standard_normal(shape)


def twin(name):
    """The network in PyTorch, with the weights drawn here."""
    import torch_twins as twins

    def make():
        return twins.cifar("basic", 3) if name == "se_resnet20" else twins.imagenet("bottleneck")

    import torch

    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in make().state_dict().items()}
    return twins.load(make, weights(shapes))


def torch_logits(name):
    """{"NAME.train": logits, "NAME.eval": logits}; train comes first and moves the statistics."""
    import torch

    net, x = twin(name), torch.tensor(images(*IMAGES[name]))
    with torch.no_grad():
        return {
            f"{name}.train": net.train()(x).numpy(),
            f"{name}.eval": net.eval()(x).numpy(),
        }


def main():
    from safetensors.numpy import save_file

    sys.path.insert(0, str(PATH.parent.parent))
    arrays = {key: a for name in IMAGES for key, a in torch_logits(name).items()}
    save_file(arrays, PATH)
    print(f"{PATH.name}: {len(arrays)} arrays, {PATH.stat().st_size} bytes")


if __name__ == "__main__":
    main()
