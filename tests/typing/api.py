"""The public interface as users write it: `make lint` lets mypy check it, and a test runs it.

`assert_type` fails where a type differs from the one that users are promised. `type: ignore` marks a mistake that mypy
must find: strict mode makes it an error where mypy finds none.
"""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any, Unpack, assert_type

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

import hdm_widgets as hw
from hdm_widgets import hdm, metrics
from hdm_widgets.data import (
    LAND_USES,
    AerialSample,
    AerialScenes,
    FaultName,
    FaultSample,
    FaultScenes,
    InriaTiles,
    PlantedCue,
    PlantedCueSample,
    PlantedFailures,
    PlantedName,
    Tiles,
)
from hdm_widgets.demo import AerialDemo, FaultyDemo, ShapesDemo
from hdm_widgets.latent import (
    Cluster,
    Estimates,
    Estimator,
    Failure,
    Failures,
    Footprints,
    ItemSet,
    Layer,
    LayerTable,
    Neighbors,
    Score,
    Selection,
    Shift,
    SpaceComparison,
    Surface,
)


def demos() -> None:
    shapes = hw.demo.shapes(0)
    assert_type(shapes, ShapesDemo)
    model, image, segment, cue = shapes
    assert_type(model, hw.UNet)
    assert_type(image, Tensor)
    assert_type(segment, Tensor)
    assert_type(cue, NDArray[np.bool_])
    aerial = hw.demo.aerial(16)
    assert_type(aerial, AerialDemo)
    assert_type(aerial.dataset, AerialScenes)
    name: FaultName = "cells"
    faulty = hw.demo.faulty(name, 4, exposing=1.0)
    assert_type(faulty, FaultyDemo)
    assert_type(faulty.healthy, hw.UNet)
    assert_type(faulty.dataset.sample(0), FaultSample)


def data_sets() -> None:
    scenes = hw.data.AerialScenes(4, seed=1)
    assert_type(scenes[0], tuple[Tensor, Tensor])
    assert_type(scenes.sample(0), AerialSample)
    kind: PlantedName = "shadow"
    assert_type(PlantedFailures(4, fractions={kind: 0.5}).planted, list[str])
    assert_type(hw.data.PlantedCue(4, size=64).sample(0), PlantedCueSample)
    assert_type(FaultScenes("moles", 4, faulty=True)[0], tuple[Tensor, Tensor])
    assert_type(LAND_USES.index("water"), int)
    assert_type(len(hw.data.PlantedCue(4, size=64)), int)


def tiles(root: Path) -> InriaTiles:
    scenes = hw.data.Tiles(root, root, bands=(4, 3, 2), scale=10_000)
    assert_type(scenes, Tiles)
    assert_type(scenes.corners, NDArray[np.float64])
    assert_type(scenes.crs, list[str])
    return hw.data.InriaTiles(root, bands=[1], scale=255.0, mask_band=2, ignore=255)


def segment_images(images: NDArray[np.float32]) -> None:
    segmenter = hw.Segmenter(hw.UNet(1, 1, width=4, depth=1), threshold=0.4, device="cpu", batch_size=2)
    assert_type(segmenter.probabilities(images), NDArray[np.float32])
    assert_type(segmenter.masks(torch.from_numpy(images)), NDArray[np.bool_])
    hw.Segmenter(lambda batch: batch[:, 0], target=0, activation="sigmoid")
    in_windows = hw.Segmenter(hw.UNet(), window=(512, 256), overlap=0.5, blending="gaussian")
    assert_type(in_windows.window, tuple[int, int] | None)
    assert_type(in_windows.overlap, tuple[int, int] | None)
    hw.Segmenter(hw.UNet(), window=512, overlap=(64, 32))
    # What cannot be told is written; the rest is decided, and said.
    hw.Segmenter(
        lambda batch: {"seg": batch}, output="seg", classes="independent", align="resize", layout="channels_first",
        preprocess=lambda batch: batch / 255, pad_to=16,
    )  # fmt: skip
    hw.Segmenter(nn.Identity(), output=lambda maps: maps[0], preprocess=nn.Identity())
    assert_type(segmenter.reading, hw.Reading)
    assert_type(segmenter.reading.batch_dependent, bool | None)
    assert_type(str(segmenter.reading) + segmenter.reading.form, str)


