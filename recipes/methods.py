"""CIFAR-10: six methods on one encoder, at equal compute, three seeds each."""

SCRIPT = "examples/compare_methods.py"
SETTINGS = {
    "--limit": 10000,
    "--methods": ("iwm", "ijepa", "mae", "moco", "byol", "autoregressive"),
    "--epochs-of": "iwm:10",
    "--learning-rate": 1.5e-3,
    "--seeds": 3,
}
DATA = {"--data": "train", "--eval-data": "test"}  # inside the folder of the data
MACHINE = "JAX 0.10.2, Keras 3.15.1, cores of an AMD EPYC with other jobs, float32"
SECONDS = 5026  # of training, all runs together

# Mean over seeds: expected value, and how far another comparison may be off.
EXPECTED = {
    "iwm knn": (0.291, 0.04),
    "iwm linear": (0.369, 0.04),
    "iwm attentive": (0.415, 0.04),
    "iwm finetuned": (0.443, 0.04),
    "iwm action_r2": (0.389, 0.06),
    "iwm mrr": (0.171, 0.04),
    "ijepa knn": (0.230, 0.04),
    "ijepa linear": (0.319, 0.04),
    "ijepa attentive": (0.374, 0.04),
    "ijepa finetuned": (0.400, 0.04),
    "ijepa action_r2": (0.266, 0.06),
    "mae knn": (0.336, 0.04),
    "mae linear": (0.419, 0.04),
    "mae attentive": (0.445, 0.04),
    "mae finetuned": (0.487, 0.04),
    "mae action_r2": (0.374, 0.06),
    "moco knn": (0.315, 0.04),
    "moco linear": (0.372, 0.04),
    "moco attentive": (0.405, 0.04),
    "moco finetuned": (0.427, 0.04),
    "moco action_r2": (0.399, 0.06),
    "byol knn": (0.280, 0.04),
    "byol linear": (0.364, 0.04),
    "byol attentive": (0.392, 0.04),
    "byol finetuned": (0.420, 0.04),
    "byol action_r2": (0.357, 0.06),
    "autoregressive knn": (0.305, 0.04),
    "autoregressive linear": (0.398, 0.04),
    "autoregressive attentive": (0.438, 0.04),
    "autoregressive finetuned": (0.482, 0.04),
    "autoregressive action_r2": (0.341, 0.06),
}
