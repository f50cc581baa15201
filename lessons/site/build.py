"""Writes the lessons as a web site, with the outputs stored in the notebooks; nothing is executed.

    python lessons/site/build.py [folder]           the folder is site/ if not given

Every page is made from a notebook: a lesson is one, and README.md and source files are put into
one. From lessons/README.md and the lessons on, each file that a page links to becomes a page too.
The site needs neither a network nor a server: open index.html.
"""

from __future__ import annotations

import argparse
import re
import shutil
from html import escape, unescape
from os.path import relpath
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote

import nbformat
from nbconvert.exporters import TemplateExporter
from nbconvert.filters import Highlight2HTML, markdown2html
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_for_filename

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
GENERATOR = "minise, lessons/site/build.py"  # by this, a later build knows that it may replace it
START = "lessons/README.md"
PROSE = {".ipynb", ".md"}
CODE = {".py", ".toml", ".txt", ".js", ".css", ".cu", ".html"}  # anything else is only copied


class Site:
    """The pages to write, in the order in which they were first linked to.

    root        the project's folder; sources are named by their path in it
    out         where the pages go
    problems    what is wrong with the sources, a line each
    """

    def __init__(self, root: Path, out: Path) -> None:
        self.root, self.out = root, out
        self.problems: list[str] = []
        self.lessons = sorted(
            path.relative_to(root).as_posix() for path in (root / "lessons").glob("*/lesson.ipynb")
        )
        self.sources = [START, *self.lessons]
        self.ranges: dict[str, set[str]] = {}  # source -> the line ranges that are linked to
        self.notebooks = {source: read(root, source) for source in self.lessons}
        self.contents = [{"path": "index.html", "title": "Overview"}] + [
            {"path": self.page_path(source), "title": short_title(source, self.notebooks[source])}
            for source in self.lessons
        ]
        # Not HTMLExporter: that one rewrites the outputs.
        self.exporter = TemplateExporter(
            template_name="template",
            template_file="page.html.j2",
            extra_template_basedirs=[str(HERE)],
        )
        self.exporter.register_filter("highlight_code", Highlight2HTML())
        # What a lesson's outputs consist of, the best first.
        self.exporter.display_data_priority = ["text/html", "image/png", "text/plain"]

    def build(self) -> None:
        prose = {}
        for source in self.sources:  # grows while links are found
            if Path(source).suffix in PROSE:
                prose[source] = self.prose_page(source)
            elif (self.root / source).is_dir():
                prose[source] = self.folder_page(source)
        for source in self.sources:  # now all ranges are known
            if source in prose:
                self.write(source, prose[source])
            elif Path(source).suffix in CODE:
                self.write(source, self.source_page(source))
            else:
                copy = self.out / self.page_path(source)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self.root / source, copy)
        shutil.copyfile(HERE / "style.css", self.out / "style.css")

    # --- pages ----------------------------------------------------------------------------------

    def prose_page(self, source: str) -> nbformat.NotebookNode:
        """A notebook or a Markdown file, its prose as HTML with links into the site."""
        notebook = self.notebooks.get(source)
        if notebook is None:
            text = (self.root / source).read_text(encoding="utf-8")
            notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)])
        elif not any(cell.get("outputs") for cell in notebook.cells):
            again = "run `python tests/helpers/execute_lessons.py`"
            self.problems.append(f"{source}: no outputs: {again}")
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.cell_type, cell.source = "raw", self.prose(cell.source, source)
            for output in cell.get("outputs", []):
                if output.output_type == "error":
                    self.problems.append(f"{source}: the stored outputs end in {output.ename}")
        return notebook

    def prose(self, markdown: str, source: str) -> str:
        def anchor(match: re.Match[str]) -> str:
            level, inner = match.groups()
            return f'<h{level} id="{slug(plain(inner))}">{inner}</h{level}>'

        def link(match: re.Match[str]) -> str:
            name, address = match.groups()
            return f'{name}="{escape(self.link(unescape(address), source))}"'

        html = markdown2html(markdown)
        html = re.sub(r'<a class="anchor-link".*?</a>', "", html)
        html = re.sub(r'<h(\d) id="[^"]*">(.*?)</h\d>', anchor, html)
        html = re.sub(r'\b(href|src)="([^"]*)"', link, html)
        html = html.replace("<pre>", '<pre tabindex="0">')
        html = html.replace("<table>", '<div class="scroll" tabindex="0"><table>')
        return html.replace("</table>", "</table></div>")

    def folder_page(self, source: str) -> nbformat.NotebookNode:
        """What is in a folder, as far as it can be shown."""
        names = [
            path.name
            for path in sorted((self.root / source).iterdir())
            if path.suffix in PROSE | CODE or (path.is_dir() and path.name[0] not in "._")
        ]
        items = (
            f'<li><a href="{self.link(quote(name), source)}">{name}</a></li>' for name in names
        )
        return one_cell(f"<h1>{source}</h1>\n<ul>{''.join(items)}</ul>")

    def source_page(self, source: str) -> nbformat.NotebookNode:
        """A source file with a number and an anchor for each line, L1, L2, …"""
        text = (self.root / source).read_text(encoding="utf-8")
        lexer = get_lexer_for_filename(source, stripnl=False, ensurenl=True)
        lines = highlight(text, lexer, HtmlFormatter(nowrap=True)).splitlines()
        ends: dict[int, list[str]] = {}
        for span in self.ranges.get(source, ()):
            ends.setdefault(int(re.findall(r"\d+", span)[0]), []).append(span)
        numbered = "".join(
            "".join(f'<a id="{span}"></a>' for span in sorted(ends.get(k, [])))
            + f'<span class="line" id="L{k}">{line}\n</span>'
            for k, line in enumerate(lines, 1)
        )
        mark = (HERE / "mark_lines.js").read_text(encoding="utf-8")
        return one_cell(
            f'<h1 class="path">{source}</h1>\n'
            f'<pre class="highlight numbered" tabindex="0">{numbered}</pre>\n'
            f"<script>{mark}</script>"
        )

    # --- links ----------------------------------------------------------------------------------

    def link(self, address: str, source: str) -> str:
        """Where a link of a source leads in the site; what it leads to gets a page."""
        path, _, fragment = address.partition("#")
        if ":" in path:  # https:, mailto:, data:
            return address
        fragment = fragment and "#" + (
            fragment if re.fullmatch(r"L\d+(-L\d+)?", fragment) else slug(unquote(fragment))
        )
        if not path:
            return fragment
        base = self.root / source
        folder = base if base.is_dir() else base.parent
        target = (folder / unquote(path)).resolve()
        if self.root not in target.parents or not target.exists():
            self.problems.append(f"{source}: {address} leads nowhere")
            return address
        name = target.relative_to(self.root).as_posix()
        name = START if name == "lessons" else name
        if name not in self.sources:
            self.sources.append(name)
        if "-" in fragment and target.suffix == ".py":
            self.ranges.setdefault(name, set()).add(fragment[1:])
        here = PurePosixPath(self.page_path(source)).parent
        return relpath(self.page_path(name), here) + fragment

    def page_path(self, source: str) -> str:
        """Where in the site a source goes."""
        path = PurePosixPath(source)
        if source == START:
            return "index.html"
        if source in self.lessons:
            return f"{path.parent.name}.html"
        if (self.root / source).is_dir():
            return f"source/{source}/index.html"
        return f"source/{source}" + ".html" * (path.suffix in PROSE | CODE)

    # --- files ----------------------------------------------------------------------------------

    def write(self, source: str, notebook: nbformat.NotebookNode) -> None:
        path = self.page_path(source)
        page: dict[str, Any] = {
            "generator": GENERATOR,
            "path": path,
            "root": "../" * path.count("/"),
            "contents": self.contents,
        }
        if source in self.sources[: len(self.contents)]:
            k = self.sources.index(source)
            page["title"] = self.contents[k]["title"] if k else "Lessons of minise"
            page["notebook"] = Path(source).relative_to("lessons") if k else None
            page["previous"] = self.contents[k - 1] if k else None
            page["next"] = self.contents[k + 1] if k + 1 < len(self.contents) else None
            html = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "raw")
            page["sections"] = [
                (anchor, escape(plain(inner)))
                for anchor, inner in re.findall(r'<h2 id="([^"]*)">(.*?)</h2>', html)
            ]
        else:
            page["title"] = source
        html, _ = self.exporter.from_notebook_node(notebook, resources={"page": page})
        file = self.out / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(html, encoding="utf-8")


