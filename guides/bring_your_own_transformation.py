"""
Title: Bring your own transformation
Author: The keras_iwm developers
Date created: 2026/11/25
Last modified: 2026/11/25
Description: Teach a world model an operation of your own, geometry, and images that are not RGB.
Accelerator: None
"""

"""
## What an action is

An image world model ([IWM](https://arxiv.org/abs/2403.00504)) sees a *source* view of an
image, is told the *action* that leads to the *target* view, and predicts the target's
latents. Ordinary augmentation throws its random numbers away. Here they are the message:
without them nobody could know which of all possible targets is meant, and the best
prediction would be the average of them, that is, features that ignore the operation.

So an operation must give its parameters away. A `keras_iwm.actions.Transform` does its
work in two parts:

- `draw` makes parameters from uniform random numbers;
- `apply` uses them on the images, and changes nothing at `identity`.

Both views get a draw of their own, and the action is the `difference` between the two,
one **slot** for each parameter. Colours are the usual example. They are no special case:
views, retrieval, reports and pictures ask the operation, so one of your own is known to
all of them.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np
from keras import ops

import keras_iwm
from keras_iwm import actions, callbacks, datasets, evaluation, visualization

# A reduced run, for a quick check that everything works.
REDUCED = os.environ.get("KERAS_IWM_REDUCED") == "1"
if REDUCED:
    print("Reduced run: the numbers and pictures below say nothing.")
EPOCHS = 1 if REDUCED else 8
NUM_CROPS = 128 if REDUCED else 12_800
NUM_RETRIEVAL = 2 if REDUCED else 10
BANK_SIZE = 16 if REDUCED else 256
BATCH_SIZE = 64
keras.utils.set_random_seed(0)

"""
## Twenty lines

Cameras and screens bend the scale of brightness: a pixel `x` in [0, 1] becomes `x ** g`.
As the parameter, take the logarithm of `g` and not `g` itself. Two exponents in a row are
multiplied, their logarithms are added; so the plain difference of two draws says exactly
what leads from one view to the other, whatever the views were. Where a difference does
not say that, override `difference`, as `Flip` and `RelativeCrop` do.

The decorator makes models that use the operation loadable. Everything else follows from
three declarations and two functions.
"""


@keras.saving.register_keras_serializable(package="guide")
class Gamma(actions.Transform):
    parameters = ("log_gamma",)
    identity = (0.0,)

    def __init__(self, range=1.0, probability=1.0):
        super().__init__(probability)
        self.range = float(range)

    @property
    def scales(self):
        return (2 * self.range,)  # from one end to the other: slots lie in [-1, 1]

    def draw(self, uniforms):
        return self.range * (2 * uniforms - 1)

    def apply(self, images, parameters):
        return ops.power(images, 2 ** ops.reshape(parameters, (-1, 1, 1, 1)))

    def get_config(self):
        return {"range": self.range, **super().get_config()}


"""
Two properties are worth a check before any training: the identity changes nothing, and
the action is what it claims to be. Here the source, under the exponent that the action
tells, must become the target.
"""

gamma = Gamma()
pixels = keras.random.uniform((3, 8, 8, 3), seed=0)
draws = keras.random.uniform((2, 3, gamma.num_draws), seed=1)
source, target = gamma.sample(draws[0]), gamma.sample(draws[1])
action = gamma.difference(source, target) * gamma.scales[0]
led = gamma.apply(gamma.apply(pixels, source), action)
error = ops.max(ops.abs(led - gamma.apply(pixels, target)))
print(f"action applied to the source, off by at most {float(error):.1e}")
assert float(error) < 1e-4
unchanged = gamma.apply(pixels, ops.zeros((3, 1)))
assert float(ops.max(ops.abs(unchanged - pixels))) < 1e-5

"""
## Photos

