"""Makes optim.safetensors: what PyTorch's optimizers and schedules do, step by step.

    python tests/golden/make_optim.py        (needs torch; made with 2.13, on a CPU)

The cases and the problem below are also what the tests run minise on, so a new configuration is one
line here.
"""

from pathlib import Path

import numpy

PATH = Path(__file__).with_name("optim.safetensors")
STEPS = 50
RECORDED = (1, 2, 10, 50)  # steps after which the weights are kept
EPOCHS = 60

# Update rules: name -> (class, options for all groups, options for a group of its own for the bias)
RULES = {
    "sgd_defaults": ("SGD", {}, {}),
    "sgd": ("SGD", {"lr": 0.1}, {}),
    "sgd_decay": ("SGD", {"lr": 0.1, "weight_decay": 0.05}, {}),
    "sgd_momentum": ("SGD", {"lr": 0.02, "momentum": 0.9}, {}),
    "sgd_dampening": ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.5}, {}),
    "sgd_all": ("SGD", {"lr": 0.1, "momentum": 0.8, "dampening": 0.3, "weight_decay": 0.01}, {}),
    "sgd_nesterov": (
        "SGD",
        {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True},
        {},
    ),
    "sgd_maximize": ("SGD", {"lr": 2e-4, "momentum": 0.5, "maximize": True}, {}),
    "sgd_groups": (
        "SGD",
        {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.1},
        {"lr": 0.1, "momentum": 0, "weight_decay": 0},
    ),
    "adam_defaults": ("Adam", {}, {}),
    "adam": ("Adam", {"lr": 0.05, "betas": (0.8, 0.99), "eps": 1e-3}, {}),
    "adam_decay": ("Adam", {"lr": 0.05, "weight_decay": 0.1}, {}),
    "adam_amsgrad": ("Adam", {"lr": 0.05, "betas": (0.9, 0.9), "amsgrad": True}, {}),
    "adam_maximize": ("Adam", {"lr": 0.01, "weight_decay": 0.01, "maximize": True}, {}),
    "adam_groups": ("Adam", {"lr": 0.05}, {"lr": 0.01, "betas": (0.5, 0.9)}),
    "adamw_defaults": ("AdamW", {}, {}),
    "adamw": ("AdamW", {"lr": 0.05, "weight_decay": 0.5}, {}),
    "adamw_no_decay": ("AdamW", {"lr": 0.05, "weight_decay": 0}, {}),
    "adamw_amsgrad": ("AdamW", {"lr": 0.05, "betas": (0.9, 0.9), "amsgrad": True}, {}),
    "adamw_maximize": ("AdamW", {"lr": 0.01, "maximize": True}, {}),
    "adamw_groups": ("AdamW", {"lr": 0.05, "weight_decay": 0.1}, {"weight_decay": 0}),
}

# Schedules: name -> (optimizer class, how to make it from the module lr_scheduler and an optimizer)
SCHEDULES = {
    "step": ("SGD", lambda s, o: s.StepLR(o, 7, gamma=0.5)),
    "step_every": ("SGD", lambda s, o: s.StepLR(o, 1, 0.9)),
    "multistep": ("SGD", lambda s, o: s.MultiStepLR(o, [10, 30, 45])),
    "multistep_twice": ("SGD", lambda s, o: s.MultiStepLR(o, [20, 20, 5], gamma=0.3)),
    "multistep_zero": ("SGD", lambda s, o: s.MultiStepLR(o, [0, 9], gamma=0.3)),
    "cosine": ("SGD", lambda s, o: s.CosineAnnealingLR(o, T_max=60)),
    "cosine_again": ("SGD", lambda s, o: s.CosineAnnealingLR(o, 12, eta_min=1e-3)),
    "linear": ("SGD", lambda s, o: s.LinearLR(o)),
    "linear_down": ("SGD", lambda s, o: s.LinearLR(o, 1.0, 0.0, total_iters=50)),
    "linear_none": ("SGD", lambda s, o: s.LinearLR(o, 0.5, total_iters=0)),
    "onecycle": ("SGD", lambda s, o: s.OneCycleLR(o, 1.0, total_steps=60)),
    "onecycle_epochs": ("SGD", lambda s, o: s.OneCycleLR(o, 1.0, epochs=6, steps_per_epoch=11)),
    "onecycle_linear": (
        "SGD",
        lambda s, o: s.OneCycleLR(o, [1.0, 0.3], 60, pct_start=0.45, anneal_strategy="linear"),
    ),
    "onecycle_three": (
        "SGD",
        lambda s, o: s.OneCycleLR(
            o, 0.5, 60, three_phase=True, div_factor=10.0, final_div_factor=100.0
        ),
    ),
    "onecycle_momentums": (
        "SGD",
        lambda s, o: s.OneCycleLR(o, 0.5, 60, base_momentum=[0.7, 0.8], max_momentum=[0.9, 0.99]),
    ),
    "onecycle_constant": ("SGD", lambda s, o: s.OneCycleLR(o, 0.5, 60, cycle_momentum=False)),
    "onecycle_adam": ("Adam", lambda s, o: s.OneCycleLR(o, 0.01, 60)),
    "onecycle_adamw": ("AdamW", lambda s, o: s.OneCycleLR(o, 0.01, 60, anneal_strategy="linear")),
    "warmup_cosine": (
        "SGD",
        lambda s, o: s.SequentialLR(
            o, [s.LinearLR(o, 0.01, total_iters=5), s.CosineAnnealingLR(o, 55, 1e-4)], [5]
        ),
    ),
    "warmup_steps": (
        "SGD",
        lambda s, o: s.SequentialLR(
            o, [s.LinearLR(o), s.MultiStepLR(o, [0, 10, 25]), s.StepLR(o, 3)], [5, 40]
        ),
    ),
    "cosine_linear": (
        "SGD",
        lambda s, o: s.SequentialLR(o, [s.CosineAnnealingLR(o, 20), s.LinearLR(o, 0.2)], [30]),
    ),
    "linear_onecycle": (
        "SGD",
        lambda s, o: s.SequentialLR(
            o, [s.LinearLR(o), s.OneCycleLR(o, 0.7, 50, cycle_momentum=False)], [12]
        ),
    ),
    "sequential_at_once": (
        "SGD",
        lambda s, o: s.SequentialLR(o, [s.StepLR(o, 4), s.LinearLR(o, 0.5)], [0]),
    ),
    "sequential_alone": ("SGD", lambda s, o: s.SequentialLR(o, [s.StepLR(o, 4)], [])),
}


