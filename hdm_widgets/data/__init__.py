"""Data sets for teaching and for trying the tools."""

from hdm_widgets.data.shapes import PlantedCue, PlantedCueSample

__all__ = ["PlantedCue", "PlantedCueSample"]
