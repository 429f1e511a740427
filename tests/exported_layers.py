"""Layers of the table of exported models. They know nothing of smh: files are run without it."""

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="tests")
class Halved(layers.Layer):
    def call(self, x):
        return ops.glu(x)


@keras.saving.register_keras_serializable(package="tests")
class FourierMix(layers.Layer):
    """The real part of a Fourier transform: few runtimes have one."""

    def call(self, x):
        return ops.fft((x, ops.zeros_like(x)))[0]


@keras.saving.register_keras_serializable(package="tests")
class Sampled(layers.Layer):
    """Adds noise at inference: its output depends on the state of a generator."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seeds = keras.random.SeedGenerator(3)

    def call(self, x):
        return x + keras.random.normal(ops.shape(x), seed=self.seeds)
