"""Everything that is measured of a world model, in one dictionary."""

from typing import Any

import keras
import numpy as np

from keras_iwm.arguments import as_boolean, as_count, as_object
from keras_iwm.array_arguments import check_images
from keras_iwm.evaluation.action_probes import action_r2
from keras_iwm.evaluation.equivariance_evaluator import EquivarianceEvaluator
from keras_iwm.evaluation.rank_summaries import clustered_mean, summarize_ranks
from keras_iwm.evaluation.retrieval_bank import RetrievalBank
from keras_iwm.evaluation.without_nan import without_nan
from keras_iwm.type_aliases import Array


def equivariance_report(
    model: keras.Model,
    images: Array,
    train_images: Array | None = None,
    control: keras.Model | None = None,
    bank: RetrievalBank | None = None,
    num_pairs: int = 4096,
    batch_size: int = 64,
    verbose: bool = True,
) -> dict[str, Any]:
    """Measure in all ways what a world model knows of actions.

    Everything of `WorldModelEvaluator`, for which see there, for any actions; and what
    only a model that knows what actions do can: take back what a destructive operation
    did to the source, apply one action after another, and lead an augmented image back
    to the clean one. All latents are the feature encoder's; what is retrieved is ranked
    among an image's bank, by distance of normalised latents.

    A second prediction starts from a first one, which is of *normalised* latents,
    while contexts are the feature encoder's raw ones. Their mean and deviation are
    first put back, which the scale and shift of the encoder's last norm determine.

    MRR alone can be gamed: a predictor on a frozen random encoder can score above a
    trained one. Train one (`examples/pretrain.py --encoder frozen-random`) and pass
    it as `control`; its numbers are put beside.

    Source: image world models, arXiv 2403.00504, for MRR in a bank; the definition's
    details and all other measurements are this library's.

    Args:
        model: `ImageWorldModel` with a `ViTEncoder`.
        images: Array or tensor of shape `(num_images, height, width, num_channels)`
            of at least 2 images, best held out from training, of the model's
            `image_size` and in its `value_range`. 60 give intervals that tell models
            apart.
        train_images: Optional array of images like `images`, on which probes that
            read the action from two latents are fitted; `images` score them.
        control: Optional `ImageWorldModel` for images of the same size, such as one
            trained on a frozen random encoder.
        bank: `RetrievalBank`, by default the model's, see `WorldModelEvaluator`.
        num_pairs: Positive integer, the pairs of views that probes are fitted on.
        batch_size: Positive integer, the most bank entries that are embedded at
            once: lower it if memory runs out.
        verbose: Boolean, whether to show progress.

    Returns:
        Dictionary of dictionaries of strings and numbers, ready for `json.dump`,
        with `None` for what is not defined:

        - `settings`: `num_images`, `num_train_images`, `bank_size`, `bank_seed`,
          `num_pairs` and, in words, what `interval` is.
        - `retrieval`: for each measurement below a dictionary of `num_entries`,
          `mrr`, `hit_at_1`, `hit_at_5`, `hit_at_10` and `mean_rank`, each of which
          is a dictionary of `value`, the 95 % interval from `low` to `high`, and
          `chance`, the value for ranks at random.

            - `bank`: `headline`; the controls `shuffled_action` (ranked for an entry
              whose action was not given: about chance) and `swapped_image` (context
              of another image: near chance if images matter); `pooled` (latents
              averaged over positions); `doubled` (for models with
              colour jitter, in a bank of twice its default ranges).
            - `slots`: for each shared slot, in a bank of 33 evenly spaced values; with
              `parameter_error`, how far the retrieved value is off.
            - `undo`: for each destructive operation, which alone is applied to the
              image before it is embedded, in the middle of its range; the action
              leads to an entry, with the operation's flag. `..._without_flag` leaves
              the flag at 0, as if nothing had to be undone.
            - `composition`: `direct`, from the clean image to an entry j; `composed`,
              from the prediction of an entry i on to j.
            - `inverse`: the rank of the clean image among bank and clean image.
              `inverse` starts at an entry, `round_trip` at the prediction of one;
              their controls with `_shuffled_action` are given another entry's way
              back, and `null_action` starts at the clean image, whose latents should
              then stay. The clean image is in the middle of its bank, so chance says
              little here: a model that ignores actions scores as its control does.

        - `bank_spread_ratio`: root mean square distance of the bank's latents from
          their mean, over that of the images' latents from theirs.
        - `probes`, with `train_images`: from `linear` and `mlp` to each slot of the
          action to R2 (`value`), R2 on an untrained encoder's latents (`untrained`)
          and `chance`, 0.
        - `control`, with `control`: its `retrieval` and `bank_spread_ratio`.

    Raises:
        ValueError: If the model or the control has no shared operations, or not those
            of the bank, the control is for images of another size or range, images do
            not fit the model, or there are fewer than 2 `images`.

    Example:

    ```python
    model = keras_iwm.models.ImageWorldModel.from_preset("iwm_tiny_32")
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), "uint8")
    bank = keras_iwm.evaluation.RetrievalBank(size=16)
    report = keras_iwm.evaluation.equivariance_report(model, images, bank=bank)
    report["retrieval"]["undo"]["grayscale"]["mrr"]["value"]
    print(keras_iwm.evaluation.report_table(report))
    ```
    """
    evaluator = EquivarianceEvaluator(model, images, bank, batch_size)
    num_pairs = as_count("num_pairs", num_pairs)
    verbose = as_boolean("verbose", verbose)
    if train_images is not None:
        train_images = check_images(
            train_images,
            model.image_size,
            model.value_range,
            "train_images",
            model.num_channels,
        )
    if control is not None:
        expected = "a model such as an ImageWorldModel"
        as_object("control", control, ("image_size", "value_range"), expected)
        for name in ("image_size", "value_range", "num_channels"):
            expected, received = getattr(model, name), getattr(control, name)
            if received != expected:
                raise ValueError(
                    f"`control.{name}` must be the model's, {expected}: both are "
                    f"measured on the same images. Received: {received}."
                )
        control = EquivarianceEvaluator(
            control, evaluator.images, evaluator.bank, batch_size
        )
    bank = evaluator.bank
    report = {
        "settings": {
            "num_images": len(evaluator.images),
            "num_train_images": 0 if train_images is None else len(train_images),
            "bank_size": bank.size,
            "bank_seed": bank.seed,
            "num_pairs": num_pairs,
            "interval": "95 %, 1.96 standard errors over the images' means",
        },
        **_measure(evaluator, verbose),
    }
    if train_images is not None:
        report["probes"] = action_r2(
            model, train_images, evaluator.images, num_pairs, batch_size, verbose
        )
    if control is not None:
        report["control"] = _measure(control, verbose)
    return without_nan(report)