class LeastSquares:
    """loss = ½ Σ (scale · x Wᵀ + bias − y)² / N: small, not convex, without exp or log.

    The bias gets no gradient at every third step, the parameter `unused` never gets one.
    """

    def __init__(self, dtype):
        stream = numpy.random.RandomState(0)
        self.x = stream.randn(8, 5).astype(dtype)  # (N, C)
        self.y = stream.randn(8, 3).astype(dtype)  # (N, O)
        self.start = {
            "weight": stream.randn(3, 5).astype(dtype),
            "bias": stream.randn(3).astype(dtype),
            "scale": numpy.asarray(1.5, dtype),
            "unused": numpy.ones(2, dtype),
        }

    def gradients(self, weights, step):
        """d(loss)/d(weights), all dicts of arrays by name; None where there is no gradient."""
        product = self.x @ weights["weight"].T  # (N, O)
        residual = weights["scale"] * product + weights["bias"] - self.y
        residual /= len(self.x)
        return {
            "weight": numpy.asarray(weights["scale"] * residual.T @ self.x),
            "bias": None if step % 3 == 0 else residual.sum(axis=0),
            "scale": numpy.asarray((residual * product).sum()),
            "unused": None,
        }


def groups(parameters, bias_options):
    """The parameters of a LeastSquares, the bias in a group of its own if it has options."""
    if not bias_options:
        return list(parameters.values())
    others = [parameter for name, parameter in parameters.items() if name != "bias"]
    return [{"params": others}, {"params": [parameters["bias"]], **bias_options}]


def trajectory(problem, optimizer, weights, set_gradients, steps=range(1, STEPS + 1)):
    """Run `optimizer`; the weights after the RECORDED steps, by name, stacked in the first axis."""
    recorded = {name: [] for name in weights}
    for step in steps:
        set_gradients(problem.gradients(weights, step))
        optimizer.step()
        if step in RECORDED:
            for name, array in weights.items():
                recorded[name].append(array.copy())
    return {name: numpy.stack(arrays) for name, arrays in recorded.items()}


def rates(optimizer, schedule, epochs=EPOCHS):
    """Per epoch and parameter group: learning rate, momentum.  (epochs, groups, 2)"""
    table = []
    for _ in range(epochs):
        table.append([(group["lr"], _momentum(group)) for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    return numpy.array(table, dtype=numpy.float64)


def _momentum(group):
    return group["betas"][0] if "betas" in group else group["momentum"]


def torch_trajectory(case, dtype):
    import torch

    kind, options, bias_options = RULES[case]
    problem = LeastSquares(dtype)
    parameters = {name: torch.tensor(array) for name, array in problem.start.items()}

    def set_gradients(gradients):
        for name, gradient in gradients.items():
            parameters[name].grad = None if gradient is None else torch.tensor(gradient)

    optimizer = getattr(torch.optim, kind)(
        groups(parameters, bias_options), **options, foreach=False
    )
    weights = {name: parameter.numpy() for name, parameter in parameters.items()}
    return trajectory(problem, optimizer, weights, set_gradients)


def torch_rates(case):
    import torch

    kind, make = SCHEDULES[case]
    parameters = [{"params": [torch.zeros(1)], "lr": lr} for lr in (0.1, 0.02)]
    optimizer = getattr(torch.optim, kind)(parameters)
    return rates(optimizer, make(torch.optim.lr_scheduler, optimizer))


def main():
    from safetensors.numpy import save_file

    arrays = {f"rates.{case}": torch_rates(case) for case in SCHEDULES}
    for case in RULES:
        for dtype in ("float32", "float64"):
            for name, array in torch_trajectory(case, dtype).items():
                arrays[f"{case}.{dtype}.{name}"] = array
    save_file(arrays, PATH)
    print(f"{PATH.name}: {len(arrays)} arrays, {PATH.stat().st_size} bytes")


if __name__ == "__main__":
    main()
