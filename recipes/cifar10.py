"""CIFAR-10: 10,000 random training images, 2,000 test images, 45 epochs."""

SCRIPT = "examples/pretrain.py"
SETTINGS = {
    "--limit": 10000,
    "--preset": "iwm_tiny_32",
    "--batch-size": 64,
    "--learning-rate": 1.5e-3,
    "--ema-momentum": 0.99,
    "--jitter-strength": 2,
    "--jitter-probability": 1,
    "--retrieval-images": 12,
    "--epochs": 45,
    "--evaluate-every": 15,
    "--conditioning": "feature",
}
DATA = {"--data": "train", "--eval-data": "test"}  # inside the folder of the data
MACHINE = "JAX 0.10.2, Keras 3.15.1, one core of an AMD EPYC, float32"
SECONDS = 681  # of training

# Number: expected value, and how far another run may be off.
EXPECTED = {
    "mrr": (0.234, 0.05),
    "mrr_doubled": (0.480, 0.08),
    "mrr_shuffled_action": (0.0227, 0.003),
    "mrr_swapped_image": (0.040, 0.015),
    "knn_accuracy": (0.362, 0.025),
    "ridge_accuracy": (0.437, 0.025),
    "rankme": (22.4, 4.0),
}
