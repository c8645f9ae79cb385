"""What is undone, composed and inverted, compiled once and repeatable."""

import keras
import numpy as np
from tqdm import tqdm

from keras_iwm.evaluation.equivariance_ranking import EquivarianceRanking
from keras_iwm.evaluation.retrieval_bank import RetrievalBank
from keras_iwm.evaluation.world_model_evaluator import WorldModelEvaluator
from keras_iwm.type_aliases import Array


class EquivarianceEvaluator(WorldModelEvaluator):
    """A `WorldModelEvaluator` of predictions that start at a changed image too.

    It can take back what a destructive operation did to the source, apply one action
    after another, and lead an augmented image back to the clean one.
    `equivariance_report` and `plot_undo` are made of it. The encoder must have a last
    norm, `norm`, as a `ViTEncoder` has, and the model predict its latents: pixels
    cannot be the start of a second prediction.

    Args:
        model: As of `WorldModelEvaluator`, and so are the others.
        images: See there.
        bank: See there.
        batch_size: See there.
        swapped_image: See there.

    Example:

    ```python
    model = keras_iwm.models.ImageWorldModel.from_preset("iwm_tiny_32")
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), "uint8")
    bank = keras_iwm.evaluation.RetrievalBank(size=16)
    evaluator = keras_iwm.evaluation.EquivarianceEvaluator(model, images, bank)
    evaluator.undo(0)["grayscale"]["ranks"]
    ```
    """

    def __init__(
        self,
        model: keras.Model,
        images: Array,
        bank: RetrievalBank | None = None,
        batch_size: int = 64,
        swapped_image: bool = True,
    ) -> None:
        if not getattr(model, "predicts_latents", True):
            raise ValueError(
                "`model` must predict latents, from which it can predict on. Received: "
                f"{type(model).__name__}. Measure it with a WorldModelEvaluator."
            )
        super().__init__(model, images, bank, batch_size, swapped_image)
        self._steps = EquivarianceRanking(
            model, self.bank.size, self.batch_size, self.shuffle
        )

    @property
    def operation_names(self) -> tuple[str, ...]:
        """Names of the destructive operations that the model's views use."""
        return self._steps.operation_names

    def rank_steps(self, verbose: bool = True) -> dict[str, np.ndarray]:
        """Rank what is undone, composed and inverted, for `equivariance_report`.

        Args:
            verbose: Boolean, whether to show progress over the images.

        Returns:
            Dictionary of NumPy arrays with one row an image, as
            `EquivarianceRanking.call` describes them.
        """
        steps = []
        images = zip(self.images, self.parameters, strict=True)
        for image, parameters in tqdm(
            images, "Undo and compose", len(self.images), disable=not verbose
        ):
            steps.append(self._steps.rank(image, parameters))
        return {name: np.array([step[name] for step in steps]) for name in steps[0]}

    def undo(self, index: int) -> dict[str, dict[str, np.ndarray]]:
        """Look up the predictions for one image that was degraded first.

        Args:
            index: Integer, which of the images.

        Returns:
            Dictionary from each of `operation_names` to a dictionary of NumPy arrays:
            `degraded`, `(height, width, num_channels)`, the image under the operation,
            which is what the model saw; `parameters`, `(size, k)`, of each bank entry;
            `ranks`, `(size,)`, the rank of the entry that each prediction wants;
            `nearest`, `(size,)` integers, the entry that each is nearest to.
        """
        parameters = self.parameters[index]
        result = self._steps.rank(self.images[index], parameters)
        degraded = self._steps.degrade(self.images[index])
        return {
            name: {
                "degraded": degraded[row],
                "parameters": parameters,
                "ranks": result["undo"][row],
                "nearest": result["undo_nearest"][row],
            }
            for row, name in enumerate(self.operation_names)
        }
