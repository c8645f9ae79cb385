"""What a user of the library writes by mistake: each marked line is one."""

import numpy as np

from keras_iwm.actions import ActionSpace, ColorJitter
from keras_iwm.backbones import read_published
from keras_iwm.callbacks import RunCheckpoint
from keras_iwm.datasets import ImageFolder, load_images
from keras_iwm.downstream import ImageClassifier, WorldModelBackbone
from keras_iwm.evaluation import extract_features, knn_accuracy

encoder = read_published("vit.safetensors")
ImageFolder("photos", image_size="96")  # WRONG
ImageFolder("photos", 96, bad_files="ignore")  # WRONG
ImageFolder(3, 96)  # WRONG
ImageFolder("photos", 96, shuffel=False)  # WRONG
images, labels = load_images("photos.npz", limit="100")  # WRONG
labels.mean()  # WRONG
ColorJitter(brightness="strong")  # WRONG
ActionSpace(ColorJitter())  # WRONG
extract_features(encoder, "photos")  # WRONG
extract_features("vit.keras", images)  # WRONG
extract_features(encoder, images, blocks="norm")  # WRONG
knn_accuracy(images, np.zeros(4), k="10")  # WRONG
knn_accuracy(images, np.zeros(4)).mean()  # WRONG
RunCheckpoint("run", mode="maximum")  # WRONG
backbone = WorldModelBackbone(encoder, protocol="freeze")  # WRONG
ImageClassifier(backbone)  # WRONG
