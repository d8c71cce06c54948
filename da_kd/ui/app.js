// The page remembers its tab and its run in its address, so that a reload shows the same; arrow keys turn pictures.
(() => {
  "use strict";
  const tabs = () => [...document.querySelectorAll('#pages [role="tab"]')];
  const shown = () => tabs().find((tab) => tab.getAttribute("aria-selected") === "true");

  document.addEventListener("click", (event) => {
    const tab = event.target.closest?.('#pages [role="tab"]');
    if (tab) history.replaceState(null, "", location.pathname + location.search + "#" + encodeURIComponent(tab.textContent.trim().toLowerCase()));
  });

  window.daKdRemember = (run) => {
    const search = run ? "?run=" + encodeURIComponent(run) : "";
    history.replaceState(null, "", location.pathname + search + location.hash);
  };

  window.daKdSave = (text, name) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/yaml" }));
    link.download = (name || "recipe") + ".yaml";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };

  const wanted = decodeURIComponent(location.hash.slice(1));
  if (wanted) {
    let tries = 0;
    const open = setInterval(() => {
      const tab = tabs().find((one) => one.textContent.trim().toLowerCase() === wanted);
      if (tab) tab.click();
      if (tab || ++tries > 100) clearInterval(open);
    }, 50);
  }

  // The slider's pictures have no alternative text of their own; it is what stands below them in words.
  const describe = () => {
    const told = document.querySelectorAll("#compare-told .side");
    document.querySelectorAll("#compare-slider img").forEach((picture, index) => {
      const text = told[index] ? told[index].textContent : "";
      if (picture.getAttribute("alt") !== text) picture.setAttribute("alt", text);
    });
  };
  new MutationObserver(describe).observe(document, { childList: true, subtree: true });

  // A picture in the page is saved as it is; one from the server as a copy, since that would name it itself.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("button.save");
    const slider = document.querySelectorAll("#compare-slider img");
    const picture = button && (button.closest("figure")?.querySelector("img") ?? slider[Number(button.dataset.index)]);
    if (!picture) return;
    const inside = /^data:image\/(\w+)/.exec(picture.src);
    const link = document.createElement("a");
    link.href = inside ? picture.src : URL.createObjectURL(await (await fetch(picture.src)).blob());
    link.download = button.dataset.name + "." + (inside ? inside[1] : picture.src.split(".").pop());
    link.click();
    if (!inside) setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });

  // The editor would take the tab key for itself, and hold whoever has no mouse.
  document.addEventListener("keydown", (event) => {
    if (event.key === "Tab" && event.target.closest?.("#recipe-text .cm-content")) event.stopPropagation();
  }, true);

  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.target.closest?.("input, textarea, select, [role='slider'], [contenteditable='true']")) return;
    const id = { ArrowLeft: "compare-previous", ArrowRight: "compare-next" }[event.key];
    const button = id && document.getElementById(id);
    if (button && button.offsetParent !== null) {
      event.preventDefault();
      button.click();
    }
  });
})();
