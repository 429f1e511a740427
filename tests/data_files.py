"""Small data sets in the formats of the large ones."""

import gzip
import hashlib
import io
import json
import pickle
import struct
import tarfile

import numpy as np


def images(n, *shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def labels(n, classes=10):
    return (np.arange(n) % classes).astype(np.uint8)


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


IDX_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def mnist_arrays(train=60, test=20):
    parts = images(train, 28, 28), labels(train), images(test, 28, 28, seed=1), labels(test)
    return dict(zip(IDX_NAMES, parts, strict=True))


def write_idx_set(folder, packed=False, dot=False, **counts):
    """Writes four IDX files and returns their arrays by name."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = mnist_arrays(**counts)
    for name, array in arrays.items():
        name = name.replace("-idx", ".idx") if dot else name
        data = gzip.compress(idx(array)) if packed else idx(array)
        (folder / (name + ".gz" * packed)).write_bytes(data)
    return arrays


def cifar_files(version, per_file=20, old_pickle=True):
    """The files of one version by name, and all images `[n, 32, 32, 3]` and labels, test last."""
    hundred, binary = version.startswith("cifar-100"), version.endswith(("bin", "binary"))
    names = ["train", "test"] if hundred else [f"data_batch_{i}" for i in range(1, 6)]
    names += [] if hundred else ["test_batch"]
    files, all_images, all_labels = {}, [], []
    for number, name in enumerate(names):
        pixels = images(per_file, 32, 32, 3, seed=number)
        fine = (np.arange(per_file) * 7 + number) % (100 if hundred else 10)
        coarse = fine // 5
        rows = pixels.transpose(0, 3, 1, 2).reshape(per_file, -1)
        if binary:
            columns = ([coarse] if hundred else []) + [fine]
            data = np.concatenate([np.stack(columns, 1).astype(np.uint8), rows], 1).tobytes()
            files[f"{name}.bin"] = data
        else:
            key = "fine_labels" if hundred else "labels"
            batch = {"data": rows, key: fine.tolist(), "filenames": ["a.png"] * per_file}
            batch |= {"coarse_labels": coarse.tolist()} if hundred else {}
            batch = {k.encode(): v for k, v in batch.items()} if old_pickle else batch
            files[name] = pickle.dumps(batch, protocol=2)
        all_images.append(pixels)
        all_labels.append(fine)
    class_names = [f"class {i}" for i in range(100 if hundred else 10)]
    if binary:
        file = "fine_label_names.txt" if hundred else "batches.meta.txt"
        files[file] = ("\n".join(class_names) + "\n\n").encode()
    else:
        key = b"fine_label_names" if hundred else b"label_names"
        files["meta" if hundred else "batches.meta"] = pickle.dumps({key: class_names}, 2)
    return files, all_images, all_labels


def cifar_pictures(per_file=20):
    """The files of the npm package by name, its images and labels, and the checksums of both."""
    from PIL import Image

    files, all_images, all_labels, sums = {}, [], [], {}
    for number, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        pixels = images(per_file, 32, 32, 3, seed=number)
        numbers = (np.arange(per_file) * 7 + number) % 10
        buffer = io.BytesIO()
        Image.fromarray(pixels.reshape(per_file, 1024, 3)).save(buffer, "PNG")
        files[f"{name}.png"] = buffer.getvalue()
        records = [bytes([y]) + x.transpose(2, 0, 1).tobytes()
                   for x, y in zip(pixels, numbers, strict=True)]  # fmt: skip
        sums[f"{name}.png"] = hashlib.sha256(b"".join(records)).hexdigest()
        all_images.append(pixels)
        all_labels.append(numbers)
    files["train_lables.json"] = json.dumps(np.concatenate(all_labels[:-1]).tolist()).encode()
    files["test_lables.json"] = json.dumps(all_labels[-1].tolist()).encode()
    return files, all_images, all_labels, sums


def tar_bytes(files, top):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"{top}/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def picture(color, size=(12, 10), ending="png"):
    """A picture file of one colour; `size` is (width, height)."""
    from PIL import Image

    buffer = io.BytesIO()
    kinds = {"png": "PNG", "jpeg": "JPEG", "gif": "GIF"}
    Image.new("RGB", size, color).save(buffer, kinds[ending.lower()])
    return buffer.getvalue()


def write_tree(root, files):
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
