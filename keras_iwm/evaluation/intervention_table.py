"""An intervention report as plain text."""

from collections.abc import Mapping
from typing import Any

from keras_iwm.arguments import shown

WAYS = {
    "told": "told the action",
    "seen": "changed image seen",
    "moved": "latents moved",
    "probe_weights": "... along the probe's weights",
    "other_slot": "... along another slot's",
    "untrained_encoder": "... along an untrained one's",
    "permuted_amounts": "... of permuted amounts",
    "random": "... at random",
}
SCORES = ("slope", "diagonal_share", "explained", "cosine_with_told", "mrr")
HEADINGS = ("slope", "95 % interval", "share", "explained", "cosine", "MRR")
LABEL_WIDTH = 31
WIDTHS = (8, 17, 9, 11, 9, 9)
PROBE_WIDTHS = (8, 17, 11, 13, 12)


def intervention_table(report: Mapping[str, Any]) -> str:
    """Write an intervention report as a table of plain text.

    Args:
        report: Dictionary from `intervention_report`, as it came or read from JSON.

    Returns:
        String of lines; the columns of matrices are as many as there are slots.

    Raises:
        ValueError: If it is no such report.

    Example:

    ```python
    model = keras_iwm.models.ImageWorldModel.from_preset("iwm_tiny_32")
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), "uint8")
    evaluator = keras_iwm.evaluation.InterventionEvaluator(
        model, images[:4], images[4:], num_pairs=32
    )
    report = keras_iwm.evaluation.intervention_report(evaluator)
    print(keras_iwm.evaluation.intervention_table(report))
    ```
    """
    if not isinstance(report, dict) or not {"settings", "erased"} <= set(report):
        raise ValueError(
            "`report` must be a dictionary from intervention_report. Received: "
            f"{shown(report)}."
        )
    settings, control = report["settings"], report.get("control")
    slots = settings["slots"]
    lines = [
        f"{settings['num_images']} images of {settings['num_photos']} photos; "
        f"intervals: {settings['interval']}"
    ]
    lines += _probe_lines(report, slots)
    for slot in slots:
        title = f"{slot} is moved: recovered"
        lines += _way_lines(report["inside"], title, slot, ("told", "seen", "moved"))
    lines += _way_lines(report["inside"], "All slots, within their range", "mean", WAYS)
    lines.append(
        _line("  (chance)", ["", "", "", "", "", _number(report["mrr_chance"])])
    )
    title = "All slots, 1.5 and 2 times as far"
    lines += _way_lines(report["outside"], title, "mean", ("told", "seen", "moved"))
    matrix = report["inside"]["moved"]["matrix"]
    rows = {slot: [matrix[slot][other] for other in slots] for slot in slots}
    lines += _matrix_lines("Slope by recovered slot, moved:", rows, slots)
    rows = {
        name: [part[slot]["slope"] for slot in slots]
        for name, part in report["erased"].items()
    }
    lines += _matrix_lines("Slope that is left, erased:", rows, slots)
    rows = {
        f"{layer}, {words}": [part[slot]["slope"] for slot in slots]
        for layer, ways in report["layers"].items()
        for words, part in ways.items()
    }
    lines += _matrix_lines("Slope, moved behind:", rows, slots)
    if control:
        inside = control["inside"]
        lines += _way_lines(inside, "The control model, all slots", "mean", WAYS)
    return "\n".join(lines)


def _probe_lines(report, slots):
    """R2 of probes of the context, with what it is to be compared with."""
    layer = report["settings"]["layers"][-1]
    headings = ("R2", "95 % interval", "permuted", "selectivity", "untrained")
    lines = ["", _line("A probe reads from latents", headings, PROBE_WIDTHS)]
    for slot in (*slots, "mean"):
        row = report["probes"][layer][slot]
        cells = [_number(row["value"]), _interval(row)]
        names = ("permuted", "selectivity", "untrained")
        cells += [_number(row[name]["value"]) for name in names]
        lines.append(_line(f"  {slot}", cells, PROBE_WIDTHS))
    return lines


def _way_lines(part, title, slot, ways):
    """Scores of some ways to change predictions."""
    lines = ["", _line(title, HEADINGS)]
    for way in ways:
        if way in part:
            row = part[way][slot]
            slope, *others = (row[name] for name in SCORES)
            cells = [_number(slope["value"]), _interval(slope)]
            cells += [_number(other["value"]) for other in others]
            lines.append(_line(f"  {WAYS[way]}", cells))
    return lines


def _matrix_lines(title, rows, slots):
    """Values of each slot, under the slots' names."""
    widths = [max(12, 2 + len(slot)) for slot in slots]
    lines = ["", _line(title, slots, widths)]
    for name, row in rows.items():
        lines.append(_line(f"  {name}", [_number(x["value"]) for x in row], widths))
    return lines


def _line(label, cells, widths=WIDTHS):
    """One row: the label, then its cells, flush right."""
    cells = "".join(
        cell.rjust(width) for cell, width in zip(cells, widths, strict=False)
    )
    return (label.replace("_", " ").ljust(LABEL_WIDTH) + cells).rstrip()


def _number(value):
    """Two decimals, or a dash for what is not defined."""
    return "-" if value is None else f"{value:.2f}"


def _interval(measured):
    """The interval's ends."""
    return f"{_number(measured['low'])} to {_number(measured['high'])}"
