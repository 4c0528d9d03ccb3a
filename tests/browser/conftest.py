"""Real front ends of Jupyter in a headless Chromium."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from appearance import Letters, widen_letters
from exported_page import HTML_MANAGER
from exported_page import html_manager as fetched_html_manager
from jupyter_hosts import (
    TIMEOUT_MS,
    Complaints,
    JupyterServer,
    NotebookPage,
    find_chromium,
    jupyterlab,
    voila,
)
from known_space import AGAIN, ALL, EXPLORER, SPACE
from latent_page import LatentPage
from playwright.sync_api import Browser, BrowserContext, ElementHandle, Page, ViewportSize, expect, sync_playwright
from playwright.sync_api import Error as PlaywrightError

OUT = Path(__file__).parents[1] / "out"
PAGE = pytest.StashKey[Page]()
KEPT = pytest.StashKey[dict[str, Any]]()
T = TypeVar("T")
VIEWPORT: ViewportSize = {"width": 1300, "height": 1500}
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
]


@pytest.fixture(scope="session")
def chromium() -> str:
    path = find_chromium()
    if path is not None:
        return path
    missing = "the browser tests need Chromium or Chrome on the PATH"
    if os.environ.get("CI") or os.environ.get("HDM_REQUIRE_BROWSER"):
        pytest.fail(missing)
    pytest.skip(f"{missing} (set HDM_REQUIRE_BROWSER to fail instead)")


@pytest.fixture(scope="session")
def html_manager() -> Path:
    """The script that draws widgets on exported pages."""
    try:
        return fetched_html_manager(OUT / "html-manager")
    except (OSError, subprocess.SubprocessError) as error:
        missing = f"exported pages need {HTML_MANAGER}, which npm could not fetch: {error}"
    if os.environ.get("CI") or os.environ.get("HDM_REQUIRE_BROWSER"):
        pytest.fail(missing)
    pytest.skip(missing)


# Not for the whole session: Playwright's event loop would still run in other tests that start their own.
def kept(request: pytest.FixtureRequest, name: str, opened: Callable[[], AbstractContextManager[T]]) -> T:
    """What all tests of this folder share, for a fixture of a module: opened once, closed after the last of them."""
    folder = request.node.parent
    shared = folder.stash.setdefault(KEPT, {})
    if name not in shared:
        stack = contextlib.ExitStack()
        shared[name] = stack.enter_context(opened())
        folder.addfinalizer(lambda: (shared.pop(name), stack.close()))
    return shared[name]


@pytest.fixture(scope="module")
def browser(chromium: str, request: pytest.FixtureRequest) -> Browser:
    @contextlib.contextmanager
    def launched() -> Iterator[Browser]:
        expect.set_options(timeout=TIMEOUT_MS)
        with sync_playwright() as playwright:
            headless = not os.environ.get("HDM_SHOW_BROWSER")
            browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS, headless=headless)
            yield browser
            browser.close()

    return kept(request, "browser", launched)


# Pages of one context share the cached scripts of the front end. Language and time zone are foreign on purpose: nothing
# that a widget shows may depend on them.
@pytest.fixture(scope="module")
def context(browser: Browser, request: pytest.FixtureRequest) -> BrowserContext:
    @contextlib.contextmanager
    def created() -> Iterator[BrowserContext]:
        context = browser.new_context(viewport=VIEWPORT, locale="de-DE", timezone_id="Pacific/Auckland")
        context.set_default_timeout(TIMEOUT_MS)
        yield context
        context.close()

    return kept(request, "context", created)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """A test that fails leaves a picture of its page in `tests/out/`."""
    report = yield
    pages = [node.stash[PAGE] for node in item.listchain() if PAGE in node.stash]
    if report.when != "teardown" and report.failed and pages and not pages[-1].is_closed():
        path = OUT / f"failed-{re.sub(r'[^a-zA-Z0-9_.-]+', '-', f'{item.path.stem}-{item.name}')}.png"
        with contextlib.suppress(PlaywrightError):
            pages[-1].screenshot(path=path)
            report.sections.append(("page", f"as it was: {path}"))
    return report


def new_page(context: BrowserContext, request: pytest.FixtureRequest) -> Page:
    """A page that is pictured when the test, or one of the module's tests, fails."""
    page = context.new_page()
    request.node.stash[PAGE] = page
    return page