def read(root: Path, source: str) -> nbformat.NotebookNode:
    """Raises ValueError for a file that is no notebook."""
    try:
        return nbformat.read(root / source, as_version=4)
    except (ValueError, nbformat.ValidationError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{source}: cannot be read: {reason}") from error


def short_title(source: str, notebook: nbformat.NotebookNode) -> str:
    """The number of a lesson and its first heading, without the question behind the colon."""
    heading = notebook.cells[0].source.partition("\n")[0].removeprefix("# ")
    return f"{Path(source).parent.name[:2]} {heading.partition(':')[0]}"


def slug(heading: str) -> str:
    """The anchor of a heading, made as forges make it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def plain(html: str) -> str:
    return unescape(re.sub(r"<[^>]*>", "", html))


def one_cell(html: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_raw_cell(html)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "site")
    out = parser.parse_args().folder
    if out.exists() and not is_ours(out):
        parser.exit(2, f"{out} is no site that this command made: move it away or name another\n")
    part = out.with_name(f"{out.name}.part")
    try:
        site = Site(ROOT, part)
    except ValueError as error:
        parser.exit(1, f"{error}\n")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    site.build()
    if site.problems:
        shutil.rmtree(part)
        parser.exit(1, "".join(f"{problem}\n" for problem in site.problems))
    shutil.rmtree(out, ignore_errors=True)
    part.rename(out)
    pages = len(site.sources) - 1 - len(site.lessons)
    print(f"{out / 'index.html'}: {len(site.lessons)} lessons, {pages} files that they link to")


def is_ours(folder: Path) -> bool:
    index = folder / "index.html"
    return index.is_file() and GENERATOR in index.read_text(encoding="utf-8")


if __name__ == "__main__":
    main()
