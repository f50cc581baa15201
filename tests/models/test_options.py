"""Every choice is declared once; create, Config and the command line follow."""

import inspect
from dataclasses import fields

import pytest

from minise import cli, models
from minise.models.options import Choices
from minise.train import Config

NAMES = [choice.name for choice in fields(Choices)]


def test_create_takes_the_choices_in_their_order():
    parameters = inspect.signature(models.create).parameters
    assert list(parameters) == ["name", "num_classes", *NAMES]
    assert NAMES == [
        "reduction", "se_bias", "squeeze", "gate", "placement", "stages", "shortcut", "variant",
        "zero_init_residual", "se_width",
    ]  # fmt: skip
    config = models.create("se_resnet8", 3, 4, False, "max").config
    assert config["num_classes"] == 3
    assert [config[name] for name in NAMES[:3]] == [4, False, "max"]
    with pytest.raises(TypeError, match="sqeeze"):
        models.create("se_resnet8", sqeeze="max")


def test_config_and_the_command_line_have_each():
    assert set(NAMES) <= set(Config().settings())
    words = "train --reduction 4 --no-se-bias --squeeze max --gate tanh --placement pre"
    words += " --stages 1 3 --shortcut A --variant caffe --zero-init-residual --se-width timm"
    given = vars(cli.parser().parse_args(words.split()))
    expected = [4, False, "max", "tanh", "pre", [1, 3], "A", "caffe", True, "timm"]
    assert [given[name] for name in NAMES] == expected
    left_out = vars(cli.parser().parse_args(["train"]))
    assert not set(NAMES) & set(left_out)  # so the defaults are those of the declaration


@pytest.mark.parametrize("name", [c.name for c in fields(Choices) if c.metadata["choices"]])
def test_a_value_that_is_no_choice_is_refused(name):
    with pytest.raises(ValueError, match=f"create: {name} must be one of .*got 'nothing'"):
        models.create("se_resnet8", **{name: "nothing"})
