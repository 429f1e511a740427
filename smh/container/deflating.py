"""The JSON of a file, deflated with a dictionary that reader and writer know.

A header of 400 bytes, full of names that are in every file, becomes 60. `docs/format.md` has the
dictionary, which is part of the format: it never changes.

Reference: P. Deutsch, "DEFLATE Compressed Data Format Specification", RFC 1951 (1996); preset
dictionaries: RFC 1950, section 2.2.
"""

from __future__ import annotations

import zlib

from smh.errors import ArtifactError

_RAW = -15  # window bits; negative: no header and no checksum, the file has its own
# Deflate may blow up a thousandfold. An honest text stays far below; one that does not is stored
# as it is.
MOST_PER_BYTE = 128

_ZEROS = '{"class_name":"Zeros","config":{},"module":"keras.initializers","registered_name":null}'
_FLOAT = (
    '"dtype":{"class_name":"DTypePolicy","config":{"name":"float32"},"module":"keras",'
    '"registered_name":null},'
)
_LAYER_END = '"trainable":true,"use_bias":true},"module":"keras.layers","registered_name":null},'
_KERNEL = (
    '"kernel_constraint":null,"kernel_initializer":{"class_name":"GlorotUniform","config":'
    '{"input_axes":null,"output_axes":null,"seed":null},"module":"keras.initializers",'
    '"registered_name":null},"kernel_regularizer":null,'
)
_BIAS = f'"bias_constraint":null,"bias_initializer":{_ZEROS},"bias_regularizer":null,'
_ARCHITECTURE = "".join(
    [
        '{"class_name":"Functional","config":{"layers":[{"class_name":"GlobalAveragePooling2D"',
        '{"class_name":"Activation","Add","Concatenate","LayerNormalization","Embedding","LSTM",',
        '"Dropout","config":{',
        _FLOAT,
        '"name":"dropout","noise_shape":null,"rate":0.5,"seed":null,"trainable":true}',
        '"class_name":"BatchNormalization","config":{"axis":-1,"beta_constraint":null,',
        f'"beta_initializer":{_ZEROS},"beta_regularizer":null,"center":true,',
        _FLOAT,
        '"epsilon":0.001,"gamma_constraint":null,"gamma_initializer":{"class_name":"Ones",',
        '"config":{},"module":"keras.initializers","registered_name":null},"gamma_regularizer":',
        f'null,"momentum":0.99,"moving_mean_initializer":{_ZEROS},"moving_variance_initializer":',
        '{"class_name":"Ones","config":{},"module":"keras.initializers","registered_name":null},',
        '"name":"batch_normalization","renorm":false,"renorm_clipping":null,"renorm_momentum":',
        '0.99,"scale":true,"synchronized":false,"trainable":true},"module":"keras.layers",',
        '"registered_name":null},{"build_config":{"input_shape":[null,28,28,1]},"class_name":',
        '"Sequential","config":{"build_input_shape":[null,28,28,1],',
        _FLOAT,
        '"layers":[{"class_name":"InputLayer","config":{"batch_shape":[null,28,28,1],"dtype":',
        '"float32","name":"input_layer","optional":false,"ragged":false,"sparse":false},"module":',
        '"keras.layers","registered_name":null},{"build_config":{"input_shape":[null,28,28,1]},',
        '"class_name":"Conv2D","config":{"activation":"linear","activity_regularizer":null,',
        _BIAS,
        '"data_format":"channels_last","dilation_rate":[1,1],',
        _FLOAT,
        '"filters":32,"groups":1,',
        _KERNEL,
        '"kernel_size":[3,3],"name":"conv","padding":"same","strides":[1,1],',
        _LAYER_END,
        '{"class_name":"MaxPooling2D","config":{"data_format":"channels_last",',
        _FLOAT,
        '"name":"max_pooling2d","padding":"valid","pool_size":[2,2],"strides":[2,2],"trainable":',
        'true},"module":"keras.layers","registered_name":null},{"build_config":{"input_shape":',
        '[null,12,12,16]},"class_name":"Flatten","config":{"data_format":"channels_last",',
        _FLOAT,
        '"name":"flatten","trainable":true},"module":"keras.layers","registered_name":null},',
        '{"build_config":{"input_shape":[null,100]},"class_name":"Dense","config":{"activation":',
        '"relu",',
        _BIAS,
        _FLOAT,
        _KERNEL,
        '"name":"dense","quantization_config":null,"trainable":true,"units":10,"use_bias":true},',
        '"module":"keras.layers","registered_name":null}],"name":"model","trainable":true},',
        '"module":"keras","registered_name":null},',
    ]
)
_FUNCTIONAL = (
    '"inbound_nodes":[{"args":[{"class_name":"__keras_tensor__","config":{"dtype":"float32",'
    '"keras_history":["input_layer",0,0],"shape":[null,32,32,3]}}],"kwargs":{"mask":null}}],'
    '"inbound_nodes":[],"input_layers":["input_layer",0,0],"output_layers":["dense",0,0]'
)
_OTHERS = (
    '{"class":"smh>HashVariablePool","config":{"product":{"kind":"hash","length":1000,"seed":0}'
    '{"class":"smh>MetaVariablePool","config":{"pools":[{"config":{"position":0}}],"reduce_by":'
    '"SUM"}"kind":"kronecker""factors":[0,null],"inside":{"weights":[{"parametrization":{"class":'
    '"smh>Masked","config":{}},"parts":[{"name":"weight","tensor":0},{"dtype":"bool","name":"mask",'
    '"tensor":0,"trainable":false}],"path":"ProductVariablePool/variable_left","pool":null,'
    '"shape":[100,8]},"variable":1{"class":"smh>Clustered","config":{"pruned":true}},"parts":[{'
    '"name":"codebook","shape":[16]},{"dtype":"int32","name":"index","tensor":0,"trainable":false}]'
    '"smh>ChainModifier","config":{"modifiers":[{"class":"smh>FunctionModifier","config":{'
    '"function":"smh>constant_fanout_scale_modifier"}}"smh>sign_fw_modifier""name":"scale"'
    '"index_store_type":"cyclic""padding""begin":1000,"frozen":true,"hidden":true,"places":[1],'
    '"name":"seed_generator_state","numbers":[0,1,2,3],"variable":1'
    '"bits":8,"coding":"codebook","size":16,"values":"float16"{"coding":"sparse","shape":[1000],'
    '"values":{"coding":"raw","dtype":"bfloat16""row""column""int32"'
)
_ROUNDED = '{"class":"smh>FakeQuantized","config":{"bits":4,"per":"tensor","ratio":64}}'
_MODELS = "".join(
    [
        '{"meta":{"models":[{"name":"model","pools":[{}],"variables":[{"path":"conv/bias","shape":',
        '[32]},{"path":"batch_normalization/gamma","shape":[32]},{"path":"batch_normalization/beta',
        '"},{"path":"batch_normalization/moving_mean"},{"path":"batch_normalization/moving_variance',
        '"},{"path":"dense/bias","shape":[10]}],"weights":[{"layers":[1],"path":"dense/kernel",',
        '"shape":[100,10]},{"meta":{"models":[{"name":"model","pools":[{"config":{"wrappings":[',
        f"{_ROUNDED},{_ROUNDED}",
        ']}}],"weights":[{"layers":[2],"parametrization":{"class":"smh>PoolSlice",',
        '"config":{"modifier":{"class":"smh>LogScaleModifier","config":{"initial":',
        '"smh>starts_at_initial_std","name":"log_scale"}}}},"parts":[{"name":"log_scale","shape":[]',
        '}],"path":"model/conv1/kernel","shape":[3,3,1,16]},{"path":"model/conv1/bias","shape":[16]',
        '},{"layers":[4],"path":"model/fc1/kernel","pool":1,"shape":[100,10]}]}]},"tensors":[{',
        '"bits":4,"coding":"uniform","length":1000,"per":"tensor","scale":"float32","shape":[100,8]',
        '},{"length":1000,"shape":[8,100]},{"coding":"planes","dtype":"float16","length":100,"shape',
        '":[50]},{"coding":"raw","dtype":"float16","length":100,"shape":[50]}]}',
    ]
)
DICTIONARY = (_OTHERS + _ARCHITECTURE + _FUNCTIONAL + _MODELS).encode()


