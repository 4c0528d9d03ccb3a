"""A scan's HTML page in a real browser: opened from a file, with the network off."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from at_rest import screenshot_of
from hdm_page import Explorer
from jupyter_hosts import TIMEOUT_MS
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from hdm_widgets import hdm

SIDE, CIRCLE, OFFSET = 48, 10, 6
CELL = (2, 3)
LABELS = {"iou": "1 - IoU", "flipped": "Flipped area", "mean_surface": "Mean surface distance"}


def two_classes(images: torch.Tensor) -> torch.Tensor:
    return torch.stack([0.9 - images[:, 0] - 0.3 * images[:, 0].roll(20, 2), images[:, 0]], 1)


@pytest.fixture(scope="module")
def result() -> hdm.HDMResult:
    rows, cols = np.mgrid[:SIDE, :SIDE]
    image = (np.sin(rows / 7) * np.cos(cols / 9) / 2 + 0.5)[None].astype(np.float32)
    truth: NDArray[np.bool_] = (rows - 20) ** 2 + (cols - 24) ** 2 < 14**2
    explainer = hdm.HausdorffDistanceMasks(SIDE, SIDE)
    explainer.generate_masks(CIRCLE, OFFSET)
    return explainer.explain(two_classes, image, truth.astype(int), target="all", progress=False)


@pytest.fixture(scope="module")
def page(browser: Browser, result: hdm.HDMResult, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    path: Path = tmp_path_factory.mktemp("page") / "scan & co.html"
    result.to_html(path, class_names=["ground", "</script><b>road</b>"], model_name="Test network")
    context = browser.new_context(viewport={"width": 1300, "height": 1100}, color_scheme="light", locale="de-DE")
    context.set_default_timeout(TIMEOUT_MS)
    context.set_offline(True)
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url.split(":")[0]))
    page.route(re.compile("^(https?|wss?):"), lambda route: route.abort())
    page.goto(path.as_uri())
    yield page
    context.close()
    # Nothing but the file itself.
    assert asked == ["file"]
    assert said == []


@pytest.fixture
def explorer(page: Page) -> Explorer:
    explorer = Explorer(page)
    explorer.await_repaint([0, 0])
    return explorer


def of_class_1(result: hdm.HDMResult, measure: str = "hausdorff") -> hdm.HDMResult:
    one = result.for_class(1)
    return one if measure == "hausdorff" else one.measure(measure)  # type: ignore[arg-type]


def shown(value: float, result: hdm.HDMResult) -> str:
    """A value as the explorer writes it."""
    text = f"{value:.{result.settings.decimals}f}"
    return f"{text} {result.settings.unit}" if result.settings.unit else text


def point(explorer: Explorer, cell: tuple[int, int]) -> None:
    explorer.stage.hover(position=explorer.place(cell, CIRCLE, OFFSET, SIDE))


def test_hovering_says_the_values_of_the_scan(explorer: Explorer, result: hdm.HDMResult) -> None:
    expect(explorer.page).to_have_title("Which parts of the image does the mask depend on?")
    for cell in ((0, 0), CELL, (7, 5)):
        point(explorer, cell)
        expect(explorer.stage.locator(".hdm-tip")).to_contain_text(shown(result.values[cell], result))


def test_a_click_pins_and_shows_what_the_model_saw(explorer: Explorer, result: hdm.HDMResult) -> None:
    explorer.stage.click(position=explorer.place(CELL, CIRCLE, OFFSET, SIDE))
    expect(explorer.pinned(CELL)).to_be_visible()
    numbers = explorer.root.locator(".hdm-numbers")
    expect(numbers.locator(".hdm-big")).to_have_text(shown(result.values[CELL], result))
    expect(numbers).to_contain_text(f"IoU{result.iou(*CELL):.2f}")
    pair = result.pair(*CELL)
    assert pair.from_pixel is not None
    expect(explorer.figures.nth(2)).to_contain_text(f"{shown(pair.distance, result)} apart")
    ends = explorer.figures.nth(2).locator("circle").first
    assert [float(ends.get_attribute(name) or "nan") for name in ("cx", "cy")] == [
        pair.from_pixel[1] + 0.5, pair.from_pixel[0] + 0.5,
    ]  # fmt: skip
    # The image with its disc, pixel by pixel.
    seen = explorer.figures.first.locator("img").evaluate(
        """async image => {
          await image.decode();
          const canvas = document.createElement('canvas');
          [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
          const context = canvas.getContext('2d');
          context.drawImage(image, 0, 0);
          return [...context.getImageData(0, 0, canvas.width, canvas.height).data].filter((_, at) => at % 4 === 0);
        }"""
    )
    levels = (result.occluded(*CELL)[0] * 255).round()
    np.testing.assert_array_equal(np.reshape(seen, (SIDE, SIDE)), levels)


def test_a_cell_is_pinned_and_released_by_the_keyboard(explorer: Explorer, result: hdm.HDMResult) -> None:
    explorer.stage.focus()
    keyboard = explorer.page.keyboard
    keyboard.press("Escape")
    expect(explorer.root.locator(".hdm-numbers")).to_have_count(0)
    keyboard.press("ArrowUp")  # the middle first
    keyboard.press("ArrowUp")
    keyboard.press("ArrowLeft")
    keyboard.press("Enter")
    expect(explorer.pinned((3, 3))).to_be_visible()
    expect(explorer.root.locator(".hdm-big")).to_have_text(shown(result.values[3, 3], result))
    keyboard.press("Escape")
    expect(explorer.root.locator(".hdm-big")).to_have_count(0)


@pytest.mark.parametrize("measure", LABELS)
def test_the_measure_switches(explorer: Explorer, result: hdm.HDMResult, measure: str) -> None:
    explorer.page.mouse.move(0, 0)
    before = explorer.painted()
    explorer.root.get_by_label("Measure").select_option(label=LABELS[measure])
    explorer.await_repaint(before)
    wanted = of_class_1(result, measure)
    for cell in (CELL, (5, 5)):
        point(explorer, cell)
        expect(explorer.stage.locator(".hdm-tip")).to_contain_text(shown(wanted.values[cell], wanted))
    explorer.root.get_by_label("Measure").select_option(label="Hausdorff distance")
    explorer.await_painted(before)


def test_the_class_and_what_is_explained_switch(explorer: Explorer, result: hdm.HDMResult) -> None:
    classes = explorer.root.get_by_label("Class")
    assert classes.locator("option").all_inner_texts() == ["ground", "</script><b>road</b>"]
    classes.select_option("0")
    explorer.root.get_by_label("Explain").select_option("prediction")
    wanted = result.for_class(0).measure("hausdorff", "prediction")
    point(explorer, CELL)
    expect(explorer.stage.locator(".hdm-tip")).to_contain_text(shown(wanted.values[CELL], wanted))
    explorer.root.get_by_label("Explain").select_option("truth")
    classes.select_option("1")
    point(explorer, CELL)
    expect(explorer.stage.locator(".hdm-tip")).to_contain_text(shown(result.values[CELL], result))


def test_colors_and_result_types_switch(explorer: Explorer) -> None:
    explorer.page.mouse.move(0, 0)
    before = explorer.painted()
    explorer.choose("Magma")
    magma = explorer.await_repaint(before)
    explorer.choose("Worse")
    explorer.await_repaint(magma)
    explorer.choose("Raw distance")
    explorer.choose("Blues")
    explorer.await_painted(before)


def test_brushing_shows_which_discs_change_the_mask_there(explorer: Explorer, result: hdm.HDMResult) -> None:
    explorer.page.mouse.move(0, 0)
    before = explorer.painted()
    explorer.choose("Brush")
    for cell in ((2, 2), (3, 4)):
        explorer.stage.click(position=explorer.place(cell, CIRCLE, OFFSET, SIDE))
    explorer.await_repaint(before)
    # The numbers are tested in js/tests/page_model.test.tsx.
    tip = explorer.stage.locator(".hdm-tip")
    point(explorer, (3, 3))
    expect(tip).to_contain_text("of the brushed area")
    explorer.stage.focus()
    explorer.page.keyboard.press("Escape")
    explorer.choose("Pin")
    explorer.page.mouse.move(0, 0)
    explorer.await_painted(before)


def background(explorer: Explorer) -> tuple[int, ...]:
    image = Image.open(io.BytesIO(screenshot_of(explorer.page.locator("body"))))
    return image.convert("RGB").getpixel((4, 4))  # type: ignore[return-value]


def test_the_theme_follows_the_system_and_its_switch(explorer: Explorer) -> None:
    page = explorer.page
    themes = page.get_by_role("radiogroup", name="Theme")
    light = background(explorer)
    assert min(light) > 200
    page.emulate_media(color_scheme="dark")
    assert max(background(explorer)) < 60
    themes.get_by_text("Light").click()
    assert background(explorer) == light
    page.emulate_media(color_scheme="light")
    themes.get_by_text("Dark").click()
    assert max(background(explorer)) < 60
    themes.get_by_text("Auto").click()
    # Whoever shows the page in a frame says which theme it has.
    page.evaluate("location.hash = '#dark'")
    expect(themes.get_by_label("Dark")).to_be_checked()
    assert max(background(explorer)) < 60
    page.evaluate("location.hash = ''")
    assert background(explorer) == light


@pytest.mark.parametrize("width", [480, 760, 1600])
def test_nothing_is_wider_than_the_page(explorer: Explorer, width: int) -> None:
    page = explorer.page
    page.set_viewport_size({"width": width, "height": 1100})
    assert page.evaluate("document.documentElement.scrollWidth") == width
