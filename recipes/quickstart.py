"""Photos that the dependencies ship: learns to apply actions in minutes."""

SCRIPT = "examples/quickstart.py"
SETTINGS = {"--seed": 0}
DATA = {}  # nothing is needed but what is installed
MACHINE = "JAX 0.10.2, Keras 3.15.1, two cores of an AMD EPYC, float32"
SECONDS = 160  # of training

# Number: expected value, the mean of several seeds, and how far a run may be off.
EXPECTED = {
    "mrr": (0.148, 0.03),
    "mrr_chance": (0.0239, 1e-4),
    "mrr_doubled": (0.275, 0.04),
    "mrr_shuffled_action": (0.0239, 0.002),
    "mrr_swapped_image": (0.0490, 0.02),
    "hit_at_1": (0.065, 0.02),
    "knn_accuracy": (0.82, 0.04),
    "ridge_accuracy": (0.83, 0.04),
    "rankme": (17.4, 3.0),
}
