"""A report as plain text."""

from collections.abc import Mapping
from typing import Any

from keras_iwm.arguments import shown
from keras_iwm.evaluation.dynamics_lines import dynamics_lines, planning_lines
from keras_iwm.evaluation.table_lines import interval, line, number, words

SECTIONS = {
    "bank": "Targets in the bank",
    "slots": "Each slot alone",
    "undo": "Destructive operations undone",
    "composition": "One action after another",
    "inverse": "Back to the clean image",
}
RANK_WIDTHS = (7, 17, 8, 8, 8, 11, 9)
OTHER_WIDTHS = (9, 17, 11, 11, 11)


def report_table(report: Mapping[str, Any]) -> str:
    """Write a report as a table of plain text.

    Args:
        report: Dictionary from `equivariance_report`, `dynamics_report` or
            `planning_report`, as it came or read from JSON.

    Returns:
        String of lines of at most 98 characters.

    Example:

    ```python
    model = keras_iwm.models.ImageWorldModel.from_preset("iwm_tiny_32")
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), "uint8")
    bank = keras_iwm.evaluation.RetrievalBank(size=16)
    report = keras_iwm.evaluation.equivariance_report(model, images, bank=bank)
    print(keras_iwm.evaluation.report_table(report))
    ```
    """
    parts = set(report) if isinstance(report, dict) else set()
    for part, lines_of in (
        ("retrieval", _equivariance_lines),
        ("model", dynamics_lines),
        ("planners", planning_lines),
    ):
        if {"settings", part} <= parts:
            return "\n".join(lines_of(report))
    raise ValueError(
        "`report` must be a dictionary from equivariance_report, dynamics_report or "
        f"planning_report. Received: {shown(report)}."
    )


def _equivariance_lines(report):
    """Return the lines of a report of `equivariance_report`."""
    settings, control = report["settings"], report.get("control")
    lines = [
        f"{settings['num_images']} images, {settings['bank_size']} entries a bank; "
        "95 % intervals clustered by image"
    ]
    if control:
        lines.append(
            "control: MRR, or error, of the control model on the same images and banks"
        )
    for section, title in SECTIONS.items():
        rows = report["retrieval"][section]
        if not rows:
            continue
        headings = ("MRR", "95 % interval", "hit@1", "hit@5", "hit@10", "mean rank")
        headings += ("control",) * bool(control)
        lines += ["", line(title, headings, RANK_WIDTHS)]
        for name, row in rows.items():
            cells = [number(row["mrr"]["value"]), interval(row["mrr"])]
            cells += [number(row[f"hit_at_{k}"]["value"]) for k in (1, 5, 10)]
            cells.append(f"{row['mean_rank']['value']:.1f}")
            if control:
                other = control["retrieval"][section].get(name)
                cells.append(number(other and other["mrr"]["value"]))
            lines.append(line(f"  {words(name)}", cells, RANK_WIDTHS))
        # The rows of a section are ranked among equally many entries.
        cells = [number(row["mrr"]["chance"]), ""]
        cells += [number(row[f"hit_at_{k}"]["chance"]) for k in (1, 5, 10)]
        cells.append(f"{row['mean_rank']['chance']:.1f}")
        lines.append(line(f"  (chance, of {row['num_entries']})", cells, RANK_WIDTHS))

    headings = ("off by", "95 % interval", "chance") + ("control",) * bool(control)
    lines += ["", line("Retrieved value of a slot", headings, OTHER_WIDTHS)]
    for slot, row in report["retrieval"]["slots"].items():
        error = row["parameter_error"]
        cells = [number(error["value"]), interval(error), number(error["chance"])]
        if control:
            other = control["retrieval"]["slots"].get(slot)
            cells.append(number(other and other["parameter_error"]["value"]))
        lines.append(line(f"  {slot}", cells, OTHER_WIDTHS))

    if "probes" in report:
        headings = ("linear", "untrained", "MLP", "untrained", "chance")
        lines += ["", line("R2 of probes of the action", headings, OTHER_WIDTHS)]
        for slot, linear in report["probes"]["linear"].items():
            mlp = report["probes"]["mlp"][slot]
            cells = (linear["value"], linear["untrained"], mlp["value"])
            cells += (mlp["untrained"], linear["chance"])
            cells = [number(cell) for cell in cells]
            lines.append(line(f"  {words(slot)}", cells, OTHER_WIDTHS))

    spread = number(report["bank_spread_ratio"])
    if control:
        spread += f" (control: {number(control['bank_spread_ratio'])})"
    lines += ["", f"Spread of a bank's latents over that of images': {spread}"]
    return lines