def compare_models(model: nn.Module, image: Tensor, segment: Tensor, path: Path) -> hdm.ModelComparison:
    models: dict[str, nn.Module | hw.Segmenter] = {"before": model, "after": hw.Segmenter(model)}
    assert_type(hdm.compare_models(models, image), hdm.ModelComparison)
    comparison = hdm.compare_models(models, image, segment, 4, 4, "cpu", fill="mean", progress=False)
    assert_type(comparison, hdm.ModelComparison)
    assert_type(comparison.results, dict[str, hdm.HDMResult])
    assert_type(comparison.difference, NDArray[np.float64])
    assert_type(comparison.between("before", "after", hdm.WORSE_ONLY), NDArray[np.float64])
    assert_type(comparison.measure("iou").text, str)
    comparison.save(path)
    return hdm.ModelComparison.load(path)


def compare_fills_on_screen(model: nn.Module, image: Tensor, segment: Tensor) -> None:
    explorer = hw.HDMExplorer(model, image, segment, circle_size=4, offset=4, fill="mean", shape="square")
    explorer.wait(60)
    explorer.compare_fills()
    explorer.wait(60)
    assert_type(explorer.fill_comparison, hdm.FillComparison | None)
    explorer.close()


def compare_below_the_map(model: nn.Module, image: Tensor, segment: Tensor) -> None:
    explorer = hw.HDMExplorer(model, image, segment, circle_size=4, offset=4, compare_with={"after": model})
    explorer.wait(60)
    explorer.compare_models()
    explorer.compare_objects()
    explorer.wait(60)
    assert_type(explorer.model_comparison, hdm.ModelComparison | None)
    assert_type(explorer.object_influence, hdm.ObjectInfluence | None)
    explorer.close()


def compare_on_screen(model: nn.Module, image: Tensor, segment: Tensor) -> None:
    widget = hw.HDMComparison(
        {"before": model, "after": model}, image, segment, circle_size=4, offset=4, order="change"
    )
    assert_type(widget.wait(60), bool)
    assert_type(widget.results, dict[str, hdm.HDMResult])
    assert_type(widget.difference, NDArray[np.float64] | None)
    if widget.comparison is not None:
        hw.HDMComparison(widget.comparison, opacity=0.5).close()
    widget.close()


def explain(model: nn.Module, image: Tensor, segment: Tensor) -> hdm.HDMResult:
    explainer = hdm.HausdorffDistanceMasks(16, 16)
    explainer.generate_masks(circle_size=4, offset=4, normalize=False)
    result = explainer.explain(
        model, image, segment, "cpu", batch_size=4, distance="hausdorff", fill=0.5, region=(0, 0, 8, 8),
        inference="estimate", tolerance=1e-3, progress=False,
    )  # fmt: skip
    assert_type(result, hdm.HDMResult)
    # Several channels, with a fill for each channel of the image.
    explainer.explain(model, image, segment, channel=[0], fill=(0.1,), progress=False)
    # The documented form: everything by position.
    assert_type(explainer.explain(model, image, segment, torch.device("cpu"), -1, progress=False), hdm.HDMResult)
    ignored = torch.zeros(16, 16, dtype=torch.bool)
    explainer.explain(model, image, segment, spacing=(0.5, 2), ignore=ignored, progress=False)
    assert_type(result.ignored, NDArray[np.bool_] | None)
    # Arrays of numpy, and any callable.
    pixels: NDArray[np.float32] = image.numpy()
    explainer.explain(lambda batch: batch[:, 0], pixels, pixels[0] > 0.5, fill="mean", empty="inf", progress=print)
    assert_type(explainer.result, hdm.HDMResult | None)
    return result


