"""Tables that anyone can make again: a grid of recipe, variants and seeds, made as ordinary runs and compared fairly.

grid.py      the grid file; a row becomes a recipe         cells.py     a row with a seed: its steps, what it may not do
running.py worker.py   cells as processes, side by side    figures.py   the figures, one tree of plain values
intervals.py paired resamples of the test images           claims.py    which of the grid's claims hold
leaks.py     near-duplicates of test images
table.py plot.py page.py                                   the tree as Markdown, CSV, a picture, a page
files.py     what a finished table leaves behind

The rules it keeps: rows that differ in their total optimiser steps are marked; a row that claims to use no label of the
target is refused if it uses one; test images stay unopened until the choices are frozen.
"""
