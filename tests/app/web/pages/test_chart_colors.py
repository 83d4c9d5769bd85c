"""Colors of charts have a contrast of at least 3:1 to what they are drawn on (WCAG 1.4.11)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import app.web

STATIC = Path(app.web.__file__).parent / "static"
DARK = "@media (prefers-color-scheme: dark)"
CONTRAST_MIN = 3


def colors(name: str, scheme: str) -> dict[str, str]:
    light, dark = (STATIC / name).read_text().split(DARK, 1)
    text = light if scheme == "light" else dark.split("\n}\n", 1)[0]
    return dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", text))


def luminance(color: str) -> float:
    channels = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4
        for channel in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_color_of_a_chart_has_enough_contrast(scheme: str) -> None:
    sheet = luminance(colors("dynometer.css", scheme)["sheet"])
    of_charts = colors("charts.css", scheme)
    assert len(of_charts) >= 40
    for name, color in of_charts.items():
        low, high = sorted([sheet, luminance(color)])
        assert (high + 0.05) / (low + 0.05) >= CONTRAST_MIN, (name, color)


def test_light_and_dark_name_the_same_colors() -> None:
    assert colors("charts.css", "light").keys() == colors("charts.css", "dark").keys()
