// The review's part in the browser: its keys, and an operator that shows an open image as it is by now.
(function () {
  const plugin = "@da-kd/review";
  const app = window.__foo__; // FiftyOne hands its operators to plugins under this name
  const state = window.__fos__;

  class RefreshImage extends app.Operator {
    get config() {
      return new app.OperatorConfig({ name: "refresh_image", label: "Review: show the image anew", unlisted: true });
    }
    useHooks() {
      return { refresh: state.useRefreshSample() };
    }
    async execute({ hooks, params }) {
      hooks.refresh(params.sample);
    }
  }
  app.registerOperator(RefreshImage, plugin);

  // Alt (Option) never types a text, and FiftyOne itself uses plain letters only.
  const keys = {
    KeyA: "accept",
    KeyR: "reject",
    KeyU: "clear",
    KeyD: "mark_done",
    KeyO: "mark_open",
    KeyN: "next_doubtful",
  };
  function run(event) {
    if (!event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || event.repeat) return;
    const digit = /^(?:Digit|Numpad)([1-9])$/.exec(event.code);
    const name = digit ? "relabel" : keys[event.code];
    if (!name) return;
    event.preventDefault();
    event.stopPropagation();
    app.executeOperator(`${plugin}/${name}`, digit ? { number: Number(digit[1]) } : {});
  }
  window.addEventListener("keydown", run, true);
})();