def stream(model: nn.Module, image: Tensor, segment: Tensor) -> None:
    explainer = hdm.HausdorffDistanceMasks(16, 16)
    explainer.generate_masks(4, 8)
    updates = explainer.stream(model, image, segment, batch_size=1, keep_outputs=False)
    assert_type(updates, Generator[hdm.ScanUpdate])
    for update in updates:
        assert_type(update.cells, NDArray[np.intp])
        assert_type(update.distances, NDArray[np.float64])
        assert_type(update.done + update.total, int)
        assert_type(update.result, hdm.HDMResult)
    assert_type(explainer.plan(model, image, segment, inference="full"), hdm.Plan)


def explain_quickly(model: nn.Module, image: Tensor, **options: Unpack[hdm.ScanKeywords]) -> hdm.HDMResult:
    """A function of a user's that hands the options on."""
    explainer = hdm.HausdorffDistanceMasks(16, 16)
    explainer.generate_masks(4, 8)
    assert_type(hdm.ScanOptions(**options).batch_size, int | None)
    return explainer.explain(model, image, image[0], progress=False, **options)


def explain_all_classes(model: nn.Module, image: Tensor, labels: Tensor, folder: Path) -> hdm.HDMResult:
    explainer = hdm.HausdorffDistanceMasks(16, 16)
    explainer.generate_masks(4, 8)
    result = explainer.explain(model, image, labels, target="all", progress=False)
    explorer = hw.HDMExplorer(model, image, labels, target="all", class_names=["ground", "road"], order="mean")
    assert_type(explorer.against, int | None)
    explorer.target = 0
    explorer.wait()
    explorer.against = 1
    explorer.against = None
    explorer.to_html(folder / "explorer.html", title="A scan")
    explorer.close()
    hw.HDMExplorer(model, image, labels, target="all", class_names={1: "road"}).close()
    name: hdm.MeasureName = "mean_surface"
    assert_type(result.measure(name, segment="prediction", spacing=(2, 1)), hdm.HDMResult)
    assert_type(result.measure("iou", result.segment).influence(result.segment), NDArray[np.float64])
    assert_type(result.for_object(5, 5, of="truth"), hdm.HDMResult)
    assert_type(result.class_change(0, 1), NDArray[np.float64])
    assert_type(result.painted_values(order="mean"), NDArray[np.float64])
    assert_type(result.relevance_mass_accuracy(result.segment, hdm.WORSE_ONLY, order="mean"), float)
    assert_type(result.influence_matrix(by=result.segment, on=result.segment), NDArray[np.float64])
    found = result.object_influence(by="truth", on=result.segment.astype(int))
    assert_type(found, hdm.ObjectInfluence)
    assert_type(found.values, NDArray[np.float64])
    assert_type(found.by, hdm.Objects)
    assert_type(found.text, str)
    result.to_html(
        str(folder / "scan.html"), title="A scan", model_name="U-Net", color_map="magma", class_names={1: "road"}
    )
    return assert_type(result.for_class(0), hdm.HDMResult)


def compare_fills(model: nn.Module, image: Tensor, segment: Tensor, path: Path) -> hdm.FillComparison:
    comparison = hdm.compare_fills(
        model, image, segment, 4, 4, "cpu", fills=("mean", "inpainted", 0.5), repeats=2, shape="square", seed=1,
        progress=False,
    )  # fmt: skip
    assert_type(comparison, hdm.FillComparison)
    assert_type(comparison.results["mean"], hdm.HDMResult)
    agreement: hdm.RankCorrelation = comparison.agreement["mean", "0.5"]
    assert_type(agreement.low + agreement.value + agreement.high + comparison.noise_floor, float)
    assert_type(comparison.significant, NDArray[np.bool_])
    assert_type(comparison.spread, NDArray[np.float64])
    assert_type(comparison.text + comparison.finding, str)
    assert_type(comparison.used["mean"], NDArray[np.bool_])
    assert_type(comparison.left_out_notes, dict[str, str])
    assert_type(hdm.compare_fills(model, image), hdm.FillComparison)
    comparison.plot(Figure())
    comparison.results["mean"].plot(
        Figure().subplots(), result_type="raw", significant=comparison.significant, order="mean"
    )
    drawn: hdm.DiscDrawn = comparison.results["mean"].disc_drawn
    assert_type(drawn.count + drawn.of, int)
    assert_type(comparison.results["mean"].disc_as_segment, NDArray[np.float64])
    comparison.save(path)
    return hdm.FillComparison.load(path)


