"""What the tests in a real browser share: Chromium, pages that are watched, axe, JupyterLab.

Needs Chromium (Debian's package `chromium`), playwright and axe-playwright-python; a test file that
imports this skips without them.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from urllib.request import urlopen

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

marks = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
HARMLESS = ("file:", "data:", "blob:", "http://127.0.0.1:", "http://localhost:")


@contextmanager
def chromium():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def watched(browser):
    """Opens addresses; at the end nothing may have failed and nothing may have gone out."""
    opened, troubles = [], []

    def open_page(address, **options):
        context = browser.new_context(**options)
        page = context.new_page()
        opened.append(context)
        page.on("request", lambda r: r.url.startswith(HARMLESS) or troubles.append(r.url))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        if address.startswith("file:"):  # JupyterLab's own messages are not ours
            page.on("console", lambda message: troubles.append(message.text))
        page.goto(address)
        return page

    yield open_page
    for context in opened:
        context.close()
    assert troubles == []


def violations(page, without=()):
    """The rules of axe that the page breaks, and where; selectors of what is tested elsewhere."""
    context = {"exclude": [[selector] for selector in without]}
    found = axe.Axe().run(page, context, options={"preload": False}).response["violations"]
    return [(v["id"], [node["html"][:120] for node in v["nodes"]]) for v in found]


@contextmanager
def jupyter_lab(folder, trust=(), **variables):
    """The address of a JupyterLab that shows a folder, in which it trusts the notebooks `trust`."""
    own = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    private = {name: str(folder.with_name(name.lower())) for name in own}
    environment = {**os.environ, **private, **variables}
    jupyter = [sys.executable, "-m", "jupyter"]
    for name in trust:
        subprocess.run(
            [*jupyter, "trust", name], cwd=folder, env=environment, check=True, capture_output=True
        )
    port = free_port()
    with folder.with_name("log").open("w") as log:
        server = subprocess.Popen(
            [*jupyter, "lab", "--no-browser", "--allow-root", f"--port={port}", "--ip=127.0.0.1",
             "--IdentityProvider.token=", "--ServerApp.password=",
             "--LabApp.news_url=None", "--LabApp.extension_manager=readonly",
             "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"],
            cwd=folder, env=environment, stdout=log, stderr=log,
        )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(address + "/api", server)
        yield address
    finally:
        server.terminate()
        try:
            server.wait(timeout=60)
        except subprocess.TimeoutExpired:  # how long its kernels take to end is not what is tested
            server.kill()
            server.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(address, server):
    for _ in range(300):
        assert server.poll() is None, "JupyterLab ended"
        try:
            with urlopen(address):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("JupyterLab does not answer")
