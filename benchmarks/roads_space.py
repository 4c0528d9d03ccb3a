"""The latent space of the roads network over real pictures, and the explorer's view of it as pictures.

    python benchmarks/roads.py          # trains the network, once
    python benchmarks/roads_space.py [--out benchmarks/out/roads]

Patches of 128 px at a stride of 64 from all 60 pictures: 45 were trained on, 15 not, and the space knows which. Prints
clusters and what separates them; writes the space, and what a JupyterLab shows of it, to --out, which git ignores.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from _roads_data import Patches
from playwright.sync_api import expect, sync_playwright

import hdm_widgets as hw

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "browser"))
from jupyter_hosts import NotebookPage, find_chromium, jupyterlab

CELL = """
import sys
sys.path.insert(0, {here!r})
import torch
import hdm_widgets as hw
from _roads_data import Patches

model = hw.UNet(in_channels=3, classes=1, width=16, depth=4)
model.load_state_dict(torch.load({weights!r}, weights_only=True))
space = hw.LatentSpace.load({space!r}, model=model.eval(), dataset=Patches())
explorer = hw.LatentExplorer(space)
explorer
"""


def build(weights: Path, folder: Path) -> hw.LatentSpace:
    model = hw.UNet(in_channels=3, classes=1, width=16, depth=4)
    model.load_state_dict(torch.load(weights, weights_only=True))
    space = hw.LatentSpace(model.eval()).fit(Patches())
    space.cluster(n_clusters=8)
    space.save(folder)
    return space


def report(space: hw.LatentSpace) -> None:
    held_out = space.columns_["split"] == "validation"
    print(space)
    print(
        f"R2 of the expected IoU {space.cv_score_:.2f}, trustworthiness {space.trustworthiness():.2f}; mean IoU "
        f"{space.iou_[~held_out].mean():.2f} trained on, {space.iou_[held_out].mean():.2f} held out"
    )
    print(f"clusters: {space.clustering_}")
    for one in space.clusters_:
        area = space.overlaps_.truth_area[one.indices].mean() / 128**2
        false = space.overlaps_.fp[one.indices].mean() / 128**2
        missed = space.overlaps_.fn[one.indices].mean() / 128**2
        print(
            f"  {one.label}: {one.size:4} patches, mean IoU {one.mean_iou:.2f}, road {area:.0%}, "
            f"false {false:.1%}, missed {missed:.1%}, held out {held_out[one.indices].mean():.0%}"
        )


def pictures(space: hw.LatentSpace, weights: Path, folder: Path, out: Path) -> None:
    chromium = find_chromium()
    if chromium is None:
        raise SystemExit("the pictures need Chromium or Chrome on the PATH")
    cell = CELL.format(here=str(Path(__file__).parent), weights=str(weights), space=str(folder))
    with (
        tempfile.TemporaryDirectory() as home,
        jupyterlab(Path(home) / "lab") as server,
        sync_playwright() as playwright,
    ):
        flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        page = browser.new_page(viewport={"width": 1400, "height": 1500})
        notebook = NotebookPage(page, server.notebook([cell]))
        notebook.run(0)
        view = page.locator(".hdm-latent")
        expect(page.locator(".hdm-clusters tbody tr")).to_have_count(len(space.clusters_))
        for one in sorted(space.clusters_, key=lambda cluster: cluster.mean_iou):
            notebook.execute(f"explorer.clear(); explorer.select({one.indices.tolist()}, name='cluster {one.label}')")
            expect(view.locator(".hdm-card img").first).to_be_visible()
            expect(view.locator(".hdm-wait")).to_have_count(0)
            view.screenshot(path=out / f"space_cluster_{one.label}.png")
        notebook.execute("explorer.color_by = 'cluster'")
        expect(view.locator(".hdm-legend")).to_contain_text("cluster 0")
        view.screenshot(path=out / "space_clusters.png")
        notebook.close()
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out" / "roads")
    out = parser.parse_args().out.resolve()
    weights, folder = out / "roads.pt", out / "space"
    if not weights.exists():
        raise SystemExit(f"there are no weights in {out.name}: run benchmarks/roads.py first")
    space = build(weights, folder)
    report(space)
    order = np.argsort(space.iou_)
    print("lowest IoU:", ", ".join(f"{space.columns_['name'][i]} {space.iou_[i]:.2f}" for i in order[:5]))
    pictures(space, weights, folder, out)
    print(f"pictures: {out}/space_*.png".replace(str(Path.cwd()) + "/", ""))


if __name__ == "__main__":
    main()
