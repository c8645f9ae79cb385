"""An equivariance report as plain text."""

WIDTH = 33  # of the first column

SECTIONS = {
    "bank": "Targets in the bank",
    "slots": "Each slot alone",
    "undo": "Destructive operations undone",
    "composition": "One action after another",
    "inverse": "Back to the clean image",
}
RANK_COLUMNS = ("mrr", "hit_at_1", "hit_at_5", "hit_at_10", "mean_rank")


def report_table(report):
    """Write an equivariance report as a table of plain text.

    Args:
        report: Dictionary from `equivariance_report`, as it came or read from JSON.

    Returns:
        String of lines of at most 96 characters.

    Example:

    ```python
    model = keras_iwm.models.ImageWorldModel.from_preset("iwm_tiny_32")
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), "uint8")
    bank = keras_iwm.evaluation.RetrievalBank(size=16)
    report = keras_iwm.evaluation.equivariance_report(model, images, bank=bank)
    print(keras_iwm.evaluation.report_table(report))
    ```
    """
    settings, control = report["settings"], report.get("control")
    lines = [
        f"{settings['num_images']} images, {settings['bank_size']} entries a bank; "
        "95 % intervals clustered by image",
    ]
    for section, title in SECTIONS.items():
        rows = report["retrieval"][section]
        if not rows:
            continue
        headings = ("MRR", "95 % interval", "hit@1", "hit@5", "hit@10", "mean rank")
        lines += ["", _line(title, headings + ("control MRR",) * bool(control))]
        for name, row in rows.items():
            cells = [_number(row["mrr"]["value"]), _interval(row["mrr"])]
            cells += [_number(row[key]["value"]) for key in RANK_COLUMNS[1:4]]
            cells.append(f"{row['mean_rank']['value']:.1f}")
            if control:
                other = control["retrieval"][section].get(name)
                cells.append(_number(other and other["mrr"]["value"]))
            lines.append(_line("  " + name.replace("_", " "), cells))
        # The rows of a section are ranked among equally many entries.
        chance = [row[key]["chance"] for key in RANK_COLUMNS]
        cells = [_number(chance[0]), "", *map(_number, chance[1:4]), f"{chance[4]:.1f}"]
        lines.append(_line(f"  (chance, of {row['num_entries']})", cells))

    headings = ("off by", "95 % interval", "chance") + ("control",) * bool(control)
    lines += ["", _line("Retrieved value of a slot", headings)]
    for slot, row in report["retrieval"]["slots"].items():
        error = row["parameter_error"]
        cells = [_number(error["value"]), _interval(error), _number(error["chance"])]
        if control:
            other = control["retrieval"]["slots"].get(slot)
            cells.append(_number(other and other["parameter_error"]["value"]))
        lines.append(_line("  " + slot, cells))

    if "probes" in report:
        probes = report["probes"]
        headings = ("linear", "untrained", "MLP", "untrained", "chance")
        lines += ["", _line("R2 of the action, from two latents", headings)]
        for slot in probes["linear"]:
            parts = [probes[probe][slot] for probe in ("linear", "mlp")]
            cells = [_number(part[key]) for part in parts for key in _PROBE_KEYS]
            chance = _number(parts[0]["chance"])
            lines.append(_line("  " + slot.replace("_", " "), (*cells, chance)))

    ratio = (
        f"Spread of a bank over that of images: {_number(report['bank_spread_ratio'])}"
    )
    if control:
        ratio += f" (control: {_number(control['bank_spread_ratio'])})"
    return "\n".join([*lines, "", ratio])


_PROBE_KEYS = ("value", "untrained")


def _line(label, cells):
    """One row: the label, then cells as wide as their column needs."""
    widths = (8, 17, 9, 9, 9, 11, 13)
    padded = [
        cell.rjust(width)
        for cell, width in zip(cells, widths[: len(cells)], strict=True)
    ]
    return (label.ljust(WIDTH) + "".join(padded)).rstrip()


def _number(value):
    """Three decimals, or a dash for what is not defined."""
    return "-" if value is None else f"{value:.3f}"


def _interval(measured):
    """The interval's ends."""
    return f"{measured['low']:.3f} to {measured['high']:.3f}"
