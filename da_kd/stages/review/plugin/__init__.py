"""The review's plugin for the FiftyOne App: operators for its keys and buttons, and a panel that tells how far one is.

FiftyOne itself imports this file, in the process that serves the App, from a link in the workspace. What an operator
does to the data set is in :mod:`da_kd.stages.review.edits`; here stands only what the App is told of it.
"""

from __future__ import annotations

from typing import Any

import fiftyone as fo
import fiftyone.core.json as foj
import fiftyone.operators as foo
import fiftyone.server.view as fosv
from fiftyone.operators import types

from da_kd.stages.review import edits
from da_kd.stages.review.layout import INFO, LABELS
from da_kd.stages.review.standing import standing

NAME = "@da-kd/review"


def _view(ctx: Any) -> Any:
    """Return what the App shows: the view, saved or not, with the sidebar's filters (``ctx.view`` forgets them)."""
    asked = ctx.request_params
    return fosv.get_view(
        ctx.dataset.name,
        view_name=asked.get("view_name"),
        stages=asked.get("view"),
        filters=asked.get("filters"),
        extended_stages=asked.get("extended"),
    )


def _labels(ctx: Any) -> list[str]:
    """Return the labels that the person means: those selected, else all that is shown of the images selected."""
    chosen = [label["label_id"] for label in ctx.selected_labels or () if label["field"] == LABELS]
    return chosen or (edits.labels_of(_view(ctx), ctx.selected) if ctx.selected else [])


def _images(ctx: Any) -> list[str]:
    """Return the images that the person means: the open one, else those selected."""
    return [ctx.current_sample] if ctx.current_sample else list(ctx.selected)


def _done(ctx: Any, text: str) -> None:
    """Tell what was done, and let grid and open image follow; the latter takes an operator of keys.js."""
    ctx.ops.notify(text, variant="success")
    ctx.ops.reload_samples()
    if ctx.current_sample:
        document = ctx.dataset.select(ctx.current_sample).first().to_mongo_dict(include_id=True)
        ctx.trigger(f"{NAME}/refresh_image", {"sample": foj.stringify(document)})
    ctx.ops.clear_selected_labels()


def _nothing(ctx: Any) -> None:
    ctx.ops.notify("Select boxes first (click them in an image), or whole images in the grid.", variant="warning")


class _Review(foo.Operator):  # type: ignore[misc]  # FiftyOne has no types
    """An operator of this plugin: its name, what it is called in the browser of operators, and its key."""

    name_, label, key, icon = "", "", "", ""

    @property
    def config(self) -> Any:
        """What FiftyOne asks every operator."""
        told = f"{self.label} ({self.key})" if self.key else self.label
        return foo.OperatorConfig(
            name=self.name_, label=f"Review: {told}", dynamic=True, view_target=False, icon=self.icon or None
        )

    def resolve_placement(self, ctx: Any) -> Any:
        """Put what has an icon beside the open image, as a button."""
        if not self.icon:
            return None
        button = types.Button(label=f"{self.label} ({self.key})", icon=self.icon, prompt=False)
        return types.Placement(types.Places.SAMPLES_VIEWER_ACTIONS, button)


class _Decide(_Review):
    """Puts a tag on the labels that are meant."""

    tag = ""

    def execute(self, ctx: Any) -> dict[str, Any]:
        """Do it, and say of how many."""
        count = edits.decide(ctx.dataset, _labels(ctx), self.tag)
        if count:
            _done(ctx, f"{count} box(es): {self.tag or 'not decided'}")
        else:
            _nothing(ctx)
        return {"count": count}


class Accept(_Decide):
    """The selected boxes are right."""

    name_, label, key, tag = "accept", "accept selected", "Alt+A", "accepted"
    icon = "check"


class Reject(_Decide):
    """The selected boxes are wrong."""

    name_, label, key, tag = "reject", "reject selected", "Alt+R", "rejected"
    icon = "close"


class Clear(_Decide):
    """Takes a decision on the selected boxes back."""

    name_, label, key = "clear", "undo accept or reject of selected", "Alt+U"


class Relabel(_Review):
    """Gives the selected boxes another class."""

    name_, label, key = "relabel", "change the class of selected", "Alt+1 to Alt+9"

    def resolve_input(self, ctx: Any) -> Any:
        """Ask for the class, unless a key told its number."""
        inputs = types.Object()
        if not ctx.params.get("number"):
            inputs.enum("name", ctx.dataset.default_classes, required=True, label="Class")
        return types.Property(inputs, view=types.View(label="Change the class of the selected boxes"))

    def execute(self, ctx: Any) -> dict[str, Any]:
        """Do it; ``number`` counts the classes from 1, as the keys do."""
        classes, number = ctx.dataset.default_classes, ctx.params.get("number")
        name = ctx.params.get("name") or (classes[number - 1] if number and number <= len(classes) else "")
        if name not in classes:
            ctx.ops.notify(f"There is no class number {number}; there are {len(classes)}.", variant="warning")
            return {"count": 0}
        count = edits.relabel(ctx.dataset, _labels(ctx), name)
        if count:
            _done(ctx, f"{count} box(es) are now '{name}'")
        else:
            _nothing(ctx)
        return {"count": count}


