"""Jupyter widgets. Nothing outside this folder imports ipywidgets, anywidget or bqplot."""
