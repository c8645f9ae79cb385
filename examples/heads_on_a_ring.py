"""What three heads make of a patch that could be one of several.

    python examples/heads_on_a_ring.py                      # JAX
    KERAS_BACKEND=torch python examples/heads_on_a_ring.py  # or tensorflow

The patch has two values, and lies in one of eight clusters on a ring: it could be any
of them. Squared error learns the mean, the middle of the ring, where no patch ever
is. Diffusion, and squared error in steps of noise, learn the ring. A table of what the
samples have in common with the patches is printed, and the picture is written to
runs/heads_on_a_ring.png.
"""

import os
import pathlib

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np
from keras import ops

from keras_iwm import heads, optimizers, visualization

SPREAD = 0.2  # of a cluster
CONDITION = np.ones((1, 4), "float32")  # the same for all: it tells nothing


def ring_of_centres(num_modes):
    """Centres of clusters on a ring whose patches have variance 1."""
    angles = np.arange(num_modes) * 2 * np.pi / num_modes
    radius = np.sqrt(2 * (1 - SPREAD**2))
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def make_heads(hidden_dim):
    """The heads that are compared, by their name in the table."""
    sizes = {"condition_dim": 4, "patch_dim": 2, "hidden_dim": hidden_dim}
    denoising = {**sizes, "num_layers": 2, "num_noise_levels": 8, "seed": 0}
    return {
        "squared error": heads.SquaredErrorHead(**sizes),
        "diffusion, noise": heads.DiffusionHead(**denoising),
        "diffusion, clean": heads.DiffusionHead(prediction="clean", **denoising),
        "denoising steps": heads.DenoisingStepsHead(**denoising),
    }


def draw_patches(centres, count, seed=0):
    """Draw patches of two values, in no order."""
    draws = np.random.default_rng(seed)
    patches = centres[draws.integers(0, len(centres), count)]
    return (patches + draws.normal(0, SPREAD, (count, 2))).astype("float32")


class FittedHead(keras.Model):
    """A head alone, with a transformer that says the same of all patches."""

    def __init__(self, head):
        super().__init__()
        self.head = head
        self.squared_error = keras.losses.MeanSquaredError()
        self.built = True

    def call(self, patches, training=None):
        """Compare the head's answers with the right ones."""
        conditions = ops.repeat(CONDITION, ops.shape(patches)[0], axis=0)
        return self.head(conditions, patches, training=training)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """Return their mean squared difference."""
        return self.squared_error(y_pred["target"], y_pred["prediction"])


def fit_head(head, centres, steps, batch_size):
    """Train a head on fresh patches."""
    model = FittedHead(head)
    rate = keras.optimizers.schedules.CosineDecay(1e-2, steps)
    model.compile(optimizers.AdamW(rate))
    patches = draw_patches(centres, batch_size * steps)
    model.fit(patches, batch_size=batch_size, verbose=0)


def draw_samples(head, count):
    """Draw patches from a head."""
    conditions = np.repeat(CONDITION, count, axis=0)
    return ops.convert_to_numpy(head.sample(conditions, seed=1))


def measure(samples, centres):
    """What samples have in common with the patches.

    Returns:
        Dictionary with the `mean` and the `variance` of both values, the share
        `in_modes` within one and a half spreads of a centre (of the patches 68 %, of a
        ring without clusters 42 %), and the number of `modes` with at least half of
        what a cluster should have there.
    """
    distances = np.linalg.norm(samples[:, None] - centres, axis=-1)
    inside = distances.min(axis=1) < 1.5 * SPREAD
    counts = np.bincount(distances.argmin(axis=1)[inside], minlength=len(centres))
    return {
        "mean": samples.mean(axis=0),
        "variance": samples.var(axis=0),
        "in_modes": inside.mean(),
        "modes": int(np.sum(counts >= 0.34 * len(samples) / len(centres))),
    }


def plot_samples(samples, centres):
    """Draw patches and samples of each head side by side; return the figure."""
    from matplotlib.figure import Figure

    figure = Figure((2.2 * len(samples), 2.5), layout="constrained", dpi=120)
    panels = figure.subplots(1, len(samples), sharex=True, sharey=True)
    for axes, (name, points) in zip(panels, samples.items(), strict=True):
        axes.scatter(*points.T, s=2, alpha=0.4, linewidths=0, color="#2e6f95")
        axes.scatter(*centres.T, s=40, facecolors="none", edgecolors="#d1495b")
        axes.set_title(name, fontsize=10)
        axes.set(xlim=(-2.4, 2.4), ylim=(-2.4, 2.4), aspect="equal")
        axes.set(xticks=[], yticks=[])
    return figure


def main(num_modes=8, count=2000):
    """Train the heads, print the table and write the picture."""
    keras.utils.set_random_seed(0)
    centres = ring_of_centres(num_modes)
    samples = {"patches": draw_patches(centres, count, seed=1)}
    for name, head in make_heads(hidden_dim=128).items():
        fit_head(head, centres, steps=600, batch_size=256)
        samples[name] = draw_samples(head, count)
    for name, points in samples.items():
        found = measure(points, centres)
        print(
            f"{name:18} {found['modes']} modes, {found['in_modes']:4.0%} in one, mean "
            f"{np.round(found['mean'], 2)}, variance {np.round(found['variance'], 2)}"
        )
    path = pathlib.Path("runs") / "heads_on_a_ring.png"
    visualization.save_figure(plot_samples(samples, centres), path)
    print(f"Picture: {path}")


if __name__ == "__main__":
    main()
