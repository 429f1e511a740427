"""The ONNX file of a model, by tf2onnx."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from smh.errors import ArgumentError
from smh.exporting.failure import CannotExport, others_errors, quiet
from smh.exporting.low_bit.integers import is_pruned, seen_as_constants, written_with
from smh.exporting.low_bit.onnx_writing import with_integers
from smh.exporting.onnx_names import graphs_of, shorten
from smh.exporting.samples import Sample
from smh.exporting.serving import factors_of, refuse_state, serving_function
from smh.exporting.signatures import Signature, tensor_specs

OPTIONS = ("opset",)


def write(model: keras.Layer, signature: Signature, path: str, options: dict) -> None:
    """Writes the file `path`.

    For the converter the factors are further inputs of the function, about which it knows nothing.
    In its graph they then become initializers, which is what ONNX calls stored tensors.
    """
    import onnx

    replace = functools.partial(with_integers, pruned=is_pruned(model))
    with seen_as_constants(model) as whole:
        proto = written_with(whole, lambda more: _written(model, signature, options, more), replace)
    _refuse_old_opset(proto)
    shorten(proto)
    with others_errors():
        onnx.checker.check_model(proto)
    onnx.save(proto, path)


def _written(
    model: keras.Layer, signature: Signature, options: dict, more: list[keras.Variable]
) -> Any:
    """The converter's file; `more` is what must not be folded either."""
    import onnx

    factors = {f"smh_factor_{i}": f for i, f in enumerate([*factors_of(model), *more])}
    with others_errors():
        concrete = _traced(model, signature, factors)
        _refuse_bfloat16(concrete)
        proto = _converted(concrete, [*_names(signature), *factors], options)
    _refuse_unknown_operations(proto)
    graph = proto.graph
    inputs = [value for value in graph.input if value.name not in factors]
    # What is rounded is read as whole numbers, and the floats behind it not at all.
    used = {name for node in _nodes(graph) for name in node.input} & factors.keys()
    del graph.input[:]
    graph.input.extend(inputs)
    for name in sorted(used):
        array = keras.ops.convert_to_numpy(factors[name].value)
        graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return proto


def run(path: str, signature: Signature, sample: Sample, options: dict) -> list[np.ndarray]:
    """What the file computes, by onnxruntime, or else by the reference implementation of onnx."""
    del options
    given = dict(zip(_names(signature), sample.inputs, strict=True))
    with others_errors():
        session, inputs = _session(path)
        return session.run(None, {name: given[name] for name in inputs})


def _session(path: str) -> tuple[Any, list[str]]:
    if importlib.util.find_spec("onnxruntime") is None:
        from onnx.reference import ReferenceEvaluator

        evaluator = ReferenceEvaluator(path)
        return evaluator, list(evaluator.input_names)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # what fails raises
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session, [given.name for given in session.get_inputs()]


def _names(signature: Signature) -> list[str]:
    return [spec.name for spec in keras.tree.flatten(signature)]


def _traced(model: keras.Layer, signature: Signature, factors: dict) -> Any:
    """A concrete function of the model's inputs and the factors."""
    import tensorflow as tf

    extra = [tf.TensorSpec(f.shape, f.dtype, name=name) for name, f in factors.items()]
    serve, assigned = serving_function(
        model, len(signature), lambda inputs, more: list(zip(factors.values(), more, strict=True))
    )
    arguments = [*tensor_specs(signature), *extra]
    # Not AutoGraph: it would rewrite the layers' source.
    function = tf.function(_inlined(serve), input_signature=arguments, autograph=False)
    concrete = function.get_concrete_function()
    refuse_state(model, signature, assigned, "onnx")
    return concrete


def _inlined(serve: Any) -> Any:
    """Calls `serve` so that functions inside of it are no calls in its graph.

    A convolution in groups is a function of its own for Keras, to be compiled by XLA. tf2onnx
    (1.17) leaves a call of such a function as it is, which ONNX has nothing for.
    """
    import tensorflow as tf

    def inlined(*arguments):
        before = tf.config.functions_run_eagerly()
        tf.config.run_functions_eagerly(True)
        try:
            return serve(*arguments)
        finally:
            tf.config.run_functions_eagerly(before)

    return inlined


def _converted(concrete: Any, names: Sequence[str], options: dict) -> Any:
    """The ONNX model of a concrete function, whose inputs get `names`.

    Not by `tf2onnx.convert.from_function` (1.17). To that the tensors that a function captures, the
    mean of a normalisation or the factor of a regulariser, are inputs, which nobody can feed.
    """
    import tf2onnx

    own = len(concrete.inputs) - len(concrete.captured_inputs)
    inputs = [tensor.name for tensor in concrete.inputs[:own]]
    outputs = [tensor.name for tensor in concrete.outputs]
    renamed = dict(zip(inputs, names, strict=True))
    renamed.update((t.name, n) for t, n in _named_outputs(concrete) if n not in names)
    # It calls what is deprecated, and reports as an error that it does not recognise the loop of an
    # LSTM whose weights are computed as ONNX's LSTM, and then converts the loop.
    with quiet("tf2onnx"), quiet("tensorflow"):
        graph = tf2onnx.tf_loader.from_function(concrete, inputs, outputs)
        proto, _ = tf2onnx.convert.from_graph_def(
            graph,
            input_names=inputs,
            output_names=outputs,
            tensors_to_rename=renamed,
            custom_op_handlers={name: (make, []) for name, make in _HANDLERS.items()},
            **options,
        )
    return proto


