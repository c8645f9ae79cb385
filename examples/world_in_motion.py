"""Learn what a camera's motion does to what it sees, measure it, and plan with it.

    python examples/world_in_motion.py                      # JAX
    KERAS_BACKEND=torch python examples/world_in_motion.py  # or tensorflow

The photos that scikit-image and scikit-learn ship become clips: a camera pans, zooms
and turns over them, a sprite moves on its own, and the camera's motion is the action.
For each seed two predictors learn dynamics, both from seven photos: one of the latents
of a trained image encoder, the packaged iwm_tiny_32, and as a control one of those of
an untrained encoder of the same shape. Both are measured on three photos that neither
encoder nor predictors have seen: how far off are predictions by frames ahead, do they
tell the action that was taken from others, how many pixels from the goal does planning
end, and does what cannot happen surprise them?

Everything is written to runs/world_in_motion/: a report and a model of each seed, their
means with intervals in summary.json, the table, and pictures of the first seed. What is
there is not done again: a run that was stopped goes on where it was.
"""

import argparse
import json
import os
import pathlib
import time

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras

from keras_iwm import (
    backbones,
    callbacks,
    datasets,
    evaluation,
    models,
    optimizers,
    planning,
    visualization,
)
from keras_iwm.commands.program import is_whole, save_picture, write_json
from keras_iwm.evaluation.seed_interval import seed_interval

ENCODER = "iwm_tiny_32"
IMAGE_SIZE, PATCH_SIZE, BATCH_SIZE = 32, 8, 64
# Those which the encoder has not seen.
HELD_OUT = ("astronaut", "flower", "motorcycle")
CLIPS = {
    **{"image_size": IMAGE_SIZE, "batch_size": BATCH_SIZE},
    **{"max_pan": 6.0, "max_log_zoom": 0.2, "max_turn": 15.0},
}
STEPS_PER_EPOCH = 50
# Whether the encoder is trained.
KINDS = {"model": True, "control": False}
PLANNERS = {
    "cross-entropy": planning.CrossEntropyPlanner,
    "MPPI": planning.PathIntegralPlanner,
    "random search": planning.RandomPlanner,
    "greedy search": planning.GreedyPlanner,
}
# Name in the report: horizon, and for how many steps it is planned anew.
TASKS = {"one step": (1, None), "two steps": (2, None), "four, replanned": (1, 4)}


def parse_arguments(options=None):
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--seeds", type=int, default=3, help="how many, from 0")
    add("--steps", type=int, default=1000, help="of training, for each model")
    add("--frames", type=int, default=4, help="of a clip; 8 to be surprised by")
    add("--clips", type=int, default=128, help="held-out clips that are measured")
    add("--scenes", type=int, default=32, help="held-out scenes that are planned in")
    add("--pairs", type=int, default=200, help="of possible and impossible clips")
    add("--samples", type=int, default=128, help="candidates of a planner at once")
    add("--output", default="runs/world_in_motion")
    return parser.parse_args(options)


def moving_photos(held_out, **arguments):
    """Clips of the photos that are held out, or of the others."""
    photos = datasets.load_sample_photos()
    chosen = {name: photos[name] for name in photos if (name in HELD_OUT) == held_out}
    return datasets.MovingPhotos(chosen, **CLIPS, **arguments)


