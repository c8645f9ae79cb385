"""How near planning comes to where the camera went."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_iwm.arguments import as_count, as_object, as_optional, shown
from keras_iwm.datasets.moving_photos import MovingPhotos
from keras_iwm.evaluation.camera_distance import camera_distance
from keras_iwm.evaluation.rank_summaries import clustered_mean
from keras_iwm.planning.planner import Planner


def planning_report(
    planners: Mapping[str, Planner],
    maker: MovingPhotos,
    num_scenes: int = 32,
    num_steps: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure in pixels how well planners recover the motion of a camera.

    In each scene the camera takes random steps; planners see the first frame and the
    last one, the goal. What they find is carried out, and the error is how far the
    picture then is from the goal's: the mean distance of its pixels
    (`camera_distance`), which pan, zoom and turn have in common. Beside it stands what
    is reached without a plan.

    Without `num_steps` the goal lies as many steps away as a plan has, and the whole
    plan is carried out. With it the first action is, a new frame is looked at, and a
    new plan made, `num_steps` times: mistakes are seen and mended.

    Source: V-JEPA 2-AC, arXiv 2506.09985, for planning; the measure is this library's.

    Args:
        planners: Dictionary from names to `Planner`s, whose horizon is the same. Those
            of an untrained encoder's model may be among them, as controls.
        maker: `MovingPhotos`, best with held-out photos, of the models' images and
            slots.
        num_scenes: Integer of at least 2.
        num_steps: Optional positive integer.
        seed: Integer, 0 or more, of the draw of scenes and motions.

    Returns:
        Dictionary ready for `json.dump`; `report_table` prints it. Measured numbers are
        dictionaries of `value` and of the 95 % interval from `low` to `high`.

        - `settings`: `num_scenes`, `horizon`, `num_steps`, `replanned`, `seed`, and in
          words what `interval` is.
        - `planners`: from each name to `pixel_error`; to `energy`, that of the last
          plan; and without `num_steps` to `true_energy`, that of the actions that
          were taken. A plan of higher energy was searched for too little; one of
          lower energy, and far from the goal, shows a mistake of the model.
        - `controls`: `pixel_error` of `no_action` and of `random_actions`.

    Raises:
        ValueError: If the planners differ in their horizon, or their models are not for
            such frames.

    Example:

    ```python
    model = keras_iwm.models.LatentDynamicsModel.from_preset(
        "dynamics_tiny_64", load_weights=False
    )
    planner = keras_iwm.planning.RandomPlanner(model, num_samples=4, num_iterations=1)
    photos = np.random.default_rng(0).integers(0, 256, (2, 80, 80, 3), "uint8")
    maker = keras_iwm.datasets.MovingPhotos(photos, num_sprites=0)
    report = keras_iwm.evaluation.planning_report({"random": planner}, maker, 2)
    print(keras_iwm.evaluation.report_table(report))
    ```
    """
    horizon = _check_planners(planners, maker)
    num_scenes = as_count("num_scenes", num_scenes, 2)
    replanned = as_optional(as_count, "num_steps", num_steps) is not None
    steps = int(num_steps) if replanned else horizon
    seed = as_count("seed", seed, 0)
    scenes = maker.draw_scenes(num_scenes, seed, num_frames=steps + 1)
    taken = maker.draw_actions(num_scenes, steps, seed)
    frames = maker.render(scenes, taken)
    goal = maker.camera_path(scenes, taken)[:, -1]

    def reached(actions):
        camera = maker.camera_path(scenes, actions)[:, -1]
        distances = camera_distance(camera, goal, maker.image_size)
        return {"pixel_error": clustered_mean(distances[:, None])}

    found = {}
    for name, planner in planners.items():
        if replanned:
            actions, energies = _act(planner, maker, scenes, frames[:, -1], steps)
        else:
            actions, energies, _ = planner.plan(frames[:, :1], frames[:, -1])
        found[name] = reached(actions) | {"energy": clustered_mean(energies[:, None])}
        if not replanned:
            true = planner.energies(frames[:, :1], frames[:, -1], taken)
            found[name]["true_energy"] = clustered_mean(true[:, None])
    # Of another seed than the motion.
    others = maker.draw_actions(num_scenes, steps, seed + 1)
    return {
        "settings": {
            "num_scenes": num_scenes,
            "horizon": horizon,
            "num_steps": steps,
            "replanned": replanned,
            "seed": seed,
            "interval": "95 %, 1.96 standard errors over scenes",
        },
        "planners": found,
        "controls": {
            "no_action": reached(np.zeros_like(taken)),
            "random_actions": reached(others),
        },
    }


def _act(planner, maker, scenes, goals, steps):
    """Take the first action of a plan, look, and plan again, so many times."""
    actions = np.zeros((len(goals), 0, maker.action_dim), "float32")
    for _ in range(steps):
        frames = maker.render(scenes, actions)[:, -1:]
        plan = planner.plan(frames, goals)
        actions = np.concatenate([actions, plan.actions[:, :1]], axis=1)
    return actions, plan.energies


def _check_planners(planners, maker):
    """The horizon of the planners, or what is wrong with them."""
    needed = ("plan", "energies", "horizon", "model")
    if not isinstance(planners, dict) or not planners:
        raise ValueError(
            "`planners` must be a dictionary from names to Planners, at least one. "
            f"Received: {shown(planners)}."
        )
    as_object("maker", maker, ("render", "camera_path", "slots"), "a MovingPhotos")
    for name, planner in planners.items():
        as_object(f"planners[{name!r}]", planner, needed, "a Planner")
        if tuple(planner.model.slots) != tuple(maker.slots):
            raise ValueError(
                f"`planners[{name!r}]` must have a model of the maker's slots "
                f"{tuple(maker.slots)}. Received: {tuple(planner.model.slots)}."
            )
    horizons = {planner.horizon for planner in planners.values()}
    if len(horizons) > 1:
        raise ValueError(
            "`planners` must have one horizon: the goal is as far away. Received: "
            f"{sorted(horizons)}. Make a report of each."
        )
    return horizons.pop()
