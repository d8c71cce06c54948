"""da_kd: adapt a detector to a new domain with teachers, doubtful labels and a little review.

    import da_kd
    recipe = da_kd.load_recipe("recipes/demo.yaml")
    result = da_kd.run(recipe)
    print(result.metrics.models["student"].AP50)

Importing this package loads no heavy library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["DaKdError", "Recipe", "RunResult", "__version__", "load_recipe", "run"]

if TYPE_CHECKING:
    from da_kd.errors import DaKdError
    from da_kd.pipeline import RunResult, run
    from da_kd.recipe import Recipe, load_recipe

_HOMES = {
    "DaKdError": "da_kd.errors",
    "Recipe": "da_kd.recipe",
    "load_recipe": "da_kd.recipe",
    "run": "da_kd.pipeline",
    "RunResult": "da_kd.pipeline",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its home on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'da_kd' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """Return the public names, which are not there before their first use."""
    return sorted(__all__)
