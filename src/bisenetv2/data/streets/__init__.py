"""Rendered streets: a data set that needs no download, its truth exact to the pixel."""

from bisenetv2.data.streets.rendered import RenderedStreets, render_street

__all__ = ["RenderedStreets", "render_street"]