Crops of seven photos that scikit-image and scikit-learn ship are to learn from, crops of
the three others to measure on.
"""

photos = datasets.load_sample_photos()
held_out = {name: photos.pop(name) for name in ("astronaut", "flower", "motorcycle")}
train_images, _ = datasets.random_photo_crops(photos, NUM_CROPS, crop_size=48)
test_images, _ = datasets.random_photo_crops(held_out, 60, crop_size=32, seed=1)
print(train_images.shape, test_images.shape)


def recipe():
    # Optimizer and the teacher's momentum for one run over NUM_CROPS images.
    return keras_iwm.optimizers.pretraining_recipe(
        steps=EPOCHS * (NUM_CROPS // BATCH_SIZE),
        batch_size=BATCH_SIZE,
        learning_rate=2e-3,
        ema_momentum=0.98,
    )


def pretrain(model, images, held_out_images):
    # Fit, and measure the world model with its controls, as a whole and by slot.
    bank = evaluation.RetrievalBank.for_actions(model.action_space, BANK_SIZE)
    quality = callbacks.WorldModelQuality(
        held_out_images,
        bank=bank,
        retrieval_images=held_out_images[:NUM_RETRIEVAL],
        every=4,
        by_slot=True,
        swapped_image=True,
    )
    model.compile(recipe().optimizer)
    history = model.fit(
        images, batch_size=BATCH_SIZE, epochs=EPOCHS, callbacks=[quality], verbose=0
    ).history
    for name, values in history.items():
        if name.startswith(("loss", "mrr", "parameter_error", "rankme")):
            print(f"{name:28s} {values[0]:8.3f} -> {values[-1]:8.3f}")
    return bank


"""
## Alone

`from_encoder` puts predictor, views and masks around any encoder; `actions` is a list of
operations. The action has one slot. (The library warns that blocks of a grid of four by
four patches are coarse. Here that is meant, as in the preset `"iwm_tiny_32"`.)

The log has `mrr`: among the targets of one image, is the wanted one nearest to the
prediction? Read it beside its controls. With another entry's action
(`mrr_shuffled_action`) it must be at chance (`mrr_chance`); with another image's context
(`mrr_swapped_image`) it must fall. `mrr_log_gamma` and `parameter_error_log_gamma` are for
the slot alone, in 33 even steps.
"""

encoder = keras_iwm.backbones.ViTEncoder(
    image_size=32, patch_size=8, hidden_dim=96, num_layers=3, num_heads=3
)
model = keras_iwm.models.ImageWorldModel.from_encoder(
    encoder,
    actions=[Gamma()],
    predictor_layers=4,
    ema_momentum=recipe().ema_momentum,
    seed=0,
)
print("slots:", model.action_space.slots)
pretrain(model, train_images, test_images)

"""
## Beside others

An `ActionSpace` says it all: `shared` operations are drawn for both views, `destructive`
ones touch the source alone, and the action flags them. Operations run in the order of the
list. In the views, look at the bars: the new slot is one of them.
"""

space = actions.ActionSpace(
    shared=[actions.ColorJitter(strength=2.0, probability=1.0), Gamma()],
    destructive=[actions.Grayscale()],
)
model = keras_iwm.models.ImageWorldModel.from_preset(
    "iwm_tiny_32",
    load_weights=False,
    actions=space,
    ema_momentum=recipe().ema_momentum,
    seed=0,
)
views = model.view_generator(train_images[:3], training=True)
figure = visualization.plot_views(
    views, model.encoder.grid_size, action_slots=model.action_space.slots
)
figure.savefig("views.png")
bank = pretrain(model, train_images, test_images)
figure

"""
Some operations do nearly the same: gamma brightens, and so does brightness. Together they
make a slot harder to tell, since what one did the other can almost do. A bank draws from
the model's own operations, so more of them are another test: compare numbers between
models of the same action space.

