"""Features of whole folders of images, in files that search and other programs read."""

from keras_iwm.embeddings.embed_folder import embed_folder as embed_folder
from keras_iwm.embeddings.load_embeddings import load_embeddings as load_embeddings
