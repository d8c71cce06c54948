"""The embedded demo data: small labelled blood smears from two laboratories, drawn from a seed.

``cells`` knows the biology, ``optics`` what a laboratory makes of it, ``render`` puts both together and writes a data
set. Nothing here knows the recipe, the run, a detector or how hard the shift between the laboratories is for one.
"""

from da_kd.demo.cells import CLASSES
from da_kd.demo.render import render_set

__all__ = ["CLASSES", "render_set"]
