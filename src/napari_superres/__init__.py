"""Super-resolution that a microscopist can trust.

>>> import napari_superres as sr
>>> image = sr.read("cells.ome.zarr")  # doctest: +SKIP
>>> finer = sr.upscale(image, "microscopy-x4")  # doctest: +SKIP
>>> sr.write(finer, "cells_x4.ome.zarr")  # doctest: +SKIP
"""
