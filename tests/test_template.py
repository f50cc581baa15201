"""What a page shows is text, whatever it holds."""

import subprocess
import sys
from html import unescape

import pytest
from jinja2 import UndefinedError

from minise import template


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", '" onload="alert(1)', "&amp;"])
def test_everything_is_escaped(text):
    page = template.environment().from_string('<p title="{{ text }}">{{ text }}</p>')
    shown = page.render(text=text)
    assert unescape(shown) == f'<p title="{text}">{text}</p>'
    assert (shown.count("<"), shown.count('"')) == (2, 2)


def test_a_value_that_is_missing_is_an_error():
    with pytest.raises(UndefinedError):
        template.render("report/report.html.j2")


def test_nothing_is_imported_before_the_first_page():
    code = (
        "import sys, minise, minise.tracing, minise.cli\n"
        "assert not {'jinja2', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
