"""Reports of dynamics and of planning, as lines of plain text."""

from keras_iwm.evaluation.table_lines import interval, line, number, words

HORIZON_WIDTHS = (8,) * 8
RANK_WIDTHS = (7, 17, 7, 8, 10, 9, 10)
SLOT_WIDTHS = (9, 17, 9, 9, 10)
PLAN_WIDTHS = (9, 17, 11, 13)
OTHERS = ("control", "untrained")


def dynamics_lines(report):
    """Return the lines of a report of `dynamics_report`."""
    settings, own = report["settings"], report["model"]
    others = {name: report[name] for name in OTHERS if name in report}
    lines = [
        f"{settings['num_clips']} clips, {settings['num_known']} of their frames known;"
        " 95 % intervals clustered by clip",
        "untrained: the same of a model that has learned nothing",
    ]
    if "control" in others:
        lines.append("control: the same of the control model")
    horizons = range(1, min(settings["horizon"], len(HORIZON_WIDTHS)) + 1)
    headings = [str(horizon) for horizon in horizons]
    lines += ["", line("Error of latents, frames ahead", headings, HORIZON_WIDTHS)]
    for name, errors in own["rollout"].items():
        cells = [number(error["value"]) for error in errors]
        lines.append(line(f"  {words(name)}", cells, HORIZON_WIDTHS))
    lines += ["", line("As a share of last frame's", headings, HORIZON_WIDTHS)]
    for name, one in {"model": own, **others}.items():
        cells = [number(error) for error in one["relative_error"]]
        lines.append(line(f"  {name}", cells, HORIZON_WIDTHS))
    for part, title in (
        ("actions", "The true next action"),
        ("motions", "By size of motion (clips)"),
        ("slots", "Each slot alone"),
    ):
        if own.get(part):
            rows = {name: one[part] for name, one in others.items()}
            lines += ["", *_rank_lines(title, own[part], rows)]
    headings = ("off by", "95 % interval", "chance", *others)
    lines += ["", line("Value of a slot that fits best", headings, SLOT_WIDTHS)]
    for slot, row in own["slots"].items():
        error = row["parameter_error"]
        cells = [number(error["value"]), interval(error), number(error["chance"])]
        for one in others.values():
            cells.append(number(one["slots"][slot]["parameter_error"]["value"]))
        lines.append(line(f"  {words(slot)}", cells, SLOT_WIDTHS))
    return lines


def planning_lines(report):
    """Return the lines of a report of `planning_report`."""
    settings = report["settings"]
    steps = f"{settings['num_steps']} steps away"
    how = "planned anew after each" if settings["replanned"] else "planned once"
    headings = ("pixels", "95 % interval", "energy", "true energy")
    lines = [
        f"{settings['num_scenes']} scenes, the goal {steps}, {how}",
        "",
        line("Distance from the goal", headings, PLAN_WIDTHS),
    ]
    for name, row in {**report["planners"], **report["controls"]}.items():
        error = row["pixel_error"]
        cells = [number(error["value"]), interval(error)]
        cells += [
            number(row[k]["value"]) for k in ("energy", "true_energy") if k in row
        ]
        lines.append(line(f"  {words(name)}", cells, PLAN_WIDTHS))
    return lines


def _rank_lines(title, rows, others):
    """Ranks of a section, beside those of other models, and chance."""
    headings = ("MRR", "95 % interval", "hit@1", "hit@10", "mean rank", *others)
    lines = [line(title, headings, RANK_WIDTHS)]
    for name, row in rows.items():
        cells = [number(row["mrr"]["value"]), interval(row["mrr"])]
        cells += [number(row[hit]["value"]) for hit in ("hit_at_1", "hit_at_10")]
        cells.append(f"{row['mean_rank']['value']:.1f}")
        cells += [number(other[name]["mrr"]["value"]) for other in others.values()]
        count = f" ({row['num_clips']})" if "num_clips" in row else ""
        lines.append(line(f"  {words(name)}{count}", cells, RANK_WIDTHS))
    counts = {row["num_entries"] for row in rows.values()}
    if len(counts) == 1:
        cells = [number(row["mrr"]["chance"]), ""]
        cells += [number(row[hit]["chance"]) for hit in ("hit_at_1", "hit_at_10")]
        cells.append(f"{row['mean_rank']['chance']:.1f}")
        lines.append(line(f"  (chance, of {counts.pop()})", cells, RANK_WIDTHS))
    return lines