def _measure(evaluator, verbose):
    """What is retrieved by one model."""
    bank = evaluator.bank
    ranked = evaluator.rank_bank(verbose=verbose)
    ranks = {
        "headline": ranked["ranks"],
        "shuffled_action": ranked["ranks_shuffled"],
        "swapped_image": ranked["ranks_swapped"],
        "pooled": ranked["ranks_pooled"],
    }
    doubled = RetrievalBank.doubled(bank.size, bank.seed)
    if set(doubled.slots) <= set(evaluator.model.action_space.slots):
        ranks["doubled"] = evaluator.rank_bank(doubled, verbose)["ranks"]
    retrieval = {"bank": _summaries(ranks, bank.size), "slots": {}}
    for slot in evaluator.slots:
        swept = evaluator.rank_slot(slot, verbose)
        values = swept["values"].astype("float64")
        retrieval["slots"][slot] = {
            **summarize_ranks(swept["ranks"], len(values)),
            "parameter_error": {
                **clustered_mean(swept["errors"]),
                # Of one of the values at random for each of them.
                "chance": float(np.mean(np.abs(values[:, None] - values))),
            },
        }
    steps = evaluator.rank_steps(verbose)
    undo = {}
    for index, name in enumerate(evaluator.operation_names):
        undo[name] = steps["undo"][:, index]
        undo[f"{name}_without_flag"] = steps["undo_without_flag"][:, index]
    retrieval["undo"] = _summaries(undo, bank.size)
    ranks = {"direct": ranked["ranks"], "composed": steps["composition"]}
    retrieval["composition"] = _summaries(ranks, bank.size)
    names = ("inverse", "round_trip")
    names = [name + end for name in names for end in ("", "_shuffled_action")]
    ranks = {name: steps[name] for name in (*names, "null_action")}
    retrieval["inverse"] = _summaries(ranks, bank.size + 1)
    return {
        "retrieval": retrieval,
        "bank_spread_ratio": ranked["bank_spread_ratio"],
    }


def _summaries(ranks, num_entries):
    """`summarize_ranks` of each value of a dictionary."""
    return {name: summarize_ranks(part, num_entries) for name, part in ranks.items()}