def explain_many(model: nn.Module, image: Tensor, segment: Tensor, folder: Path) -> hdm.HDMCollection:
    def tell(update: hdm.ImageUpdate) -> None:
        assert_type(update.seconds_left + update.fraction, float)

    try:
        found = hdm.explain_many(
            model, [(image, segment)], [0], 4, 4, "cpu", fills=("mean", 0.5), distance="dice", store=folder,
            client=None, progress=tell,
        )  # fmt: skip
    except hdm.ClusterError:
        return hdm.HDMCollection.open(folder)
    assert_type(found, hdm.HDMCollection)
    assert_type(found[0], hdm.HDMResult)
    assert_type(found.mean("worse") + found.spread(), NDArray[np.float64])
    aligned: hdm.AlignedMap = found.aligned(hdm.WORSE_ONLY, scaled=True)
    assert_type(aligned.mean, NDArray[np.float64])
    assert_type(found.indices, tuple[int, ...])
    assert_type(found.ranking().index.tolist()[0], Any)
    found.plot(figure=Figure())
    return hdm.HDMCollection.open(folder)


class Noise(hdm.HausdorffDistanceMasks):
    """An own occlusion and an own distance, by the documented hooks."""

    def apply_mask(self, image: Tensor, mask: Tensor) -> Tensor:
        return torch.where(mask > 0, image, torch.full_like(image, 0.3))

    def calculate_distance(self, output: NDArray[Any], segment: NDArray[Any]) -> float:
        return metrics.row_distance(output, segment)


def read_result(result: hdm.HDMResult, path: Path) -> None:
    assert_type(result.distances(hdm.RAW), NDArray[np.float64])
    assert_type(result.distances("better"), NDArray[np.float64])
    assert_type(hdm.ResultType("raw").value, str)
    assert_type(result.circle_map(hdm.WORSE_ONLY, color_map="Blues"), Image.Image)
    assert_type(result.overlay(hdm.BETTER_ONLY, result.image, edges=True), Image.Image)
    assert_type(result.overlay(display=(0, 0, 0)), Image.Image)
    assert_type(result.baseline, float)
    assert_type(result.measured, NDArray[np.bool_])
    assert_type(result.output(0, 0), NDArray[np.bool_])
    assert_type(result.occluded(0, 0), NDArray[np.float32])
    assert_type(result.pair(0, 0), metrics.HausdorffPair)
    assert_type(result.iou(0, 0), float)
    assert_type(result.grid, hdm.Grid)
    assert_type(result.settings, hdm.ScanSettings)
    assert_type(result.settings.target, int | None)
    assert_type(result.classes, tuple[int, ...])
    assert_type(result.approximation, hdm.Approximation | None)
    assert_type(result.estimated, NDArray[np.bool_] | None)
    assert_type(result.certain, NDArray[np.bool_] | None)
    assert_type(result.estimates, str)
    assert_type(result.reading, hw.Reading | None)
    assert_type(result.noise, hdm.Noise | None)
    result.save(path)
    assert_type(hdm.HDMResult.load(path), hdm.HDMResult)


def model_fails(model: nn.Module, image: Tensor, segment: Tensor) -> object:
    explainer = hdm.HausdorffDistanceMasks(16, 16)
    explainer.generate_masks(4, 8)
    try:
        explainer.explain(model, image, segment, progress=False)
    except hdm.ModelOutputError as error:
        assert_type(error.cell, tuple[int, int] | None)
    except hdm.ModelError as error:
        return error.result
    return None