class AcceptRest(_Review):
    """Accepts what is left of a view."""

    name_, label = "accept_rest", "accept the rest of this view above a score"

    def resolve_input(self, ctx: Any) -> Any:
        """Ask for the score, and say how many that would be."""
        inputs = types.Object()
        inputs.float("score", min=0, max=1, default=0.8, required=True, label="Least score")
        count = len(edits.rest_above(fo, _view(ctx), float(ctx.params.get("score") or 0)))
        inputs.md(f"**{count}** undecided box(es) of this view would be accepted. Images of the audit stay out.")
        return types.Property(inputs, view=types.View(label="Accept the rest of this view"))

    def execute(self, ctx: Any) -> dict[str, Any]:
        """Do it, and say of how many."""
        labels = edits.rest_above(fo, _view(ctx), float(ctx.params["score"]))
        count = edits.decide(ctx.dataset, labels, "accepted") if labels else 0
        _done(ctx, f"{count} box(es): accepted")
        return {"count": count}


class NextDoubtful(_Review):
    """Opens the image of the view that comes next and is not done."""

    name_, label, key, icon = "next_doubtful", "next most doubtful image", "Alt+N", "skip_next"

    def execute(self, ctx: Any) -> dict[str, Any]:
        """Open it."""
        view = _view(ctx)
        if not ctx.request_params.get("view_name"):
            view = view.sort_by("rank")
        following = edits.next_open(view, ctx.current_sample)
        if following is None:
            more = ctx.dataset.info.get(INFO, {}).get("told")
            ctx.ops.notify(f"Every image of this view is done. {more or ''}".strip(), variant="info")
        else:
            ctx.ops.open_sample(id=following)
        return {"sample": following}


class _Mark(_Review):
    """Marks images done or open."""

    complete = True

    def execute(self, ctx: Any) -> dict[str, Any]:
        """Do it."""
        images = _images(ctx)
        if not images:
            ctx.ops.notify("Open an image first, or select some in the grid.", variant="warning")
            return {"count": 0}
        edits.mark(ctx.dataset, images, self.complete)
        _done(ctx, f"{len(images)} image(s) {'done' if self.complete else 'open again'}")
        return {"count": len(images)}


class MarkDone(_Mark):
    """Every object of the image has its label, and every label that stands is right."""

    name_, label, key, icon = "mark_done", "mark image done", "Alt+D", "done_all"


class MarkOpen(_Mark):
    """Takes that back."""

    name_, label, key, complete = "mark_open", "mark image open again", "Alt+O", False


KEYS = """
| key | |
|---|---|
| Alt+A, Alt+R | accept, reject the selected boxes |
| Alt+1 ... Alt+9 | give them another class |
| Alt+U | undo accept or reject |
| Alt+D, Alt+O | image done, open again |
| Alt+N | next most doubtful image |

*Done* says: every object has its box, and every box that stands is right. Move, draw and delete in *Annotate*.
"""


class Progress(foo.Panel):  # type: ignore[misc]
    """How far the review is, what the audit says by now, and the keys."""

    @property
    def config(self) -> Any:
        """What FiftyOne asks every panel."""
        return foo.PanelConfig(name="progress", label="Review", surfaces="grid modal", icon="fact_check")

    def on_load(self, ctx: Any) -> None:
        """Look anew when the panel is opened."""
        self.refresh(ctx)

    def on_change_current_sample(self, ctx: Any) -> None:
        """Look anew when another image is opened."""
        self.refresh(ctx)

    def refresh(self, ctx: Any) -> None:
        """Count, and estimate from the part of the audit that is done."""
        ctx.panel.state.progress = _progress(ctx.dataset)

    def next(self, ctx: Any) -> None:
        """Open the next doubtful image."""
        ctx.trigger(f"{NAME}/next_doubtful")

    def rest(self, ctx: Any) -> None:
        """Ask above which score the rest is to be accepted."""
        ctx.prompt(f"{NAME}/accept_rest")

    def render(self, ctx: Any) -> Any:
        """Return what is shown."""
        panel = types.Object()
        panel.md(ctx.panel.get_state("progress") or "", name="told")
        panel.btn("refresh", label="Count again", on_click=self.refresh)
        panel.btn("next", label="Next most doubtful", on_click=self.next)
        panel.btn("rest", label="Accept the rest of the view ...", on_click=self.rest)
        panel.md(KEYS, name="keys")
        return types.Property(panel, view=types.GridView(orientation="vertical", padding=2, gap=1))


def _progress(dataset: Any) -> str:
    """Return how far the review is, as Markdown."""
    count = standing(fo, dataset)
    lines = [
        f"**{count['done']} of {count['images']}** images done  ",
        *([count["part"] + "  "] if count["part"] else []),
        f"**{count['accepted']}** boxes accepted, **{count['rejected']}** rejected, of {count['labels']}",
    ]
    if count["audit"]:
        lines.append(f"\nAudit: **{count['audit_done']} of {count['audit']}** images done")
        if count["estimates"]:
            lines += ["", "| of the labels as they are | precision | recall |", "|---|---|---|"]
            lines += [f"| {name} | {right} | {found} |" for name, right, found in count["estimates"]]
    if count["again"]:
        lines.append(f"\nShown again: **{count['again_done']} of {count['again']}** images done  ")
        lines.append(count["errors"])
    return "\n".join(lines)


def register(plugin: Any) -> None:
    """Hand everything to FiftyOne."""
    for each in (Accept, Reject, Clear, Relabel, AcceptRest, NextDoubtful, MarkDone, MarkOpen, Progress):
        plugin.register(each)
