// Draws the charts in the colours of the light or dark scheme. Strings that begin with "--" name CSS variables.
(() => {
  "use strict";
  const figures = JSON.parse(document.getElementById("charts").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  function themed(value, style) {
    if (typeof value === "string") {
      return value.startsWith("--") ? style.getPropertyValue(value).trim() || value : value;
    }
    if (Array.isArray(value)) return value.map((item) => themed(item, style));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, themed(item, style)]));
    }
    return value;
  }

  function draw() {
    const style = getComputedStyle(document.documentElement);
    for (const [name, figure] of Object.entries(figures)) {
      const place = document.getElementById("chart-" + name);
      if (!place) continue;
      const { data, layout } = themed(figure, style);
      Plotly.react(place, data, layout, { displayModeBar: false, responsive: true });
    }
  }

  draw();
  dark.addEventListener("change", draw);
})();
