"""What all tests share: the settings of hypothesis and the report of what was compared."""

import os
import signal

import devices
import hypothesis
import numpy
import parity
import pytest
import tiny_run

from minise.backend import Backend, registry

hypothesis.settings.register_profile(
    "minise",
    deadline=None,  # the first call of an op may be slow
    max_examples=50,
    derandomize="CI" in os.environ,  # a build must not fail by chance
)
hypothesis.settings.load_profile("minise")


# A way that shows the most: float64, in an order of memory that the fast kernels take.
QUICK_WAY, ONE_IN = "strides", 4


def pytest_addoption(parser):
    parser.addoption(
        "--plain",
        action="store_true",
        help="NumPy without its fast kernels: what the plain ones compute passes the tests too",
    )
    parser.addoption(
        "--quick",
        action="store_true",
        help="one comparison with PyTorch in four, in one way only: see `make quick`",
    )


def pytest_configure(config):
    if config.getoption("--plain"):
        registry.register(Backend("numpy", numpy, numpy.ndarray, numpy.asarray))
    # A shell starts what it puts in the background deaf to Ctrl-C, which some tests press.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config, items):
    if config.getoption("--quick"):
        comparisons = [item for item in items if way(item) is not None]
        kept = [item for item in comparisons if way(item) == QUICK_WAY][::ONE_IN]
        left_out = {*comparisons} - {*kept}
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=[*left_out])
    if config.getoption("--plain"):
        skip = pytest.mark.skip(reason="about the fast kernels themselves")
        for item in items:
            if item.get_closest_marker("fast_kernels"):
                item.add_marker(skip)


def way(item):
    """In which way a test compares with PyTorch; None if it does something else."""
    return item.callspec.params.get("way") if hasattr(item, "callspec") else None


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """A folder of pictures to train with; see tiny_run.py."""
    return tiny_run.draw(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def browser():
    """Chromium, for one test file: while it runs, no other event loop can."""
    import browsing

    with browsing.chromium() as browser:
        yield browser


@pytest.fixture
def open_page(browser):
    """Opens addresses; at the end nothing may have failed and nothing may have gone out."""
    import browsing

    with browsing.watched(browser) as open_page:
        yield open_page


@pytest.fixture
def device(request):
    """The name of a backend that stands for a GPU or is one: see devices.py."""
    return devices.require(request.param).name


# With `pytest -n` workers compare, and the process that started them reports it.


def pytest_sessionfinish(session):
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["compared"] = parity.compared
        session.config.workeroutput["unrecorded"] = sorted(parity.unrecorded)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    found = getattr(node, "workeroutput", {})
    parity.compared.update(found.get("compared", {}))
    parity.unrecorded.update(found.get("unrecorded", ()))


def pytest_terminal_summary(terminalreporter):
    if parity.compared:
        terminalreporter.write_line(parity.summary())
