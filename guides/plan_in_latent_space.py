"""
Title: Plan in latent space
Author: The keras_iwm developers
Date created: 2026/11/28
Last modified: 2026/11/28
Description: Learn what a camera's motion does to what it sees, then search for the way to a goal image.
Accelerator: None
"""

"""
## From knowing to acting

A model that knows what an action leads to can be asked the other way round: *which
action leads there?* Nothing new is learned for it. Imagine the outcome of many actions,
keep those that end near the goal, imagine again. [V-JEPA 2-AC](https://arxiv.org/abs/2506.09985)
moves a robot's arm so: it never sees a reward, only an image of how things should be.

Here the arm is a camera that pans, zooms and turns over a photo. All is known of it, so
one can measure in pixels how near planning comes. The guide

1. makes clips out of photos and trains a model of their dynamics,
2. asks whether the model is any good, before planning with it,
3. draws the landscape in which a planner has to find its way,
4. plans, and compares searches with those that know nothing.

It trains for a few minutes on two cores.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras

import keras_iwm
from keras_iwm import datasets, evaluation, models, planning, visualization

# A reduced run, for a quick check that everything works.
REDUCED = os.environ.get("KERAS_IWM_REDUCED") == "1"
if REDUCED:
    print("Reduced run: the numbers and pictures below say nothing.")
STEPS = 2 if REDUCED else 800
BATCH_SIZE = 4 if REDUCED else 64
NUM_CLIPS = 4 if REDUCED else 96
NUM_SCENES = 2 if REDUCED else 32
SEARCH = {
    "num_samples": 10 if REDUCED else 128,
    "num_iterations": 2 if REDUCED else 6,
}
keras.utils.set_random_seed(0)

"""
## Clips whose motion is known

`MovingPhotos` makes them: in each step the camera pans up to six pixels along rows and
columns, zooms by up to a fifth and turns by up to 15 degrees. A sprite moves on its own,
which no action tells. The action has four *slots*, each within [-1, 1].

Seven photos are for training, three for tests: the model will be asked about photos that
it has never seen.
"""

clips = {
    **{"image_size": 32, "num_frames": 4, "batch_size": BATCH_SIZE},
    **{"max_pan": 6.0, "max_log_zoom": 0.2, "max_turn": 15.0},
}
photos = datasets.load_sample_photos()
held_out = {name: photos.pop(name) for name in ("astronaut", "flower", "motorcycle")}
train_clips = datasets.MovingPhotos(photos, clips_per_epoch=STEPS * BATCH_SIZE, **clips)
test_clips = datasets.MovingPhotos(held_out, **clips)
print(f"Slots {test_clips.slots}, 1 stands for {test_clips.max_action}")

frames, actions = test_clips.draw_clips(4, seed=0)
figure = visualization.plot_clip(frames)
figure.savefig("clips.png")
figure

"""
## A model of dynamics

An encoder makes latents of each frame. The predictor gets those of the frames so far and
the actions, and says which latents come next: for each step the true frames before it
(*teacher forcing*), and for the first ones its own predictions fed back (*rollout*).

The encoder is that of the packaged image world model, which has seen crops of the same
seven photos, and stays as it is: V-JEPA 2-AC too puts its predictor on a frozen encoder.
With `learning="teacher"` or `"teacher_free"` encoder and predictor learn together; that
takes longer.
"""

encoder = keras_iwm.backbones.ViTEncoder.from_preset("iwm_tiny_32")
model = models.LatentDynamicsModel.from_encoder(
    encoder, slots=train_clips.slots, num_frames=4, learning="frozen"
)
recipe = keras_iwm.optimizers.pretraining_recipe(STEPS, BATCH_SIZE, learning_rate=2e-3)
model.compile(recipe.optimizer)
model.fit(train_clips, verbose=2)

"""
## Is it any good?

The loss does not tell. Two questions do, each beside its controls:

- *How far off are the latents of frames to come?* Less than if nothing changed (*copy
  last frame*)? Less than if the model is told nothing (*zero action*), or something else
  (*shuffled action*)?
- *Does it tell the action that was taken from others?* Of 64 actions, one leads to the
  frame that came. A mean reciprocal rank (MRR) of 1 finds it each time.

