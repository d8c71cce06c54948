"""One theme for all pages: system fonts, few colours, light and dark. Knows gradio; must not know a page."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

_HERE = Path(__file__).parent
STYLE, SCRIPT = _HERE / "app.css", _HERE / "app.js"

_ACCENT = gr.themes.Color(
    name="ember",
    c50="#fff6f0",
    c100="#ffe8d9",
    c200="#ffd0b3",
    c300="#ffb080",
    c400="#ff9a4d",
    c500="#d95f02",
    c600="#b84a00",
    c700="#963c00",
    c800="#742f00",
    c900="#562300",
    c950="#3a1700",
)
_GREY = gr.themes.Color(
    name="slate",
    c50="#f6f7f8",
    c100="#eceef0",
    c200="#e1e4e8",
    c300="#cdd2d8",
    c400="#98a1ab",
    c500="#6b7480",
    c600="#57606b",
    c700="#3b424b",
    c800="#262b31",
    c900="#1d2126",
    c950="#14171b",
)


def theme() -> gr.themes.Base:
    """Return the theme; nothing in it comes from the network."""
    made = gr.themes.Base(
        primary_hue=_ACCENT,
        secondary_hue=_GREY,
        neutral_hue=_GREY,
        radius_size=gr.themes.sizes.radius_md,
        text_size=gr.themes.sizes.text_md,
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif"],
        font_mono=["ui-monospace", "SF Mono", "Menlo", "Consolas", "monospace"],
    )
    return made.set(
        body_background_fill="#ffffff",
        body_background_fill_dark="#14171b",
        background_fill_primary="#ffffff",
        background_fill_primary_dark="#1d2126",
        background_fill_secondary="#f6f7f8",
        background_fill_secondary_dark="#1d2126",
        block_background_fill="#ffffff",
        block_background_fill_dark="#1d2126",
        block_border_width="1px",
        block_shadow="none",
        block_label_text_weight="500",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_text_color="#ffffff",
        button_secondary_background_fill="#ffffff",
        button_secondary_background_fill_hover="*neutral_50",
        button_secondary_background_fill_dark="*neutral_800",
        button_secondary_border_color="*neutral_300",
        button_secondary_border_color_dark="*neutral_700",
        button_border_width="1px",
        input_background_fill="#ffffff",
        input_background_fill_dark="*neutral_950",
        input_border_width="1px",
        input_border_color="*neutral_300",
        input_border_color_dark="*neutral_700",
        slider_color="*primary_500",
    )