def train(kind, seed, arguments, folder):
    """Train a model, or go on with it; return it and the seconds it took here."""
    path = folder / f"{kind}.keras"
    if path.exists():
        return keras.models.load_model(path), 0.0
    num_frames = arguments.frames
    epochs = -(-arguments.steps // STEPS_PER_EPOCH)
    per_epoch = BATCH_SIZE * min(arguments.steps, STEPS_PER_EPOCH)
    clips = moving_photos(
        False, num_frames=num_frames, clips_per_epoch=per_epoch, seed=seed
    )

    def make_model():
        keras.utils.set_random_seed(seed)
        encoder = backbones.ViTEncoder.from_preset(ENCODER, load_weights=KINDS[kind])
        model = models.LatentDynamicsModel.from_encoder(
            encoder, clips.slots, num_frames=num_frames, learning="frozen"
        )
        recipe = optimizers.pretraining_recipe(
            epochs * len(clips), BATCH_SIZE, learning_rate=2e-3
        )
        model.compile(recipe.optimizer)
        return model

    start = time.time()
    checkpoint = callbacks.RunCheckpoint(folder / f"{kind}_checkpoints", keep=1)
    model, epoch = checkpoint.resume(clips, make_model)
    model.fit(
        clips, initial_epoch=epoch, epochs=epochs, verbose=2, callbacks=[checkpoint]
    )
    model.save(path)
    return model, time.time() - start


def make_planners(kinds, horizon, samples):
    """Planners of the model, and of the control the first one."""
    sizes = {"horizon": horizon, "num_samples": samples, "num_iterations": 6}
    found = {name: make(kinds["model"], **sizes) for name, make in PLANNERS.items()}
    if horizon == 1:
        del found["greedy search"]  # it is the random one
    found["cross-entropy, control"] = planning.CrossEntropyPlanner(
        kinds["control"], **sizes
    )
    return found


def measure(kinds, arguments):
    """Measure a model and its control on held-out photos."""
    maker = moving_photos(True, num_frames=arguments.frames)
    scenes = maker.draw_scenes(arguments.clips, seed=1)
    actions = maker.draw_actions(arguments.clips, seed=1)
    path = maker.camera_path(scenes, actions)
    motions = evaluation.camera_distance(path[:, 1:], path[:, :-1], IMAGE_SIZE)
    report = {
        "dynamics": evaluation.dynamics_report(
            kinds["model"],
            maker.render(scenes, actions),
            actions,
            motions / PATCH_SIZE,
            kinds["control"],
        )
    }
    for task, (horizon, num_steps) in TASKS.items():
        planners = make_planners(kinds, horizon, arguments.samples)
        report[task] = evaluation.planning_report(
            planners, maker, arguments.scenes, num_steps, seed=2
        )
    report["surprise"] = {
        kind: evaluation.evaluate_surprise(model, maker, arguments.pairs, seed=3)
        for kind, model in kinds.items()
    }
    return report


def draw(kinds, report, folder):
    """Draw rollouts, landscapes with the way a search took, a plan, and surprise."""
    maker = moving_photos(True, num_frames=kinds["model"].num_frames)
    save_picture(folder / "rollout.png", visualization.plot_rollout, report["dynamics"])
    surprise = report["surprise"]["model"]
    save_picture(folder / "surprise.png", visualization.plot_surprise, surprise)
    frames, actions = maker.draw_clips(8, seed=3)
    actions[:, 0, 2:] = 0  # pans alone, so that two slots tell it all
    scenes = maker.draw_scenes(8, seed=3)
    frames = maker.render(scenes, actions)
    evaluator = evaluation.DynamicsEvaluator(kinds["model"], frames, actions)
    landscape = evaluation.energy_landscape(evaluator)
    search = planning.CrossEntropyPlanner(kinds["model"], horizon=1)
    history = search.plan(frames[:, :1], frames[:, 1]).history
    save_picture(
        folder / "landscape.png",
        visualization.plot_energy_landscape,
        *(landscape, {"cross-entropy": history[:, :, 0, :2]}),
    )
    search = planning.CrossEntropyPlanner(kinds["model"], horizon=2)
    goals = frames[:, 2]
    found = search.plan(frames[:, :1], goals).actions
    paths = {
        name: maker.camera_path(scenes, taken)[0, :, :2] - scenes.camera[0, :2]
        for name, taken in (("taken", actions[:, :2]), ("cross-entropy", found))
    }
    paths = {name: path + (IMAGE_SIZE - 1) / 2 for name, path in paths.items()}
    save_picture(
        folder / "plan.png",
        visualization.plot_plan,
        *(maker.render(scenes, found)[0], goals[0], paths),
    )


def numbers_of(report):
    """The numbers of a seed's report that are summed up, in sections."""
    dynamics = report["dynamics"]
    kinds = [name for name in ("model", "control", "untrained") if name in dynamics]
    errors = {
        name: [error["value"] for error in values]
        for name, values in dynamics["model"]["rollout"].items()
    }
    shares = {name: dynamics[name]["relative_error"] for name in kinds}
    for name in ("zero_action", "shuffled_action"):
        pairs = zip(errors[name], errors["copy_last_frame"], strict=True)
        shares[f"model, {name}"] = [error / copy for error, copy in pairs]
    sections = {
        "Error as a share of the last frame's": {
            f"{ahead + 1} ahead": {name: share[ahead] for name, share in shares.items()}
            for ahead in range(len(errors["model"]))
        }
    }
    for part, title in (
        ("actions", "MRR of the next action"),
        ("motions", "MRR by size of motion"),
        ("slots", "MRR of a slot alone"),
    ):
        sections[title] = {
            name: {kind: dynamics[kind][part][name]["mrr"]["value"] for kind in kinds}
            | {"chance": row["mrr"]["chance"]}
            for name, row in dynamics["model"][part].items()
        }
    for task in TASKS:
        rows = {**report[task]["planners"], **report[task]["controls"]}
        sections[f"Pixels from the goal, {task}"] = {
            name: {"pixels": row["pixel_error"]["value"]} for name, row in rows.items()
        }
    surprise = {kind: part["events"] for kind, part in report["surprise"].items()}
    sections["Pairs told apart by surprise"] = {
        event: {
            **{
                kind: share_of_pairs(part[event], "prediction")
                for kind, part in surprise.items()
            },
            "copy": share_of_pairs(surprise["model"][event], "copy"),
            "copy, control": share_of_pairs(surprise["control"][event], "copy"),
            "chance": 0.5,
        }
        for event in surprise["model"]
    }
    return sections


def share_of_pairs(event, expectation):
    """The share of pairs that an expectation tells apart."""
    return event["accuracy"][expectation]["value"]


def summarize(parts):
    """Mean and interval over seeds of every number, as `seed_interval` has them."""
    if isinstance(parts[0], dict):
        return {name: summarize([part[name] for part in parts]) for name in parts[0]}
    return seed_interval(parts)


def markdown_table(summary):
    """The summary as Markdown, a table for each section."""
    lines = []
    for title, rows in summary.items():
        columns = list(next(iter(rows.values())))
        lines += ["", f"| {title} | " + " | ".join(columns) + " |"]
        lines.append("|---" * (len(columns) + 1) + "|")
        for name, row in rows.items():
            cells = [name, *map(cell, row.values())]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines[1:]).replace("_", " ")


