"""Tiny-ImageNet, 50 of its classes at 32 px: 25,000 images, 18 epochs."""

SCRIPT = "examples/pretrain.py"
SETTINGS = {
    "--limit": 25000,
    "--preset": "iwm_tiny_32",
    "--batch-size": 64,
    "--learning-rate": 1.5e-3,
    "--ema-momentum": 0.99,
    "--jitter-strength": 2,
    "--jitter-probability": 1,
    "--retrieval-images": 12,
    "--epochs": 18,
    "--evaluate-every": 6,
    "--conditioning": "feature",
}
DATA = {"--data": "train", "--eval-data": "val"}  # inside the folder of the data
MACHINE = "JAX 0.10.2, Keras 3.15.1, one core of an AMD EPYC, float32"
SECONDS = 1100  # of training

# Number: expected value, and how far another run may be off.
EXPECTED = {
    "mrr": (0.231, 0.05),
    "mrr_shuffled_action": (0.0239, 0.003),
    "knn_accuracy": (0.107, 0.02),
}
