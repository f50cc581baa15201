"""The site of the lessons: it shows all of them, every link leads somewhere, nothing is fetched."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
from execute_lessons import LESSONS, ROOT

pytest.importorskip("nbconvert", reason="nbconvert is not installed")
BUILD = ROOT / "lessons" / "site" / "build.py"
PATH = (ROOT / "lessons" / "README.md").read_text(encoding="utf-8")


class Page(HTMLParser):
    """The anchors of a page, its links, and what it loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors, self.links, self.loads, self.headings, self.text = [], [], [], [], ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors += [attributes["id"]] if "id" in attributes else []
        self.links += [attributes["href"]] if tag == "a" and "href" in attributes else []
        loaded = attributes.get("src") or (tag == "link" and attributes["href"])
        self.loads += [loaded] if loaded else []
        self.headings += [tag] if tag in {"h1", "h2", "h3"} else []
        assert tag not in {"iframe", "object", "embed"}

    def handle_data(self, data):
        self.text += data


def build(*arguments, script=BUILD):
    return subprocess.run(
        [sys.executable, script, *arguments], capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("book") / "site"
    done = build(folder)
    assert done.stderr == ""
    assert done.stdout.startswith(f"{folder / 'index.html'}: {len(LESSONS)} lessons, ")
    return folder


@pytest.fixture(scope="module")
def pages(site):
    return {path.relative_to(site): Page(path) for path in sorted(site.rglob("*.html"))}


def test_every_link_leads_somewhere(site, pages):
    broken = []
    for path, page in pages.items():
        for link in page.links:
            target, _, anchor = link.partition("#")
            if "://" in target:
                continue
            file = (site / path.parent / (unquote(target) or path.name)).resolve()
            found = pages.get(file.relative_to(site))
            if not file.is_file() or (anchor and (not found or anchor not in found.anchors)):
                broken.append((str(path), link))
    assert broken == []


def test_every_page_can_be_reached_from_the_first(site, pages):
    reached, ahead = set(), [Path("index.html")]
    while ahead:
        path = ahead.pop()
        if path in reached or path not in pages:
            continue
        reached.add(path)
        links = [link.partition("#")[0] for link in pages[path].links if "://" not in link]
        files = [(site / path.parent / unquote(link)).resolve() for link in links if link]
        ahead += [file.relative_to(site) for file in files]
    assert reached == set(pages)


def test_nothing_is_loaded_from_elsewhere(site, pages):
    for path, page in pages.items():
        for address in page.loads:
            assert address.startswith("data:") or (site / path.parent / address).is_file()
    assert "url(" not in (site / "style.css").read_text(encoding="utf-8")


def test_every_page_has_one_title_and_no_anchor_twice(pages):
    for path, page in pages.items():
        assert page.headings.count("h1") == 1, path
        assert page.headings[0] == "h1", path
        assert len(page.anchors) == len(set(page.anchors)), path


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.parent.name)
def test_a_page_shows_all_of_its_notebook(path, site, pages):
    html = (site / f"{path.parent.name}.html").read_text(encoding="utf-8")
    text = pages[Path(f"{path.parent.name}.html")].text
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            assert cell.source.strip() in text
        for output in cell.get("outputs", []):
            if "text" in output:
                assert output.text in text
            elif "text/html" in output.data:
                assert output.data["text/html"] in html
            else:
                assert output.data["text/plain"] in text


def test_solutions_and_source_files_are_there(site, pages):
    for path in LESSONS:
        assert Path(f"source/lessons/{path.parent.name}/solutions.py.html") in pages
    source = pages[Path("source/minise/autograd.py.html")]
    code = (ROOT / "minise/autograd.py").read_text(encoding="utf-8")
    assert code in source.text
    lines = [anchor for anchor in source.anchors if "-" not in anchor and anchor[0] == "L"]
    assert lines == [f"L{k}" for k in range(1, len(code.splitlines()) + 1)]


def test_a_second_build_replaces_the_first(site):
    (site / "left over").write_text("")
    before = {path.name: path.read_bytes() for path in site.glob("*.html")}
    assert build(site).returncode == 0
    assert {path.name: path.read_bytes() for path in site.glob("*.html")} == before
    assert not (site / "left over").exists()
    assert not site.with_name("site.part").exists()