What the log holds, `evaluate_world_model` gives for a finished model, and
`equivariance_report` adds intervals, what destructive operations took away, compositions
and the way back.
"""

results = evaluation.evaluate_world_model(
    model, test_images[:NUM_RETRIEVAL], bank, by_slot=True, verbose=False
)
for slot in ("brightness", "hue", "log_gamma"):
    mrr, chance = results[f"mrr_{slot}"], results["mrr_by_slot_chance"]
    off = results[f"parameter_error_{slot}"]
    print(f"{slot:12s} MRR {mrr:.3f} (chance {chance:.3f}), off by {off:.3f}")

report = evaluation.equivariance_report(
    model, test_images[:NUM_RETRIEVAL], bank=bank, verbose=False
)
print(evaluation.report_table(report))

"""
Pictures take the model and images, and need to know nothing of the operation: each slot is
swept from end to end, with what is wanted above and what the model finds below; and each
image is asked for a change.
"""

figure = visualization.plot_action_sweep(
    model, test_images[:2], slots=["brightness", "log_gamma"]
)
figure.savefig("action_sweep.png")
figure

"""
The model is saved with the operation's arguments, and loads wherever the class is known.
"""

model.save("world_model.keras")
loaded = keras.models.load_model("world_model.keras")
print("slots:", loaded.action_space.slots)
difference = loaded.target_encoder.predict(
    test_images, verbose=0
) - model.target_encoder.predict(test_images, verbose=0)
print(f"largest difference after loading: {np.abs(difference).max():.1e}")

"""
## Geometry

A shift by a patch could be read from the positions of the patches, if source and target
kept them. They do not: both views are numbered from their own corner, and each has its
own box, angle or mirroring. What a patch shows in the other view is then known from the
action alone. (The crop before all operations is still the same for both.)

- `RelativeCrop`: where the target's box lies in the source's, and how much larger it is;
- `Rotation`: the angle between them;
- `Flip`: whether one is the mirror image of the other. A flip has two values, so chance is
  that of two, 0.75.

Each is trained alone, for a reason: in a mirrored source, a turn to the left is one to the
right. With both in one list, mirroring and angle *each for itself* do not say what leads
from one view to the other, and the best prediction is an average again. If you need both,
write one operation whose `difference` says it.
"""

operations = [
    actions.Rotation(range=45.0),
    actions.RelativeCrop(scale=(0.6, 1.0)),
    actions.Flip(),
]
for operation in operations[: 1 if REDUCED else None]:
    model = keras_iwm.models.ImageWorldModel.from_preset(
        "iwm_tiny_32",
        load_weights=False,
        actions=[operation],
        ema_momentum=recipe().ema_momentum,
        seed=0,
    )
    model.compile(recipe().optimizer)
    model.fit(train_images, batch_size=BATCH_SIZE, epochs=EPOCHS, verbose=2)
    evaluator = evaluation.WorldModelEvaluator(model, test_images[:NUM_RETRIEVAL])
    results = evaluator.evaluate_by_slot(verbose=False)
    for slot in model.action_space.slots:
        chance = results.get(f"mrr_{slot}_chance", results["mrr_by_slot_chance"])
        print(f"{slot:10s} MRR {results[f'mrr_{slot}']:.3f} (chance {chance:.3f})")
    figure = visualization.plot_action_sweep(evaluator)
    figure.savefig(f"sweep_{operation.name}.png")
figure

"""
## Images that are not RGB

An encoder takes any number of channels and any range of values. `mean` and `std`, as
shares of that range, are one number or one for each channel; take them from the training
images. Say the range that the *sensor* has, not that of one batch: operations work on
shares of it.

