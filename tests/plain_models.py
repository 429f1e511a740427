"""Weights of an artifact in plain Python: written from the chapter "Models" of docs/format.md.

Like `plain_reader`, it shares no code with smh and trusts the file.
"""

import math

import plain_reader

WEIGHT = {
    "dtype": "float32",
    "frozen": False,
    "parametrization": {
        "class": "smh>PoolSlice",
        "config": {"modifier": {"class": "smh>ScaleModifier", "config": {"name": "scale"}}},
    },
    "parts": [{"name": "scale", "shape": []}],
    "pool": 0,
    "shape": [],
}
VARIABLE = {"dtype": "float32", "hidden": False, "shape": []}
FACTORS = {"matrix": 2, "blocks": 2, "kronecker": 2, "hash": 1}


def states(data):
    """Returns for each model `{layer's name: {key or path: numbers or bytes}}`."""
    meta, tensors = plain_reader.read(data)
    entries = [entry.get("states", []) for entry in meta["models"]]
    numbers = [
        number
        for entry in entries
        for state in entry
        for part in ("values", "assets")
        for number in state.get(part, {}).values()
    ]
    extra = list(tensors.values())[len(tensors) - len(set(numbers)) :]
    return [
        {
            state["name"]: {
                **{key: extra[i][1] for key, i in state.get("values", {}).items()},
                **{path: bytes(extra[i][1]) for path, i in state.get("assets", {}).items()},
            }
            for state in entry
        }
        for entry in entries
    ]


def weights(data):
    """Returns for each model `{path: (shape, flat list of numbers)}`."""
    meta, tensors = plain_reader.read(data)
    file = File(list(tensors.values()), meta.get("kinds", False))
    models = [file.model(model) for model in meta["models"]]
    file.place_the_flat()
    return [{path: (shape, value()) for path, (shape, value) in model.items()} for model in models]


class File:
    """Comes across the stored variables one after the other."""

    def __init__(self, tensors, kinds):
        self.tensors = tensors
        self.kinds = kinds
        self.used = 0
        self.variables = []  # [tensor, begin, size], the first a key of `flat` until it is known
        self.flat = {}  # dtype, or with kinds dtype and last part of the path: numbers so far
        self.extra = set()  # tensors behind those, of the states of layers

    def model(self, entry):
        numbers = iter(entry.get("numbers") or iter(lambda: len(self.variables), None))
        pools = [self.pool(pool, numbers) for pool in entry.get("pools", [])]
        found, ends = {}, {}
        for weight in following(entry.get("weights", []), WEIGHT):
            begin = weight.pop("begin", ends.get(weight["pool"], 0))
            ends[weight["pool"]] = begin + math.prod(weight["shape"])
            found[weight["path"]] = weight["shape"], self.weight(weight, numbers, pools, begin)
        for variable in following(entry.get("variables", []), VARIABLE):
            size = math.prod(variable["shape"])
            value = self.take(numbers, variable["dtype"], size, variable["path"])
            if not variable["hidden"]:
                found[variable["path"]] = variable["shape"], value
        for state in entry.get("states", []):
            self.extra.update(state.get("values", {}).values(), state.get("assets", {}).values())
        return found

    def take(self, numbers, dtype, size, path, own=None):
        """Returns what computes the value of the next variable; `own()` is its tensor."""
        number = next(numbers)
        if number == len(self.variables):
            if own is None:
                key = (dtype, path.split("/")[-1]) if self.kinds else dtype
                self.variables.append([key, self.flat.get(key, 0), size])
                self.flat[key] = self.flat.get(key, 0) + size
            else:
                tensor = own()
                self.variables.append([tensor, 0, len(self.tensors[tensor][1])])
        return Value(self.tensors, self.variables[number])

    def next_tensor(self):
        self.used += 1
        return self.used - 1

    def tensor_of(self, key, own):
        def tensor():
            if key not in own:
                own[key] = self.next_tensor()
            return own[key]

        return tensor

    def place_the_flat(self):
        places = {dtype: self.used + i for i, dtype in enumerate(self.flat)}
        assert self.used + len(places) + len(self.extra) == len(self.tensors)
        assert self.extra == set(range(len(self.extra)))
        for variable in self.variables:
            variable[0] = places.get(variable[0], variable[0])

    def weight(self, weight, numbers, pools, begin):
        size, own, parts = math.prod(weight["shape"]), {}, {}
        for part in weight["parts"]:
            size_of_part = math.prod(part.get("shape", weight["shape"]))
            tensor = self.tensor_of(part["tensor"], own) if "tensor" in part else None
            dtype = part.get("dtype", "float32")
            path = part.get("path", f"{weight['path']}/{part['name']}")
            parts[part["name"]] = self.take(numbers, dtype, size_of_part, path, tensor)
        if weight["frozen"]:
            return self.take(numbers, weight["dtype"], size, "frozen")
        kind, config = weight["parametrization"]["class"], weight["parametrization"]["config"]
        if kind == "smh>PoolSlice":
            pool = pools[weight["pool"]]
            modifier = config["modifier"]
            return lambda: modified(modifier, pool(begin, size), parts, weight["shape"])
        return lambda: own_numbers(kind, config, {name: part() for name, part in parts.items()})

    def pool(self, pool, numbers):
        """Returns a function of begin and length: what lies there."""
        config = pool.get("config", {})
        inner = [inner.get("config", {}) for inner in config.get("pools", [])] or [config]
        kinds = [c.get("product", {}).get("kind", "matrix") for c in inner]
        computed = pool.get("factors", [None] * sum(FACTORS[kind] for kind in kinds))
        factors = [
            None if at is not None else self.take(numbers, "", 0, "", self.next_tensor)
            for at in computed
        ]
        inside = [
            (self.weight(weight, numbers, [], 0), weight["shape"])
            for weight in following(pool.get("inside", {"weights": []})["weights"], WEIGHT)
        ]
        factors = [
            (factor, factor.shape()) if at is None else inside[at]
            for factor, at in zip(factors, computed, strict=True)
        ]
        terms = []
        for kind, one in zip(kinds, inner, strict=True):
            own, factors = factors[: FACTORS[kind]], factors[FACTORS[kind] :]
            terms.append(product(kind, one.get("product", {}), own))
        join = math.prod if config.get("reduce_by") == "PROD" else sum
        size = min(term[0] for term in terms)

        def entry(i):
            if i >= size and config.get("index_store_type") == "padding":
                return 0.01
            return join(term[1](i % size) for term in terms)

        return lambda begin, length: [entry(i) for i in range(begin, begin + length)]