def deflate(text: bytes) -> bytes | None:
    """Returns the text deflated, or `None` where that is not shorter, or blows up too much.

    The bytes depend on the version of zlib; what `inflate` makes of them does not.
    """
    packer = zlib.compressobj(9, zlib.DEFLATED, _RAW, 9, zlib.Z_DEFAULT_STRATEGY, DICTIONARY)
    deflated = packer.compress(text) + packer.flush()
    return deflated if len(deflated) < len(text) <= MOST_PER_BYTE * len(deflated) else None


def inflate(data: bytes, limit: int) -> bytes:
    """Returns the text that `deflate` packed, or raises `ArtifactError`.

    Args:
        data: what `deflate` returned.
        limit: the most bytes that the text may have; never more than 128 for each byte of `data`.

    Cost: memory of the text, which is never larger than the limit.
    """
    most = min(limit, MOST_PER_BYTE * len(data))
    unpacker = zlib.decompressobj(_RAW, zdict=DICTIONARY)
    try:
        text = unpacker.decompress(data, most + 1)
    except zlib.error as error:
        raise ArtifactError(f"deflated text is damaged: {error}") from error
    if len(text) > most:
        raise ArtifactError(f"deflated text of {len(data):,} bytes has more than {most:,}")
    if not unpacker.eof or unpacker.unused_data:
        raise ArtifactError("deflated text ends too early, or is followed by other bytes")
    return text