**One channel, 16 bits.** Microscopes and X-ray detectors give such images. Colour jitter
makes no sense here, so the default actions are brightness, contrast and an offset, with
blur and solarization on the source. Your own operation fits as it is: it never asked for
three channels.
"""


def to_sixteen_bits(images):
    return (images.mean(axis=-1, keepdims=True) * 257).astype("uint16")


grey_images = to_sixteen_bits(train_images)
grey_test_images = to_sixteen_bits(test_images)
shares = grey_images / 65535
settings = {
    "value_range": (0, 65535),
    "num_channels": 1,
    "mean": shares.mean(),
    "std": shares.std(),
    "ema_momentum": recipe().ema_momentum,
    "seed": 0,
}
default = keras_iwm.models.ImageWorldModel.from_preset(
    "iwm_tiny_32", load_weights=False, **settings
)
print("default slots:", default.action_space.slots)
model = keras_iwm.models.ImageWorldModel.from_preset(
    "iwm_tiny_32",
    load_weights=False,
    actions=[actions.Contrast(0.4), Gamma()],
    **settings,
)
pretrain(model, grey_images, grey_test_images)

"""
**Twelve bands.** Satellites look at more than three colours. Here, twelve mixtures of a
photo's channels stand for them, as reflectances of up to 10000. By default, every band has
a gain and an offset of its own in the action, and `ChannelDropout` on the source takes the
place of grayscale: one band is missing, and the flag says so.
"""

mixtures = np.random.default_rng(0).dirichlet((0.5, 0.5, 0.5), size=12).T


def to_bands(images):
    bands = (images / 255) @ mixtures
    return (10_000 * bands ** np.linspace(0.7, 1.4, 12)).astype("float32")


band_images, band_test_images = to_bands(train_images), to_bands(test_images)
shares = band_images / 10_000
model = keras_iwm.models.ImageWorldModel.from_preset(
    "iwm_tiny_32",
    load_weights=False,
    value_range=(0, 10_000),
    num_channels=12,
    mean=shares.mean(axis=(0, 1, 2)),
    std=shares.std(axis=(0, 1, 2)),
    ema_momentum=recipe().ema_momentum,
    seed=0,
)
print(model.action_space.action_dim, "slots:", model.action_space.slots)
model.compile(recipe().optimizer)
model.fit(band_images, batch_size=BATCH_SIZE, epochs=EPOCHS, verbose=2)

"""
A screen has three colours: `rgb_channels` says which bands to draw red, green and blue. For
each channel of an RGB photo, take the band that holds most of it.
"""

bank = evaluation.RetrievalBank.for_actions(model.action_space, BANK_SIZE)
rgb_channels = [int(band) for band in mixtures.argmax(axis=1)]
figure = visualization.plot_retrieval(
    model, band_test_images[:3], bank, rgb_channels=rgb_channels
)
figure.savefig("bands_retrieval.png")
figure

"""
## What is refused

What cannot be meant is refused before anything is trained, in words that say what to
change: an operation on colours for images that have none, two slots of one name, and
images in another range than the model's, which would train without complaint, on pictures
that are all but black.
"""


def print_message(call):
    try:
        call()
    except ValueError as error:
        print(f"ValueError: {error}\n")
    else:
        raise AssertionError("This should have been refused.")


def jitter_without_colours():
    keras_iwm.models.ImageWorldModel.from_preset(
        "iwm_tiny_32",
        load_weights=False,
        num_channels=1,
        actions=[actions.ColorJitter()],
    )


def gamma_twice():
    actions.ActionSpace(shared=[Gamma(), Gamma(range=2.0)])


def images_in_another_range():
    model = keras_iwm.models.ImageWorldModel.from_preset(
        "iwm_tiny_32", load_weights=False
    )
    model.compile(recipe().optimizer)
    model.fit(train_images / 255, batch_size=BATCH_SIZE, verbose=0)


print_message(jitter_without_colours)
print_message(gamma_twice)
print_message(images_in_another_range)

"""
## Where to go from here

- A camera's motion, a dose, a season: whatever changes an image and can be *measured*,
  can be an action. It needs a `Transform` that makes it.
- Choose parameters whose difference is what leads from one view to the other, and ranges
  within which the eye still sees the change: what leaves no trace cannot be predicted.
- The guide "How good is my world model?" goes through all that the report holds.
"""
