"""What was found in a folder of images or clips, or in shards, in words."""

from keras_iwm.datasets.find_images import describe

_COUNTED = ("suffixes", "formats", "modes", "bits", "codecs", "frame_rates", "sizes")


def folder_report(report):
    """Returns what was found, as lines of text.

    Args:
        report: Dictionary of `check_folder`, `check_clip_folder` or `check_shards`.
    """
    classes = report["classes"]
    kind, files = ("clips",) * 2 if "num_clips" in report else ("images", "files")
    lines = [
        f"{report[f'num_{kind}']} {kind}"
        + ("" if classes is None else f" in {len(classes)} classes")
        + (f" in {report['num_shards']} shards" if "num_shards" in report else "")
    ]
    for name in _COUNTED:
        parts = [
            f"{'x'.join(map(str, key)) if name == 'sizes' else key}: {count}"
            for key, count in report.get(name, {}).items()
        ]
        if parts:
            lines.append(f"{name.replace('_', ' ')}: {', '.join(parts)}")
    for name in ("smallest", "largest"):
        if report.get(name):
            (width, height), path = report[name]
            lines.append(f"{name}: {width}x{height} {path}")
    for name in ("shortest", "longest"):
        if report.get(name):
            num_frames, path = report[name]
            lines.append(f"{name}: {num_frames} frames {path}")
    for name, words in (
        ("same_names", f"names that {files} in several folders have"),
        ("same_stems", "names that differ in suffix or case only"),
    ):
        if report[name]:
            lines.append(
                f"{len(report[name])} {words}, the first is {min(report[name])}"
            )
    if report["left_out"]:
        lines.append(f"left out: {describe(report['left_out'])}")
    for kind, bad in ((files, report["bad"]), ("shards", report.get("bad_shards"))):
        if bad is not None:
            lines.append(f"{len(bad)} bad {kind}")
            lines += [f"  {path}: {reason}" for path, reason in bad.items()]
    return lines
