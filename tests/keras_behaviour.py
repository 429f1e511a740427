"""What Keras does only from some version on: the tests do not ask an older one for it."""

import keras

VERSION = tuple(int(part) for part in keras.version().split(".")[:2])

LOADS_TF_IDF = VERSION >= (3, 14)  # a `TextVectorization` to tf-idf, from a `.keras` file
SAVES_CONTAINERS_IN_CONTAINERS = VERSION >= (3, 15)  # layers in a dict in a list
MEASURES_IMAGES = VERSION >= (3, 15)  # `keras.applications` without weights, "at least 32x32"