def compare_masks(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> None:
    policy: metrics.EmptyPolicy = "nan"
    assert_type(metrics.hausdorff_distance(first, second, empty=policy), float)
    assert_type(metrics.ReferenceMask(first, empty="inf").distance(second), float)
    assert_type(metrics.ReferenceMask(first, spacing=(0.5, 2)).distances(second[None]), NDArray[np.float64])
    assert_type(
        metrics.hausdorff_distance(torch.from_numpy(first), second.astype(int), spacing=(10, 10), ignore=255), float
    )
    assert_type(metrics.hausdorff_pair(first, second, ignore=first), metrics.HausdorffPair)
    assert_type(metrics.hausdorff_percentile(first, second, 95), float)
    assert_type(metrics.mean_surface_distance(first, second), float)
    assert_type(metrics.iou([[0, 1]], [[1, 255]], empty=1.0, ignore=255) + metrics.dice(first, second), float)


def latent_space(path: Path) -> hw.LatentSpace:
    model, scenes = hw.demo.aerial(24)
    space = hw.LatentSpace(model, layer="auto", pool="mean", n_components=2, iou_empty=0.0, random_state=0)
    assert_type(space.fit(scenes, ignore=np.zeros(scenes[0][1].shape, bool), progress=False), hw.LatentSpace)
    assert_type(space.fit(scenes, image=0, mask=lambda item: item[1], progress=False), hw.LatentSpace)
    images = torch.stack([scenes[0][0], scenes[1][0]])
    assert_type(space.embedding_, NDArray[np.float64])
    assert_type(space.iou_, NDArray[np.float64])
    assert_type(space.layer_name_, str)
    assert_type(space.cv_score_, float)
    assert_type(space.transform(images), NDArray[np.float64])
    assert_type(space.predict_iou(images), NDArray[np.float64])
    estimates = space.estimate(images, coverage=0.8, progress=False)
    assert_type(estimates, Estimates)
    assert_type(estimates.iou, NDArray[np.float64])
    assert_type(estimates.reliable, NDArray[np.bool_])
    assert_type(estimates.to_label(5), NDArray[np.int64])
    assert_type(estimates.doubt, NDArray[np.float64])
    assert_type(estimates.mean + estimates.mean_low + estimates.mean_high, float)
    assert_type(estimates.shift, Shift)
    assert_type(estimates.shift.shifted, bool)
    assert_type(estimates.text + estimates.skill + estimates.shift.text, str)
    assert_type(estimates.footprints, Footprints | None)
    estimates.by("item", coverage=0.5)
    estimates.by([0, 1])
    estimates.to_geojson(path.with_suffix(".geojson"), bounds=[[8, 47, 9, 48], [9, 47, 10, 48]], crs="EPSG:4326")
    assert_type(space.estimate(scenes, progress=False, client=None).confidences, dict[str, NDArray[np.float64]])
    assert_type(space.estimator_, Estimator)
    assert_type(space.estimator_.scores, tuple[Score, ...])
    assert_type(space.surface(shape=(9, 9), bounds=(-1.0, 1.0, 0, 2)), Surface)
    assert_type(space.neighbors(0, k=3), Neighbors)
    assert_type(space.cluster(n_clusters=2), tuple[Cluster, ...])
    assert_type(space.clusters_[0].size, int)
    assert_type(space.failures(["land_use"], coverage=0.8), Failures)
    for failure in space.failures():
        assert_type(failure, Failure)
    assert_type(hw.compare_spaces(space, space, names=("before", "after"), k=5), SpaceComparison)
    assert_type(space.select([0, 1], name="first"), Selection)
    assert_type(space.select([0, 1]).items, ItemSet)
    assert_type(space.select([0, 1]).items.flags, NDArray[np.bool_])
    assert_type(space.prediction(0), NDArray[np.bool_])
    assert_type(space.ignored(0), NDArray[np.bool_])
    assert_type(space.collection_.label_quality, NDArray[np.float64] | None)
    assert_type(space.collection_.probability_maps, NDArray[np.uint8] | None)
    space.save(path)
    hw.export_marked(space, [0, 1], path / "marked.csv", "csv", reasons={0: "shifted"})
    hw.export_marked(space, space.select([0]), path / "marked", format="voc")
    assert_type(hw.LatentSpace.load(path, model=None), hw.LatentSpace)
    try:
        hw.LatentSpace(model).fit(scenes, store=path / "store", progress=False)
    except hw.latent.StoreError:
        assert_type(hw.LatentSpace.open("memory://store", model, scenes), hw.LatentSpace)
    except hw.latent.ClusterError:
        hw.LatentSpace(model).fit(scenes, store=path / "store", client=None)
    everything = torch.stack([image for image, _ in (scenes[index] for index in range(24))])
    masks, features = hw.Segmenter(model).masks(everything), everything.mean((2, 3))
    assert_type(hw.LatentSpace.from_features(features, scenes, predictions=masks, columns=None), hw.LatentSpace)
    assert_type(
        hw.LatentSpace.from_features(
            features, scenes, masks, probabilities=hw.Segmenter(model).probabilities(everything)
        ),
        hw.LatentSpace,
    )
    hw.LatentSpace(model, layout="channels_last")
    table = hw.layers(model, scenes[0][0], layout="auto")
    assert_type(table, LayerTable)
    assert_type(table[0], Layer)
    assert_type(table.auto, str | None)
    assert_type(table.names, tuple[str, ...])
    return space


def widgets(model: nn.Module, image: Tensor, segment: Tensor, space: hw.LatentSpace) -> None:
    explorer = hw.HDMExplorer(
        model, image, segment, circle_size=4, offset=4, opacity=0.5, fill="blur", region=(0, 0, 8, 8), distance="rows",
        ignore=segment > 1,
    )  # fmt: skip
    assert_type(explorer.wait(timeout=60), bool)
    assert_type(explorer.result, hdm.HDMResult | None)
    explorer.close()
    latent = hw.LatentExplorer(space, color_by="iou", background="expected_iou", color_as="categories")
    assert_type(latent.estimates, Estimates | None)
    hw.LatentExplorer(space, new=space.estimate(hw.data.AerialScenes(4), progress=False)).cancel()
    hw.LatentExplorer(space, new=hw.data.AerialScenes(4))
    latent.find_failures()
    latent.marked = (0, 1)
    with tempfile.TemporaryDirectory() as folder:
        latent.export_marked(Path(folder, "marked.json"), "coco")
    assert_type(latent.select_marked(), Selection)
    assert_type(latent.failures, Failures | None)
    assert_type(latent.select([0, 1], name="first"), Selection)
    assert_type(latent.selections, tuple[Selection, ...])
    latent.close()
    comparison = hw.compare_spaces(space, space)
    assert_type(comparison.plot(), Figure)
    assert_type(comparison.likeness, str)
    assert_type(comparison.sought, int)
    assert_type(comparison.spaces, tuple[hw.LatentSpace, hw.LatentSpace])
    both = hw.LatentComparison(comparison, color_by="iou_change")
    assert_type(both.comparison, SpaceComparison)
    assert_type(both.select([0, 1], name="first"), Selection)
    both.close()
    display = hw.Display((0, 0, 0), stretch=(1, 99), nodata=-1)
    hw.HDMExplorer(model, image, segment, channel=[0], display=display).close()
    assert_type(hw.LatentSpace(None, display=0).display, hw.Display)


def training() -> None:
    history = hw.train(hw.UNet(1, 1, width=4, depth=1), PlantedCue(4, size=32), epochs=1)
    assert_type(history.loss, list[float])


# From here on every marked line is wrong. No test runs it.


def mistakes_in_explanations(model: nn.Module, image: Tensor, segment: Tensor) -> None:
    explainer = hdm.HausdorffDistanceMasks("16", 16)  # type: ignore[arg-type]
    explainer.generate_masks(circle=4, offset=4)  # type: ignore[call-arg]
    explainer.explain(model)  # type: ignore[call-arg]
    explainer.explain(model, image, segment, batchsize=4)  # type: ignore[call-arg]
    explainer.explain(model, image, segment, batch_size="4")  # type: ignore[arg-type]
    explainer.explain(model, image, segment, distance="hausdorf")  # type: ignore[arg-type]
    explainer.explain(model, image, segment, fill="black")  # type: ignore[arg-type]
    explainer.explain(model, image, segment, fill=("black",))  # type: ignore[arg-type]
    explainer.explain(model, image, segment, shape="hexagon")  # type: ignore[arg-type]
    hdm.compare_fills(model, image, segment, 4, 4, fills=("black",))  # type: ignore[arg-type]
    explainer.explain(model, image, segment, channel="red")  # type: ignore[arg-type]
    explainer.explain(model, image, segment, region=(0, 0, 8))  # type: ignore[arg-type]
    explainer.explain(model, image, segment, inference="exact")  # type: ignore[arg-type]
    explainer.explain(model, image, segment, exact=False)  # type: ignore[call-arg]
    explainer.explain(model, image, segment, spacing=2.0)  # type: ignore[arg-type]
    explainer.explain(model, image, segment, ignore="void")  # type: ignore[arg-type]
    explainer.explain(model, image, segment, target="every")  # type: ignore[arg-type]
    explainer.stream(model, image, segment, empty="zero")  # type: ignore[arg-type]
    explainer.stream(model, image, segment, progress=False)  # type: ignore[call-arg]
    explainer.plan(model, image, segment, tolerance="small")  # type: ignore[arg-type]
    explain_quickly(model, image, batchsize=4)  # type: ignore[call-arg]
    hw.HDMExplorer(model, image, segment, circle=4)  # type: ignore[call-arg]
    hw.HDMExplorer(model, image, segment, fill="black")  # type: ignore[arg-type]
    hw.HDMExplorer(model, image, segment, display="rgb")  # type: ignore[arg-type]


def mistakes_elsewhere(mask: NDArray[np.bool_], space: hw.LatentSpace) -> None:
    hw.Segmenter(hw.UNet(), window="512")  # type: ignore[arg-type]
    hw.Segmenter(hw.UNet(), window=512, blending="mean")  # type: ignore[arg-type]
    hw.Segmenter(hw.UNet(), activation="relu")  # type: ignore[arg-type]
    hw.Segmenter(hw.UNet(), output=1.5)  # type: ignore[arg-type]
    hw.Segmenter(hw.UNet(), classes="both")  # type: ignore[arg-type]
    hw.Segmenter(hw.UNet(), align="left")  # type: ignore[arg-type]
    hw.Segmenter(hw.UNet(), layout="NHWC")  # type: ignore[arg-type]
    hw.Segmenter(hw.UNet(), treshold=0.4)  # type: ignore[call-arg]
    hw.demo.shapes("first")  # type: ignore[arg-type]
    hw.data.PlantedCue(4, side=64)  # type: ignore[call-arg]
    hw.train(hw.UNet(), PlantedCue(4), epoch=1)  # type: ignore[call-arg]
    metrics.hausdorff_distance(mask, mask, empty="zero")  # type: ignore[arg-type]
    hw.LatentSpace(hw.UNet(), pool="median")  # type: ignore[arg-type]
    hw.LatentSpace(hw.UNet(), components=2)  # type: ignore[call-arg]
    hw.LatentSpace(hw.UNet(), layout="last")  # type: ignore[arg-type]
    hw.LatentSpace.from_features(mask, [(mask, mask)])  # type: ignore[call-arg]
    space.estimate(mask, coverage="high")  # type: ignore[arg-type]
    space.neighbors("first")  # type: ignore[arg-type]
    hw.LatentExplorer(hw.UNet())  # type: ignore[arg-type]
    hw.LatentExplorer(space, mask)  # type: ignore[arg-type]
    hw.LatentExplorer(space, new=5)  # type: ignore[arg-type]
    hw.LatentComparison(space)  # type: ignore[arg-type]
