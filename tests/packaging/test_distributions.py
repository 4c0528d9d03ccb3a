"""What is inside the wheel and the sdist, and that both give a working widget."""

from __future__ import annotations

import email
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Of each script, some classes that it must draw with, and the style sheet that must know them.
BUNDLES = {
    "hdm_explorer.js": ("hdm_explorer.css", b"hdm-stage", b"hdm-inspector", b"hdm-progress"),
    "hdm_large.js": ("hdm_large.css", b"hdm-window", b"hdm-tiles", b"hdm-zoom"),
    "hdm_comparison.js": ("hdm_comparison.css", b"hdm-maps", b"hdm-one", b"hdm-stage"),
    "toolbar.js": ("latent_explorer.css", b"hdm-toolbar", b"hdm-button"),
    "legend.js": ("latent_explorer.css", b"hdm-legend", b"hdm-point-tip"),
    "gallery.js": ("latent_explorer.css", b"hdm-gallery", b"hdm-card", b"hdm-selections"),
    "new_data.js": ("latent_explorer.css", b"hdm-new-data", b"hdm-histogram", b"hdm-range"),
    "selection_scans.js": ("latent_explorer.css", b"hdm-scans", b"hdm-scans-ranked", b"hdm-choice"),
    "latent_comparison.js": ("latent_comparison.css", b"hdm-list", b"hdm-measure", b"hdm-two-found"),
    "compared_gallery.js": ("latent_comparison.css", b"hdm-compared", b"hdm-better", b"hdm-worse"),
    "cluster_table.js": ("latent_explorer.css", b"hdm-clusters", b"hdm-meter"),
    "hdm_page.js": ("hdm_page.css", b"hdm-stage", b"hdm-inspector", b"hdm-fixed"),
}
# It is no widget: it draws a page, and goes once into each.
PAGE = "hdm_page.js"
# An explorer has it in place of its own where its image is large.
LARGE = "hdm_large.js"
STATIC = sorted({*BUNDLES, *(style for style, *_ in BUNDLES.values())})
WEIGHTS = [
    "hdm_widgets/demo/aerial.npz",
    *(
        f"hdm_widgets/demo/faulty/{name}_{kind}.npz"
        for name in ("cells", "moles", "plants", "village")
        for kind in ("faulty", "healthy")
    ),
    "hdm_widgets/demo/shapes.npz",
]
PACKAGE_FILES = [*(f"hdm_widgets/static/{name}" for name in STATIC), *WEIGHTS]
LARGEST_BUNDLE = 90_000
# Of a whole page, and of what an explorer of a large image has.
LARGEST_FULL_BUNDLE = 100_000
LARGEST_WEIGHTS = 2_000_000
CDNS = (b"https://cdn", b"unpkg", b"jsdelivr", b"cdnjs", b"esm.sh", b"skypack", b"googleapis")


def run(*command: str | Path, cwd: Path, **variables: str) -> str:
    """Run a program; what it printed. Its failure is the test's, with all it said."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def built(name: str) -> bytes:
    """A file that js/ was built to in this checkout."""
    path = ROOT / "hdm_widgets" / "static" / name
    assert path.is_file(), f"{path} is missing: build it with `npm run build` in js/"
    return path.read_bytes()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what git has or would add, with the built files, so that a build writes nothing here."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("packages are built from a git checkout")
    copy = tmp_path_factory.mktemp("checkout")
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT).splitlines()
    for name in listed:
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    static = copy / "hdm_widgets" / "static"
    static.mkdir()
    for name in STATIC:
        # Newer than every source, so that nothing is fetched to build them again.
        (static / name).write_bytes(built(name))
    return copy


@pytest.fixture(scope="module")
def sdist(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", out, cwd=checkout)
    [path] = out.glob("*.tar.gz")
    return path


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, cwd=checkout)
    [path] = out.glob("*.whl")
    return path


def lines_of_pip(*command: str | Path, cwd: Path, **variables: str) -> list[str]:
    """What pip prints when it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", *map(str, command)],
        cwd=cwd,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode != 0, done.stdout
    return done.stdout.splitlines()