@pytest.fixture
def page(context: BrowserContext, request: pytest.FixtureRequest) -> Iterator[Page]:
    page = new_page(context, request)
    complaints = Complaints(page)
    yield page
    page.close()
    complaints.check()


@pytest.fixture(scope="session")
def lab_server(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    with jupyterlab(tmp_path_factory.mktemp("lab")) as server:
        yield server


@pytest.fixture(scope="session")
def voila_server(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    with voila(tmp_path_factory.mktemp("voila")) as server:
        yield server


class OpenLab:
    """A notebook in JupyterLab that tests fill one after the other: to load the page and to import torch is slow."""

    def __init__(self, page: Page, server: JupyterServer) -> None:
        self.complaints = Complaints(page)
        self.notebook = NotebookPage(page, server.notebook([]))

    def fill(self, *cells: str) -> NotebookPage:
        """Replace all cells by these; the kernel has no names and widgets of the tests before."""
        self.notebook.page.set_viewport_size(VIEWPORT)
        self.notebook.hide_file_browser()
        self.notebook.have_kernel()
        self.notebook.forget()
        self.notebook.fill(list(cells))
        return self.notebook


@pytest.fixture(scope="module")
def open_lab(context: BrowserContext, request: pytest.FixtureRequest, lab_server: JupyterServer) -> OpenLab:
    """The one that all files share; after a test has failed, the next file has another one."""

    @contextlib.contextmanager
    def opened() -> Iterator[OpenLab]:
        page = new_page(context, request)
        lab = OpenLab(page, lab_server)
        yield lab
        lab.notebook.close()
        page.close()
        lab.complaints.check()

    lab = kept(request, f"lab after {request.session.testsfailed} failures", opened)
    request.node.stash[PAGE] = lab.notebook.page
    return lab


@pytest.fixture
def lab(open_lab: OpenLab) -> Iterator[Callable[..., NotebookPage]]:
    """Start these cells in a notebook of JupyterLab. Its kernel has nothing of the tests before."""

    def start(*cells: str) -> NotebookPage:
        notebook = open_lab.fill(*cells)
        notebook.run_all()
        return notebook

    yield start
    open_lab.complaints.check()


@pytest.fixture(scope="module")
def notebook(open_lab: OpenLab) -> NotebookPage:
    """A notebook in JupyterLab whose kernel has the known latent space; the second of its cells makes an explorer."""
    notebook = open_lab.fill("1", EXPLORER, "explorer")
    notebook.execute(SPACE)
    return notebook


@pytest.fixture
def explorer(notebook: NotebookPage, open_lab: OpenLab) -> Iterator[LatentPage]:
    """A fresh explorer of the known space."""
    notebook.page.set_viewport_size(VIEWPORT)
    notebook.execute(AGAIN)
    notebook.run(1)
    explorer = LatentPage(notebook.page)
    explorer.await_points(len(ALL))
    expect(explorer.rows).to_have_count(2)
    yield explorer
    open_lab.complaints.check()


@pytest.fixture
def letters() -> Iterator[Letters]:
    """Go through widths with a page's own letters, then with wider ones, as another font has them."""
    styles: list[ElementHandle] = []

    def both(page: Page, widths: Iterable[int]) -> Iterator[tuple[str, int]]:
        for kind in ("own letters", "wider letters"):
            if kind == "wider letters":
                styles.append(widen_letters(page, 1.15))
            for width in widths:
                yield kind, width

    yield both
    for style in styles:
        style.evaluate("style => style.remove()")


@pytest.fixture
def dark_theme() -> Iterator[Callable[[NotebookPage], None]]:
    changed = []

    def change(notebook: NotebookPage, name: str = "JupyterLab Dark") -> None:
        changed.append(notebook)
        notebook.page.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', { theme })", name)
        light = str(name != "JupyterLab Dark").lower()
        expect(notebook.page.locator("body")).to_have_attribute("data-jp-theme-light", light)
        # JupyterLab's splash screen covers the page while it loads a theme.
        expect(notebook.page.locator("#jupyterlab-splash")).to_have_count(0)

    yield change
    if changed:
        change(changed[0], "JupyterLab Light")
