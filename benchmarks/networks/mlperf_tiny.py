"""Two networks of MLPerf Tiny whose test data are not public packages: judged by their answers."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import keras
import numpy as np
from keras.src.legacy.saving import legacy_h5_format

from networks.network import Network, divergence, moved
from networks.photos import other_photos, views


def vww_96(folder: Path) -> Network:
    """MobileNetV1 0.25, person or none; `vww_96.h5` in `folder`, judged on 120 views of photos."""
    with h5py.File(folder / "vww_96.h5") as file:
        config = json.loads(file.attrs["model_config"])
        for layer in config["config"]["layers"]:
            if layer["class_name"] == "DepthwiseConv2D":
                layer["config"].pop("groups", None)  # Keras 3 does not know it; it is 1
        model = keras.Model.from_config(config["config"])
        legacy_h5_format.load_weights_from_hdf5_group(file["model_weights"], model)
    loss = divergence(model, views(folder, 96).astype("float32") / 255, logits=False)
    calibration = other_photos(folder, 96).astype("float32") / 255

    def lessons(number: int):
        return moved(other_photos(folder, 96, 2000), number, by=8).astype("float32") / 255

    return Network("vww_96", model, calibration, loss, "nats", (0.005, 0.01, 0.05), lessons)


def ad01(folder: Path) -> Network:
    """An autoencoder of spectrograms; `ad01.h5` in `folder`, judged on sounds that are made up."""
    model = keras.saving.load_model(folder / "ad01.h5", compile=False)
    spectra = _spectra(seed=0, sounds=40)
    judged, calibration = spectra[: len(spectra) // 2], spectra[len(spectra) // 2 :]
    before = model.predict(judged, batch_size=500, verbose=0)
    spread = float(np.std(before - before.mean(axis=0)))

    def loss(changed: keras.Model) -> float:
        after = changed.predict(judged, batch_size=500, verbose=0)
        return 100 * float(np.sqrt(np.mean((after - before) ** 2))) / spread

    def lessons(number: int):
        return _spectra(seed=1 + number, sounds=200)

    levels = (5.0, 10.0, 20.0)
    return Network("ad01", model, calibration[:512], loss, "% of spread", levels, lessons)


def _spectra(seed: int, sounds: int) -> np.ndarray:
    """Five frames of 128 mel bands in dB, as the network's authors make them, of humming and noise.

    16 kHz, windows of 1,024 samples every 512; a sound is a hum with overtones, a slow beat and
    noise that falls with frequency.
    """
    rng = np.random.default_rng(seed)
    mel = _mel_filters(16_000, 1024, 128)
    out = []
    for _ in range(sounds):
        time = np.arange(16_000 * 2) / 16_000
        tone = rng.uniform(40, 400)
        wave = sum(
            rng.uniform(0, 1) / k * np.sin(2 * np.pi * (k * tone * time + rng.uniform()))
            for k in range(1, 30)
        )
        wave = wave * (1 + 0.3 * np.sin(2 * np.pi * rng.uniform(1, 8) * time))
        noise = np.fft.irfft(
            np.fft.rfft(rng.standard_normal(time.size)) / np.arange(1, 16_002) ** 0.5
        )
        wave = 0.1 * wave * rng.uniform(0.05, 1) + rng.uniform(0.2, 2) * noise
        frames = np.lib.stride_tricks.sliding_window_view(wave, 1024)[::512] * np.hanning(1024)
        power = np.abs(np.fft.rfft(frames)) ** 2 @ mel
        bands = 10 * np.log10(power + 1e-12)
        out.append(np.stack([bands[i : i + 5].ravel() for i in range(len(bands) - 4)]))
    return np.concatenate(out).astype("float32")


def _mel_filters(rate: int, window: int, bands: int) -> np.ndarray:
    """Triangles, evenly spaced on the mel scale: `[window / 2 + 1, bands]`."""

    def mel(hertz):
        return 2595 * np.log10(1 + hertz / 700)

    edges = 700 * (10 ** (np.linspace(0, mel(rate / 2), bands + 2) / 2595) - 1)
    hertz = np.linspace(0, rate / 2, window // 2 + 1)[:, None]
    rise = (hertz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - hertz) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rise, fall)) * 2 / (edges[2:] - edges[:-2])