def test_the_path_lists_every_lesson():
    """lessons/README.md has a row for each, under the lesson's own title."""
    rows = re.findall(r"^\| \[(.*?)\]\((.*?)\) \|", PATH, re.MULTILINE)
    titles = [nbformat.read(path, as_version=4).cells[0].source for path in LESSONS]
    titles = [title.partition("\n")[0].removeprefix("# ").partition(":")[0] for title in titles]
    names = [path.parent.name for path in LESSONS]
    assert rows == [
        (f"{name[:2]} {title}", f"{name}/lesson.ipynb") for name, title in zip(names, titles)
    ]


# --- what can go wrong ----------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path):
    """A small project with one lesson, and the command that builds its site."""
    shutil.copytree(BUILD.parent, tmp_path / "lessons" / "site")
    (tmp_path / "lessons" / "README.md").write_text("# Lessons\n\n[a](../a.py)\n")
    (tmp_path / "a.py").write_text("x = 1\n")
    lesson(tmp_path)
    return tmp_path


def lesson(project, prose="# One: why?", **output):
    output = output or {"output_type": "stream", "name": "stdout", "text": "1\n"}
    cells = [
        nbformat.v4.new_markdown_cell(prose, id="a"),
        nbformat.v4.new_code_cell("x", outputs=[nbformat.from_dict(output)], id="b"),
    ]
    write(project / "lessons" / "01_one", nbformat.v4.new_notebook(cells=cells))


def write(folder, notebook):
    folder.mkdir(exist_ok=True)
    nbformat.write(notebook, folder / "lesson.ipynb")


def build_in(project, *arguments):
    return build(*arguments, script=project / "lessons" / "site" / "build.py")


def test_the_small_project_builds(project):
    (project / "LICENSE").write_text("free")
    (project / "some").mkdir()
    (project / "some" / "b.py").write_text("y = 2\n")
    lesson(project, "# One: why?\n\n[l](../../LICENSE), [s](../../some), [r](../../a.py#L1-L1)")
    done = build_in(project)
    index = project / "site" / "index.html"
    assert done.stdout == f"{index}: 1 lessons, 4 files that they link to\n"
    assert (project / "site" / "source" / "LICENSE").read_text() == "free"
    assert "b.py.html" in Page(project / "site" / "source" / "some" / "index.html").links
    assert "L1-L1" in Page(project / "site" / "source" / "a.py.html").anchors
    assert Page(project / "site" / "01_one.html").text.count("01 One") == 2  # title, contents


@pytest.mark.parametrize(
    ("prose", "problem"),
    [
        ("# A\n\n[b](../../b.py)", "../../b.py leads nowhere"),
        ("# A\n\n[b](../../../b.py)", "../../../b.py leads nowhere"),
        ("# A\n\n![b](b.png)", "b.png leads nowhere"),
    ],
)
def test_a_broken_link_is_named(project, prose, problem):
    lesson(project, prose)
    done = build_in(project)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"lessons/01_one/lesson.ipynb: {problem}\n"


def test_a_build_that_fails_leaves_the_last_site_alone(project):
    assert build_in(project).returncode == 0
    before = {path: path.read_bytes() for path in (project / "site").rglob("*.*")}
    lesson(project, "# A\n\n[b](../../b.py)")
    assert build_in(project).returncode == 1
    assert {path: path.read_bytes() for path in (project / "site").rglob("*.*")} == before
    assert not (project / "site.part").exists()


def test_a_notebook_has_to_have_outputs_without_errors(project):
    two = project / "lessons" / "02_two" / "lesson.ipynb"
    two.parent.mkdir()
    two.write_text("no notebook")
    assert build_in(project).stderr.startswith("lessons/02_two/lesson.ipynb: cannot be read: ")
    two.unlink()
    lesson(project, output_type="error", ename="ValueError", evalue="", traceback=[])
    assert "the stored outputs end in ValueError\n" in build_in(project).stderr
    notebook = nbformat.read(project / "lessons" / "01_one" / "lesson.ipynb", as_version=4)
    notebook.cells[1].outputs = []
    write(project / "lessons" / "01_one", notebook)
    done = build_in(project)
    assert done.returncode == 1
    again = "run `python tests/helpers/execute_lessons.py`"
    assert f"lessons/01_one/lesson.ipynb: no outputs: {again}\n" in done.stderr


def test_another_folder_is_never_replaced(project):
    (project / "site").mkdir()
    (project / "site" / "index.html").write_text("my own")
    done = build_in(project)
    assert done.returncode == 2
    assert "is no site that this command made" in done.stderr
    assert (project / "site" / "index.html").read_text() == "my own"