def wheel_contents(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


def sdist_contents(path: Path) -> dict[str, bytes]:
    """Files of an sdist, named without its top folder."""
    contents = {}
    with tarfile.open(path) as archive:
        for member in archive.getmembers():
            if member.isfile():
                with archive.extractfile(member) as file:
                    contents[member.name.partition("/")[2]] = file.read()
    return contents


def test_the_wheel_has_all_that_runs_and_nothing_else(wheel: Path) -> None:
    contents = wheel_contents(wheel)
    assert [name for name in PACKAGE_FILES if not contents.get(name)] == []
    assert {name.partition("/")[0] for name in contents if ".dist-info/" not in name} == {"hdm_widgets"}
    strangers = [name for name in contents if name.endswith((".ts", ".tsx", ".ipynb", ".map", ".pyc", ".lock"))]
    assert strangers == []
    assert not [name for name in contents if "node_modules" in name or "/tests/" in name]
    [license_name] = [name for name in contents if name.endswith(".dist-info/licenses/LICENSE")]
    assert contents[license_name] == (ROOT / "LICENSE").read_bytes()
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "hdm_widgets").rglob("*.py")}
    assert {name for name in contents if name.endswith(".py")} == modules


def test_the_sdist_has_all_that_git_has_and_the_built_files(checkout: Path, sdist: Path) -> None:
    contents = sdist_contents(sdist)
    # Building may leave compiled modules behind.
    files = [path.relative_to(checkout) for path in checkout.rglob("*") if path.is_file()]
    listed = {str(path) for path in files if "__pycache__" not in path.parts}
    # Whoever has the sdist can work on it: all that git has is there, but for what is about git and CI alone.
    about_git = {name for name in listed if name.startswith((".ci/", ".pre-commit-config")) or name == ".gitignore"}
    assert listed - about_git - contents.keys() == set()
    assert contents.keys() - listed == {"PKG-INFO"}
    assert [name for name in PACKAGE_FILES if not contents.get(name)] == []
    assert contents["LICENSE"] == (ROOT / "LICENSE").read_bytes()


def test_the_wheel_says_that_it_has_types_and_which_pythons_it_runs_on(wheel: Path) -> None:
    [name] = [name for name in wheel_contents(wheel) if name.endswith(".dist-info/METADATA")]
    metadata = email.message_from_bytes(wheel_contents(wheel)[name])
    assert "hdm_widgets/py.typed" in wheel_contents(wheel)
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"
    classifiers = metadata.get_all("Classifier")
    assert "Typing :: Typed" in classifiers
    versions = [one.rpartition(" ")[2] for one in classifiers if one.startswith("Programming Language :: Python :: 3.")]
    assert versions == ["3.11", "3.12", "3.13"]


def test_both_have_the_files_that_were_built_here(wheel: Path, sdist: Path) -> None:
    for contents in (wheel_contents(wheel), sdist_contents(sdist)):
        for name in STATIC:
            assert contents[f"hdm_widgets/static/{name}"] == built(name)


@pytest.mark.parametrize("name", BUNDLES)
def test_a_bundle_is_small_and_whole(wheel: Path, name: str) -> None:
    contents = wheel_contents(wheel)
    style_name, *parts = BUNDLES[name]
    script, style = (contents[f"hdm_widgets/static/{file}"] for file in (name, style_name))
    assert len(script) <= (LARGEST_FULL_BUNDLE if name in (PAGE, LARGE) else LARGEST_BUNDLE)
    for part in parts:
        assert part in script
        assert b"." + part in style
    assert (b"export{" in script.replace(b" ", b"")) == (name != PAGE)


def test_the_demos_weights_are_small(wheel: Path) -> None:
    weights = {name: len(content) for name, content in wheel_contents(wheel).items() if name.endswith(".npz")}
    assert sorted(weights) == WEIGHTS
    assert max(weights.values()) < LARGEST_WEIGHTS
    # The lesson's eight together are no larger than one of the others.
    assert sum(size for name, size in weights.items() if "/faulty/" in name) < LARGEST_WEIGHTS / 2


def test_the_bundles_fetch_nothing(wheel: Path) -> None:
    contents = wheel_contents(wheel)
    static = {name: content for name, content in contents.items() if name.startswith("hdm_widgets/static/")}
    assert sorted(static) == sorted(f"hdm_widgets/static/{name}" for name in STATIC)
    for name, content in static.items():
        assert [cdn for cdn in CDNS if cdn in content] == [], name
        # No other module and no style sheet or font of another place.
        assert b"import(" not in content, name
        assert b"@import" not in content, name
        assert b"url(http" not in content, name


