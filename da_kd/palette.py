"""The colours of classes, the same in reports, in the browser app and in FiftyOne. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence

# Okabe and Ito's, which people with any colour vision can tell apart; black is left out, since images are dark.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#999999")


def colours(classes: Sequence[str]) -> dict[str, str]:
    """Return the colour of every class; they repeat after eight."""
    return {name: PALETTE[position % len(PALETTE)] for position, name in enumerate(classes)}
