"""Regression by a small multi-layer perceptron, the same at every call."""

import keras
import numpy as np

WIDTH, EPOCHS, BATCH_SIZE, LEARNING_RATE = 256, 15, 128, 2e-3
# Strong: with a few thousand rows, a slot that latents hardly show is soon overfitted.
WEIGHT_DECAY = 2.0
SEED = 0


def mlp_predictions(train_features, train_values, test_features):
    """Values predicted by a network of two hidden layers.

    Features and values are standardised by the training rows. It is fitted with
    AdamW for 15 epochs, its learning rate falling to 0 on a cosine; weights and
    the rows' order come from a fixed seed.

    Args:
        train_features: Array of shape `(num_train, num_features)`.
        train_values: Array of shape `(num_train, num_columns)`.
        test_features: Array of shape `(num_test, num_features)`.

    Returns:
        Float64 NumPy array of shape `(num_test, num_columns)`.
    """
    generator = np.random.default_rng(SEED)
    order = generator.permutation(len(train_features))
    mean, deviation = _moments(train_features)
    train, test = (
        ((features - mean) / deviation).astype("float32")
        for features in (train_features, test_features)
    )
    mean, deviation = _moments(train_values)
    wanted = ((train_values - mean) / deviation).astype("float32")

    def dense(units, **arguments):
        seed = int(generator.integers(2**31))
        initializer = keras.initializers.GlorotUniform(seed=seed)
        return keras.layers.Dense(
            units, kernel_initializer=initializer, dtype="float32", **arguments
        )

    network = keras.Sequential(
        [
            keras.Input((train.shape[1],)),
            dense(WIDTH, activation="gelu"),
            dense(WIDTH, activation="gelu"),
            dense(wanted.shape[1]),
        ]
    )
    steps = EPOCHS * -(-len(train) // BATCH_SIZE)
    schedule = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
    network.compile(keras.optimizers.AdamW(schedule, weight_decay=WEIGHT_DECAY), "mse")
    network.fit(
        train[order],
        wanted[order],
        batch_size=BATCH_SIZE,
        epochs=EPOCHS,
        shuffle=False,
        verbose=0,
    )
    outputs = network.predict(test, batch_size=BATCH_SIZE, verbose=0)
    return outputs * deviation + mean


def _moments(values):
    """Mean and standard deviation of each column, the latter 1 where it is 0."""
    values = np.asarray(values, "float64")
    deviation = values.std(axis=0)
    return values.mean(axis=0), np.where(deviation == 0, 1.0, deviation)