def test_the_bundle_is_that_of_the_present_sources(checkout: Path, tmp_path: Path) -> None:
    modules = ROOT / "js" / "node_modules"
    if shutil.which("node") is None or not modules.is_dir():
        pytest.skip("needs Node.js and `npm ci` in js/")
    shutil.copytree(checkout / "js", tmp_path / "js")
    (tmp_path / "js" / "node_modules").symlink_to(modules)
    run("node", "build.mjs", cwd=tmp_path / "js")
    for name in STATIC:
        fresh = (tmp_path / "hdm_widgets" / "static" / name).read_bytes()
        assert fresh == built(name), f"{name} is older than its sources: run `npm run build` in js/"


def test_a_wheel_made_from_the_sdist_needs_no_node(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    nothing = tmp_path / "bin"
    nothing.mkdir()
    command = ["-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--no-cache-dir"]
    run(sys.executable, *command, "--wheel-dir", tmp_path, sdist, cwd=tmp_path, PATH=str(nothing))
    [path] = tmp_path.glob("*.whl")
    assert path.name == wheel.name
    ours, from_checkout = wheel_contents(path), wheel_contents(wheel)
    assert sorted(ours) == sorted(from_checkout)
    for name, content in from_checkout.items():
        if not name.endswith("/RECORD"):
            assert ours[name] == content, name


def test_without_npm_one_line_says_what_to_install(checkout: Path, tmp_path: Path) -> None:
    sources = tmp_path / "sources"
    shutil.copytree(checkout, sources, ignore=shutil.ignore_patterns("static"))
    nothing = tmp_path / "bin"
    nothing.mkdir()
    command = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "--no-cache-dir", "."]
    lines = lines_of_pip(*command, cwd=sources, PATH=str(nothing))
    assert len([line for line in lines if "install Node.js 20.19 or newer" in line]) == 1
    assert not [line for line in lines if "Traceback" in line]


def test_npm_does_not_see_the_path_by_which_pip_isolates_a_build(checkout: Path, tmp_path: Path) -> None:
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text('#!/bin/sh\necho "npm $* in ${PWD##*/} with <$PYTHONPATH>"\n')
    npm.chmod(0o755)
    script = "import hatch_build; hatch_build.build_front_end('wheel', 'standard', path='js', npm=['npm'], "
    script += f"build_cmd='build', source_dir='js/src', build_dir={str(tmp_path / 'static')!r})"
    printed = run(sys.executable, "-c", script, cwd=checkout, PATH=str(npm.parent), PYTHONPATH=str(checkout))
    assert [line for line in printed.splitlines() if line.startswith("npm ")] == [
        "npm install in js with <>",
        "npm run build in js with <>",
    ]


def test_the_installed_wheel_has_its_widgets(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    command = ["-m", "pip", "install", "--no-deps", "--no-index", "--no-compile", "--disable-pip-version-check"]
    run(sys.executable, *command, "--target", target, wheel, cwd=tmp_path)
    script = """
import pathlib
import hdm_widgets
from hdm_widgets.widgets.hdm import explorer as hdm_explorer
from hdm_widgets.widgets.latent import cluster_table, compared_gallery, comparison, gallery
from hdm_widgets.widgets.latent import new_panel, parts, scans_panel
print(pathlib.Path(hdm_explorer.__file__).parents[3])
print(hdm_widgets.__version__)
print(len(hdm_widgets.demo.shapes(0)), len(hdm_widgets.demo.aerial(3)))
widgets = parts.Toolbar, parts.Legend, gallery.Gallery, new_panel.NewDataPanel, scans_panel.ScansPanel
widgets = *widgets, comparison.ComparisonHead, compared_gallery.ComparedGallery, cluster_table.ClusterTable
for widget in (hdm_explorer.HDMExplorer, hdm_widgets.HDMComparison, *widgets):
    print(len(str(widget._esm).encode()), len(str(widget._css).encode()))
"""
    # Warnings are printed too, and would be taken for an answer.
    printed = run(sys.executable, "-W", "ignore", "-c", script, cwd=tmp_path, PYTHONPATH=str(target)).splitlines()
    version = wheel.name.split("-")[1]
    # The page of a scan is no widget.
    widgets = {script: style for script, (style, *_) in BUNDLES.items() if script not in (PAGE, LARGE)}
    sizes = [f"{len(built(script))} {len(built(style))}" for script, style in widgets.items()]
    assert printed == [str(target), version, "4 2", *sizes]
