"""What a world model retrieves, as pictures ready to draw."""

import numpy as np
from keras import ops

from keras_iwm.arguments import as_count
from keras_iwm.evaluation.world_model_evaluator import WorldModelEvaluator
from keras_iwm.visualization.figure import check_rgb_channels, prepare_images


class RetrievalPictures:
    """The images of an evaluator's banks as RGB, and which of them were retrieved.

    Args:
        model: Model that a `WorldModelEvaluator` can measure, or such an evaluator,
            which has compiled already and brings its own images and bank.
        images: Array of images `(num_images, height, width, num_channels)`.
        bank: `RetrievalBank`, or `None` for the model's own.
        rgb_channels: Three integers, see `prepare_images`.
        evaluator_class: The class of evaluator that is needed.

    Raises:
        ValueError: If images are missing or given twice, do not fit the model, or do
            not have the channels.
    """

    def __init__(
        self, model, images, bank, rgb_channels, evaluator_class=WorldModelEvaluator
    ):
        if not isinstance(model, WorldModelEvaluator):
            if images is None:
                raise ValueError(
                    "`images` must be given with a model. Received: None. Only an "
                    "evaluator has images of its own."
                )
            model = evaluator_class(model, images, bank, swapped_image=False)
        elif images is not None or bank is not None:
            raise ValueError(
                "`images` and `bank` must be left out with an evaluator, which has its "
                "own. Received both an evaluator and others. Pass its model instead."
            )
        elif not isinstance(model, evaluator_class):
            raise ValueError(
                f"The evaluator must be of class {evaluator_class.__name__}. Received: "
                f"{type(model).__name__}. Make one, or pass the model and images."
            )
        check_rgb_channels(rgb_channels, model.model.num_channels)
        self.evaluator = model
        self.model = model.model
        self.bank_size = model.bank.size
        self.shared = self.model.action_space.shared
        self.rgb_channels = rgb_channels

    def prepare(self, images):
        """Images `(n, height, width, num_channels)` of the model, ready to draw."""
        return prepare_images(
            images, self.model.value_range, rgb_channels=self.rgb_channels
        )

    def image(self, index):
        """One of the evaluator's images, `(height, width, 3)`."""
        return self.prepare(self.evaluator.images[index][None])[0]

    def views(self, index, parameters):
        """One of the images under each of the shared parameters `(n, k)`."""
        image = np.asarray(self.evaluator.images[index], "float32")
        copies = np.repeat(image[None], len(parameters), axis=0)
        return self.prepare(self.model.view_generator.apply_shared(copies, parameters))

    def shown(self, num_images):
        """The indices of the first images, at most so many."""
        num_images = as_count("num_images", num_images)
        return range(min(num_images, len(self.evaluator.images)))

    def most_changed(self, index, parameters):
        """One of the entries `(size, k)` that change most, another for each image."""
        space = self.model.action_space
        actions = space.between(space.identity(len(parameters)), parameters)
        sizes = np.abs(ops.convert_to_numpy(actions)).sum(axis=1)
        return int(np.argsort(sizes, kind="stable")[-1 - index % len(sizes)])

    def retrieval(self, index, found, wanted):
        """What was retrieved where one entry of an image's bank was wanted.

        Args:
            index: Integer, which of the images.
            found: Dictionary with `parameters`, `ranks` and `nearest`, as the
                evaluator's `retrieve` gives it.
            wanted: Integer, the entry.

        Returns:
            Dictionary: the images `target` and `retrieved`, the wanted entry's `rank`,
            and the boolean `is_hit`, whether both images have the same parameters.
        """
        entries = found["parameters"][[wanted, found["nearest"][wanted]]]
        target, retrieved = self.views(index, entries)
        return {
            "target": target,
            "retrieved": retrieved,
            "rank": found["ranks"][wanted],
            "is_hit": bool(np.all(entries[0] == entries[1])),
        }
