"""What all tests share: the settings of hypothesis and the report of what was compared."""

import os

import hypothesis
import parity

hypothesis.settings.register_profile(
    "minise",
    deadline=None,  # the first call of an op may be slow
    max_examples=50,
    derandomize="CI" in os.environ,  # a build must not fail by chance
)
hypothesis.settings.load_profile("minise")


def pytest_terminal_summary(terminalreporter):
    if parity.compared:
        terminalreporter.write_line(parity.summary())
