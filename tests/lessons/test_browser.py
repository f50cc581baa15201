"""The lessons in a real browser: as a site, and in JupyterLab.

Skips without what browsing.py needs, and the JupyterLab part without jupyterlab.
"""

from __future__ import annotations

import re
import shutil

import nbformat
import pytest
from browsing import jupyter_lab, marks, violations
from execute_lessons import LESSONS, ROOT
from notebooks import same_everywhere

from .test_site import site  # noqa: F401

pytestmark = marks

PAGES = [
    "index.html",
    *(f"{path.parent.name}.html" for path in LESSONS),
    "source/minise/autograd.py.html",
]
every_page = pytest.mark.parametrize("name", PAGES)
every_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.parent.name)


@pytest.fixture
def open_site(open_page, site):  # noqa: F811
    def open_site(name, **options):
        path, _, anchor = name.partition("#")
        return open_page((site / path).as_uri() + "#" * bool(anchor) + anchor, **options)

    return open_site


def read(path):
    return nbformat.read(path, as_version=4)


def traced(notebook):
    """The places of its cells that show a stepper."""
    return [
        k
        for k, cell in enumerate(notebook.cells)
        for output in cell.get("outputs", [])
        if "minise-trace" in output.get("data", {}).get("text/html", "")
    ]


def assert_steps(page, stepper):
    """It goes where the keys send it."""
    position = stepper.locator(".position")
    stepper.get_by_role("slider", name="Step").focus()
    page.keyboard.press("ArrowRight")
    assert re.match(r"forward · step 1 of \d+$", position.text_content())
    page.keyboard.press("End")
    assert re.match(r"end · step (\d+) of \1$", position.text_content())
    page.keyboard.press("ArrowLeft")
    assert position.text_content().startswith("backward · step ")
    page.keyboard.press("Home")
    assert position.text_content().startswith("start · step 0 of ")


# --- the site -------------------------------------------------------------------------------------


def test_every_page_opens_without_a_message_or_a_request(open_page, site):  # noqa: F811
    page = open_page((site / "index.html").as_uri())
    for path in sorted(site.rglob("*.html")):
        page.goto(path.as_uri())


@every_lesson
def test_every_stepper_of_a_page_steps(open_site, path):
    page = open_site(f"{path.parent.name}.html")
    steppers = page.locator(".minise-trace")
    assert steppers.count() == len(traced(read(path)))
    for stepper in steppers.all():
        assert_steps(page, stepper)


@every_page
def test_accessibility(open_site, name):
    page = open_site(name)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert violations(page, without=[".minise-trace"]) == []  # tracing/test_browser.py has it


def test_axe_notices(open_site):
    page = open_site("index.html")
    page.locator("main p").first.evaluate("p => { p.style.color = '#aaa' }")
    assert [rule for rule, _ in violations(page)] == ["color-contrast"]


@pytest.mark.parametrize(
    ("scheme", "background"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(13, 17, 23)")]
)
def test_light_and_dark(open_site, scheme, background):
    page = open_site(f"{LESSONS[-1].parent.name}.html", color_scheme=scheme)
    for part in ("body", ".minise-trace"):
        for element in page.locator(part).all():
            assert element.evaluate("e => getComputedStyle(e).backgroundColor") == background


@every_page
def test_nothing_sticks_out(open_site, name):
    page = open_site(name)
    for width in (1400, 820, 390):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_on_from_lesson_to_lesson_and_back(open_site):
    page = open_site("index.html")
    for path in LESSONS:
        page.get_by_role("link", name="Next").click()
        assert page.url.endswith(f"/{path.parent.name}.html")
        current = page.locator('#contents [aria-current="page"]').text_content()
        assert current[:2] == path.parent.name[:2]
    assert page.get_by_role("link", name="Next").count() == 0
    for _ in LESSONS:
        page.get_by_role("link", name="Previous").click()
    assert page.url.endswith("/index.html")


def test_a_link_to_lines_marks_them(open_site):
    page = open_site("source/minise/nn/se.py.html#L3-L5")
    marked = page.locator(".line.on")
    assert [line.get_attribute("id") for line in marked.all()] == ["L3", "L4", "L5"]
    page.evaluate("location.hash = '#L7'")
    assert [line.get_attribute("id") for line in marked.all()] == ["L7"]


def test_it_can_be_read_without_scripts(browser, site):  # noqa: F811
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    for path in LESSONS:
        page.goto((site / f"{path.parent.name}.html").as_uri())
        assert page.locator(".minise-trace img").count() == len(traced(read(path)))
    context.close()


# --- JupyterLab -----------------------------------------------------------------------------------

OPENED = [path for path in LESSONS if path.parent.name[:2] in {"02", "07", "09"}]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab on a copy of the lessons that has not been run."""
    pytest.importorskip("jupyterlab", reason="JupyterLab is not installed")
    folder = tmp_path_factory.mktemp("lab") / "work"
    folder.mkdir()
    for path in OPENED:
        shutil.copytree(path.parent, folder / path.parent.name)
        notebook = read(path)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        nbformat.write(notebook, folder / path.parent.name / path.name)
    with jupyter_lab(folder, PYTHONPATH=str(ROOT), OPENBLAS_NUM_THREADS="1") as address:
        yield address, folder


@pytest.mark.slow
@pytest.mark.parametrize("path", OPENED, ids=lambda path: path.parent.name)
def test_run_all_in_jupyterlab(open_page, lab, path):
    address, folder = lab
    page = open_page(f"{address}/lab/tree/{path.parent.name}/{path.name}?reset")
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    notebook = all_run(page, folder / path.parent.name / path.name)
    assert same_everywhere(notebook) == same_everywhere(read(path))
    assert traced(notebook) == traced(read(path))
    for k in traced(notebook):  # outputs out of sight are not in the page
        cell = page.locator(".jp-Cell").nth(k)
        cell.scroll_into_view_if_needed()
        assert_steps(page, cell.locator(".minise-trace"))


def all_run(page, path):
    """The notebook as saved when each of its cells has run."""
    for _ in range(240):
        page.wait_for_timeout(500)
        page.keyboard.press("Control+s")
        try:
            notebook = read(path)
        except nbformat.reader.NotJSONError:  # it is just being written
            continue
        if all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code"):
            return notebook
    raise AssertionError("some cells have not run")