def cell(interval):
    """A mean, and half its interval where there are several seeds."""
    text = f"{interval['mean']:.3f}"
    if interval["n"] > 1:
        text += f" ± {interval['high'] - interval['mean']:.3f}"
    return text


def main(options=None):
    """Train, measure and sum up all seeds."""
    arguments = parse_arguments(options)
    output = pathlib.Path(arguments.output)
    settings = {**vars(arguments), "seeds": None, "output": None}
    reports = []
    for seed in range(arguments.seeds):
        folder = output / f"seed_{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "report.json"
        if not is_whole(path):
            kinds, seconds = {}, {}
            for kind in KINDS:
                print(f"Seed {seed}, {kind}", flush=True)
                kinds[kind], seconds[kind] = train(kind, seed, arguments, folder)
            start = time.time()
            report = measure(kinds, arguments)
            seconds["measuring"] = time.time() - start
            write_json(path, {"settings": settings, "seconds": seconds, **report})
            if seed == 0:
                draw(kinds, report, output)
        reports.append(json.loads(path.read_text()))
        if reports[-1]["settings"] != settings:
            raise SystemExit(f"{path} is of other options: choose another --output")
        for part in ("dynamics", *TASKS):
            print(f"\n{evaluation.report_table(reports[-1][part])}")
        print(f"\nseconds: {reports[-1]['seconds']}\n", flush=True)
    summary = summarize([numbers_of(report) for report in reports])
    write_json(output / "summary.json", summary)
    table = markdown_table(summary)
    (output / "table.md").write_text(table + "\n")
    print(f"Over {len(reports)} seeds\n\n{table}\n\nWritten to {output}")


if __name__ == "__main__":
    main()
