"""Synthetic data sets for teaching and for trying the tools, and two that read your own aerial images."""

from hdm_widgets.data.aerial import LAND_USES, AerialSample, AerialScenes
from hdm_widgets.data.faults import FaultName, FaultSample, FaultScenes
from hdm_widgets.data.planted import PlantedFailures, PlantedName
from hdm_widgets.data.shapes import PlantedCue, PlantedCueSample
from hdm_widgets.data.tiles import InriaTiles, Tiles

__all__ = [
    "LAND_USES",
    "AerialSample",
    "AerialScenes",
    "FaultName",
    "FaultSample",
    "FaultScenes",
    "InriaTiles",
    "PlantedCue",
    "PlantedCueSample",
    "PlantedFailures",
    "PlantedName",
    "Tiles",
]
