"""Renews the pictures of the stepper in this folder: python docs/screenshots.py

Needs what the browser tests need (see tests/tracing/test_browser.py).
"""

from __future__ import annotations

import shutil
import tempfile
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from minise.tracing import examples

HERE = Path(__file__).parent
# name -> width, height, colour scheme
PICTURES = {
    "light": (1240, 780, "light"),
    "dark": (1240, 780, "dark"),
    "tablet": (820, 1180, "light"),
    "phone": (430, 1400, "light"),
}
SQUEEZE_PATH = "21"  # the step in which the second gradient arrives at u


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        saved = Path(folder) / "se.html"
        examples.trace_example("se").save(saved)
        chromium = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        for name, (width, height, scheme) in PICTURES.items():
            page = chromium.new_page(
                viewport={"width": width, "height": height},
                color_scheme=scheme,
                reduced_motion="reduce",
            )
            page.goto(saved.as_uri())
            page.get_by_role("slider", name="Step").fill(SQUEEZE_PATH)
            page.evaluate("document.activeElement.blur()")
            picture = Image.open(BytesIO(page.screenshot()))
            picture.quantize(128).save(HERE / f"stepper-{name}.png", optimize=True)
        chromium.close()


if __name__ == "__main__":
    main()