class Value:
    """Computes the value of a stored variable, once it is known where it lies."""

    def __init__(self, tensors, place):
        self.tensors, self.place = tensors, place

    def __call__(self):
        tensor, begin, size = self.place
        return self.tensors[tensor][1][begin : begin + size]

    def shape(self):
        return self.tensors[self.place[0]][0]


def following(entries, before):
    """Entries with what they have from the one before."""
    for entry in entries:
        whole = {**before, **entry}
        before = {k: v for k, v in whole.items() if k not in ("path", "begin", "variable")}
        yield whole


def product(kind, config, factors):
    """Returns size, and a function of the index of an entry."""
    values, shapes = [f[0] for f in factors], [f[1] for f in factors]
    if kind == "hash":
        assert config["seed"] is None, "the random hash is that of smh/pools/hashing.py"
        return config["length"], lambda i: values[0]()[i % shapes[0][0]]
    if kind in ("matrix", "blocks"):
        (rows, replicas), (rows_of_all, cols) = shapes
        rows_of_block = rows * replicas // rows_of_all

        def dot(i):
            row, col = divmod(i, cols)
            first = row // rows_of_block * replicas  # row of `R` where the block begins
            return sum(
                values[0]()[row * replicas + k] * values[1]()[(first + k) * cols + col]
                for k in range(replicas)
            )

        return rows * cols, dot
    replicas, side, _ = shapes[0]

    def entry(i):
        (a, p), (b, q) = divmod(i // side**2, side), divmod(i % side**2, side)
        return sum(
            values[0]()[(k * side + a) * side + b] * values[1]()[(k * side + p) * side + q]
            for k in range(replicas)
        )

    return side**4, entry


def modified(modifier, numbers, parts, shape):
    kind, config = modifier["class"], modifier["config"]
    if kind == "smh>ChainModifier":
        taken = []
        for inner in config["modifiers"]:
            own = {}
            name = inner["config"].get("name")
            if name is not None:
                copies = (f"{name}_{i}" if i else name for i in range(len(taken) + 1))
                copy = next(copy for copy in copies if copy not in taken)
                taken.append(copy)
                own = {name: parts[copy]}
            numbers = modified(inner, numbers, own, shape)
        return numbers
    if kind == "smh>FunctionModifier":
        assert config["function"] == "smh>sign_fw_modifier"
        return [(n > 0) - (n < 0) for n in numbers]
    (scale,) = parts[config["name"]]()
    scale = math.exp(scale) if kind == "smh>LogScaleModifier" else scale
    return [n * scale for n in numbers]


def own_numbers(kind, config, parts):
    if kind == "smh>Masked":
        return [w if m else 0 for w, m in zip(parts["weight"], parts["mask"], strict=True)]
    if kind == "smh>Clustered":
        table = [0, *parts["codebook"]] if config["pruned"] else parts["codebook"]
        return [table[int(i)] for i in parts["index"]]
    if kind == "smh>Stepped":  # the steps are in the weight's own tensor as well
        return parts["weight"]
    (numbers,) = parts.values()
    return numbers