def _named_outputs(concrete: Any) -> Iterator[tuple[Any, str]]:
    """The outputs with their names: keys of a dictionary, else those of a LiteRT signature."""
    outputs = concrete.structured_outputs
    if isinstance(outputs, dict) and all(hasattr(tensor, "name") for tensor in outputs.values()):
        yield from ((tensor, str(key)) for key, tensor in outputs.items())
    else:
        yield from ((t, f"output_{i}") for i, t in enumerate(keras.tree.flatten(outputs)))


def _erfc(context: Any, node: Any, name: str, arguments: Any) -> None:
    """The complement of the error function, in Keras' exact GELU: 1 - erf(x)."""
    del arguments
    dtype = context.get_dtype(node.input[0])
    erf = context.make_node("Erf", node.input[:1], op_name_scope=name)
    _replace(context, node, "Sub", [_one(context, name, dtype), erf.output[0]])


def _expm1(context: Any, node: Any, name: str, arguments: Any) -> None:
    """exp(x) - 1, in CELU: exact to the last bits of 1, not of the result."""
    del arguments
    dtype = context.get_dtype(node.input[0])
    power = context.make_node("Exp", node.input[:1], op_name_scope=name)
    _replace(context, node, "Sub", [power.output[0], _one(context, name, dtype)])


def _log1p(context: Any, node: Any, name: str, arguments: Any) -> None:
    """log(1 + x), as exact as `1 + x` is."""
    del arguments
    one = _one(context, name, context.get_dtype(node.input[0]))
    more = context.make_node("Add", [node.input[0], one], op_name_scope=name)
    _replace(context, node, "Log", more.output)


# TensorFlow's operations that tf2onnx (1.17) lacks and ONNX can express.
_HANDLERS = {"Erfc": _erfc, "Expm1": _expm1, "Log1p": _log1p}


def _one(context: Any, name: str, dtype: int) -> str:
    import tf2onnx

    one = np.array(1, tf2onnx.utils.map_onnx_to_numpy_type(dtype))
    return context.make_const(tf2onnx.utils.make_name(name), one).output[0]


def _replace(context: Any, node: Any, kind: str, inputs: list[str]) -> None:
    shapes, dtypes = [context.get_shape(node.output[0])], [context.get_dtype(node.output[0])]
    outputs = node.output
    context.remove_node(node.name)
    context.make_node(kind, inputs, outputs=outputs, name=node.name, shapes=shapes, dtypes=dtypes)


def _refuse_bfloat16(concrete: Any) -> None:
    """ONNX's runtime has few operations for it, and tf2onnx writes float16, which overflows."""
    found = [
        (operation.type, operation.name)
        for operation in concrete.graph.get_operations()
        if any(tensor.dtype.name == "bfloat16" for tensor in operation.outputs)
        and operation.type not in ("Placeholder", "Const", "ReadVariableOp")
    ]
    if found:
        raise CannotExport("ONNX's runtimes do not compute in bfloat16.", found)


def _refuse_unknown_operations(proto: Any) -> None:
    """tf2onnx leaves what it cannot convert in the graph, under TensorFlow's name."""
    found = _unknown_operations(proto)
    if found:
        raise CannotExport(
            f"tf2onnx has nothing for {', '.join(sorted({kind for kind, _ in found}))}.", found
        )


def _refuse_old_opset(proto: Any) -> None:
    """What reads whole numbers and leaves out zeros is of the eleventh set of operations."""
    found = sorted({kind for kind, _ in _unknown_operations(proto)})
    if found:
        version = max(entry.version for entry in proto.opset_import)
        raise ArgumentError(
            f"opset={version} lacks {', '.join(found)}, by which weights of few bits and pruned "
            "ones are read. Write opset=11 or more, or mode='dense'."
        )


def _unknown_operations(proto: Any) -> list[tuple[str, str]]:
    """The operations that the model's versions of ONNX do not have, and names of their nodes."""
    import onnx

    versions = {entry.domain: entry.version for entry in proto.opset_import}
    return [
        (node.op_type, node.name)
        for node in _nodes(proto.graph)
        if not onnx.defs.has(node.op_type, versions.get(node.domain, 0), node.domain)
    ]


def _nodes(graph: Any) -> Iterator[Any]:
    return (node for inner in graphs_of(graph) for node in inner.node)