Small motions are hard: they change latents little. Hence the ranks by size of motion, in
patches.
"""

scenes = test_clips.draw_scenes(NUM_CLIPS, seed=1)
actions = test_clips.draw_actions(NUM_CLIPS, seed=1)
frames = test_clips.render(scenes, actions)
path = test_clips.camera_path(scenes, actions)
motions = evaluation.camera_distance(path[:, 1:], path[:, :-1], image_size=32)
report = evaluation.dynamics_report(model, frames, actions, motions / 8)
print(evaluation.report_table(report))

"""
How far ahead it sees:
"""

figure = visualization.plot_rollout(report)
figure.savefig("rollout.png")
figure

"""
A harder control than the untrained model is a predictor that was trained on an *untrained
encoder*, whose latents are easy to foretell. `examples/world_in_motion.py` trains one for
each seed; `dynamics_report(..., control=other)` puts it beside.

## The landscape

For a planner the model is a landscape: over all values of two slots, how far are the
latents that the model expects from those of the frame that came? It should be lowest at
the action that was taken, and slope towards it from everywhere. The camera only pans
here, so the two slots tell everything.

The white line is how the cross-entropy method comes down: it draws actions, keeps the
best, and draws around them.
"""

pans = test_clips.draw_actions(4, seed=3) * [1, 1, 0, 0]
scenes = test_clips.draw_scenes(4, seed=3)
frames = test_clips.render(scenes, pans)
evaluator = evaluation.DynamicsEvaluator(model, frames, pans)
landscape = evaluation.energy_landscape(evaluator, num_values=3 if REDUCED else 21)
planner = planning.CrossEntropyPlanner(model, horizon=1, **SEARCH)
plan = planner.plan(frames[:, :1], goals=frames[:, 1])
figure = visualization.plot_energy_landscape(
    landscape, {"cross-entropy": plan.history[:, :, 0, :2]}
)
figure.savefig("landscape.png")
figure

"""
## A plan of two steps

`plan` takes what is known, the first frame, and the goal. What it returns is carried out
by the camera, and drawn.
"""

planner = planning.CrossEntropyPlanner(model, horizon=2, **SEARCH)
plan = planner.plan(frames[:, :1], goals=frames[:, 2])
reached = test_clips.render(scenes, plan.actions)
paths = {
    # Where the first frame has what is in the middle later.
    name: test_clips.camera_path(scenes, taken)[0, :, :2] - scenes.camera[0, :2] + 15.5
    for name, taken in (("taken", pans[:, :2]), ("planned", plan.actions))
}
figure = visualization.plot_plan(reached[0], frames[0, 2], paths)
figure.savefig("plan.png")
figure

"""
## How near does it come?

`planning_report` measures it in pixels: how far, on average, what is seen after the plan
is from where it is in the goal. Beside the cross-entropy method stand

- **MPPI**, which weighs all candidates in place of keeping the best;
- **greedy** search, which takes the best first step, then the best second one;
- **random** search, for as many looks at the model;
- **no action** and **random actions**: how far one is without a plan.

The *energy* is what a planner makes small. Where a search finds less than the *true
energy*, that of the actions that were taken, and is still far from the goal, the model
is wrong, and no better search will help.
"""

planners = {
    "cross-entropy": planner,
    "MPPI": planning.PathIntegralPlanner(model, horizon=2, **SEARCH),
    "greedy search": planning.GreedyPlanner(model, horizon=2, **SEARCH),
    "random search": planning.RandomPlanner(model, horizon=2, **SEARCH),
}
report = evaluation.planning_report(planners, test_clips, NUM_SCENES, seed=2)
print(evaluation.report_table(report))

"""
Acting means to look again: take the first action, see what came of it, plan anew. So
mistakes are mended, and a goal may be further away than the plan is long.
"""

one_step = {"cross-entropy": planning.CrossEntropyPlanner(model, **SEARCH)}
report = evaluation.planning_report(
    one_step, test_clips, NUM_SCENES, num_steps=2 if REDUCED else 4, seed=2
)
print(evaluation.report_table(report))

"""
In a world of your own the loop is yours:

```python
planner = planning.CrossEntropyPlanner(model, horizon=2)
while not done:
    action = planner.plan(frames[:, -1:], goal).actions[:, 0]
    frames = act(action)
```

## What may you conclude?

- That ranks are far above chance and above the untrained model's says: **the model knows
  what the action does**. That its error is below the last frame's alone does not.
- Compare searches only on one model, and models only with one search.
- A planner finds the weak places of a model, for it looks for low energy wherever it is.
  A model that looks good in the report may still lead it astray.
- One seed, few photos, minutes of training. `examples/world_in_motion.py` repeats all of
  this for several seeds, with a trained control, and writes the table with intervals.
"""
