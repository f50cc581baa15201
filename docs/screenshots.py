"""Renews the pictures of the stepper in this folder: python docs/screenshots.py

Needs what the browser tests need (see tests/test_inspect_browser.py).
"""

from __future__ import annotations

import shutil
import tempfile
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from minise.inspect import examples

HERE = Path(__file__).parent
SQUEEZE_PATH = "21"  # the step in which the second gradient arrives at u


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        saved = Path(folder) / "se.html"
        examples.create("se").save(saved)
        chromium = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        for scheme in ("light", "dark"):
            page = chromium.new_page(
                viewport={"width": 1240, "height": 780},
                color_scheme=scheme,
                reduced_motion="reduce",
            )
            page.goto(saved.as_uri())
            page.get_by_role("slider", name="Step").fill(SQUEEZE_PATH)
            page.evaluate("document.activeElement.blur()")
            picture = Image.open(BytesIO(page.screenshot()))
            picture.quantize(128).save(HERE / f"stepper-{scheme}.png", optimize=True)
        chromium.close()


if __name__ == "__main__":
    main()
