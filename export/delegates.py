"""What the delegates of phones are known not to take, as data. No TensorFlow.

A rule finds an operator that a delegate leaves to the CPU, and says where that is
written: in the delegate's documentation or source code; none is a guess of ours. Rules
are a lower bound, as drivers refuse more. NNAPI is left out: Android 15 deprecated it
(developer.android.com/ndk/guides/neuralnetworks/migration-guide).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Literal

from export.tflite_graph import Operator


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a piece of knowledge is from."""

    origin: Literal["documentation", "source code"]
    text: str


@dataclasses.dataclass(frozen=True)
class Rule:
    """`find` returns why the delegate does not take an operator, None if it may."""

    find: Callable[[Operator], str | None]
    source: Source


@dataclasses.dataclass(frozen=True)
class Delegate:
    """An accelerator, the first of whose rules that finds something counts.

    `remarks` hold for every file.
    """

    name: str
    rules: tuple[Rule, ...]
    remarks: tuple[str, ...] = ()


def _not_among(names: frozenset[str]) -> Callable[[Operator], str | None]:
    return lambda operator: (
        None if operator.name in names else "not among the operators that it takes"
    )


def _among(names: frozenset[str]) -> Callable[[Operator], str | None]:
    def find(operator: Operator) -> str | None:
        name = "CUSTOM" if operator.is_custom else operator.name
        return "among the operators that it does not take" if name in names else None

    return find


def _newer_than(versions: Mapping[str, int]) -> Callable[[Operator], str | None]:
    def find(operator: Operator) -> str | None:
        newest = versions.get(operator.name, operator.version)
        if operator.version <= newest:
            return None
        return f"version {operator.version}, where it takes up to version {newest}"

    return find


def _has_many_axes(operator: Operator) -> str | None:
    num_axes = max((len(tensor.shape) for tensor in operator.tensors), default=0)
    return f"a tensor of {num_axes} axes, where it takes up to 4" * (num_axes > 4)


# Operators whose other inputs, such as a new shape, must stand in the file.
GPU_ONE_INPUT = frozenset(
    {
        *("MEAN", "MIRROR_PAD", "PAD", "PADV2", "REDUCE_MAX", "REDUCE_MIN"),
        *("REDUCE_PROD", "RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"),
        *("SPACE_TO_DEPTH", "SUM", "TILE", "TRANSPOSE"),
    }
)


def _has_computed_shape(operator: Operator) -> str | None:
    num_inputs = sum(not tensor.is_constant for tensor in operator.inputs)
    if num_inputs < 2 or operator.name not in GPU_ONE_INPUT:
        return None
    return f"{num_inputs} inputs computed at run time, where it takes one"


def _changes_batch(operator: Operator) -> str | None:
    sizes = {t.shape[0] for t in operator.tensors if t.shape and not t.is_constant}
    if len(sizes) < 2:
        return None
    return (
        f"first axes of {' and '.join(map(str, sorted(sizes)))}, where its OpenGL "
        "backend takes one batch size for the whole graph"
    )


# The types of tensors that the GPU delegate takes, and operators that may have others.
_GPU_TYPES = frozenset({"FLOAT16", "FLOAT32", "INT8", "UINT8"})
GPU_OTHER_TYPES = frozenset(
    {
        *("CAST", "EQUAL", "GATHER", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL"),
        *("LOGICAL_AND", "NOT_EQUAL", "ONE_HOT", "SELECT", "SELECT_V2"),
    }
)


def _has_other_types(operator: Operator) -> str | None:
    others = {
        tensor.dtype
        for tensor in operator.tensors
        if tensor.dtype not in _GPU_TYPES and not tensor.is_constant
    }
    if not others or operator.name in GPU_OTHER_TYPES:
        return None
    return f"a tensor of type {sorted(others)[0]}, where it takes float and 8 bits"


# The newest version of each operator that the GPU delegate takes. The lists in its
# README and guide are older: HARD_SWISH and MEAN are missing there.
GPU_VERSIONS = {
    **dict.fromkeys(("CUMSUM", "DENSIFY", "GATHER", "ONE_HOT", "PRELU", "RESHAPE"), 1),
    **dict.fromkeys(("SELECT", "SELECT_V2"), 1),
    **dict.fromkeys(
        (
            *("ABS", "ADD", "ADD_N", "AVERAGE_POOL_2D", "CONCATENATION", "COS", "DIV"),
            *("ELU", "EQUAL", "EXP", "FLOOR", "FLOOR_DIV", "FLOOR_MOD", "GELU"),
            *("GREATER", "GREATER_EQUAL", "LEAKY_RELU", "LESS", "LESS_EQUAL", "LOG"),
            *("LOGICAL_AND", "LOGISTIC", "MAXIMUM", "MAX_POOL_2D", "MINIMUM"),
            *("MIRROR_PAD", "NEG", "NOT_EQUAL", "PAD", "PADV2", "POW", "QUANTIZE"),
            *("RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "RSQRT", "SIGN", "SIN"),
            *("SLICE", "SOFTMAX", "SPACE_TO_DEPTH", "SQRT", "SQUARE", "SUB", "TANH"),
            "SQUARED_DIFFERENCE",
        ),
        2,
    ),
    **dict.fromkeys(("DEQUANTIZE", "MUL", "TRANSPOSE_CONV"), 3),
    **dict.fromkeys(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), 3),
    **dict.fromkeys(("LSTM", "STRIDED_SLICE", "TRANSPOSE"), 4),
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D"), 6),
    "FULLY_CONNECTED": 9,
}
GPU_ANY_VERSION = frozenset(
    {
        *("BATCH_MATMUL", "CAST", "DEPTH_TO_SPACE", "HARD_SWISH", "MEAN", "PACK"),
        *("REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "SPLIT", "SPLIT_V", "SUM"),
        *("TILE", "UNPACK"),
        # Custom operators of old vision models
        *("Convolution2DTransposeBias", "MaxPoolingWithArgmax2D", "MaxUnpooling2D"),
        "Resampler",
    }
)
_LITERT = "github.com/google-ai-edge/LiteRT"
_GPU_SOURCE = Source(
    "source code", f"{_LITERT} at 34ec5ba, tflite/delegates/gpu/common/model_builder.cc"
)

QUALCOMM_OPERATORS = frozenset(
    {
        *("ABS", "ADD", "ARG_MAX", "ARG_MIN", "AVERAGE_POOL_2D", "BATCH_MATMUL"),
        *("BROADCAST_TO", "CAST", "CEIL", "CONCATENATION", "CONV_2D", "CONV_3D", "COS"),
        *("CUMSUM", "DEPTHWISE_CONV_2D", "DEPTH_TO_SPACE", "DEQUANTIZE", "DIV"),
        *("DYNAMIC_UPDATE_SLICE", "ELU", "EMBEDDING_LOOKUP", "EQUAL", "EXP", "FLOOR"),
        *("FLOOR_DIV", "FULLY_CONNECTED", "GATHER", "GATHER_ND", "GELU", "GREATER"),
        *("GREATER_EQUAL", "HARD_SWISH", "L2_NORMALIZATION", "L2_POOL_2D"),
        *("LEAKY_RELU", "LESS", "LESS_EQUAL", "LOG", "LOGICAL_AND", "LOGICAL_NOT"),
        *("LOGICAL_OR", "LOGISTIC", "MAXIMUM", "MAX_POOL_2D", "MEAN", "MINIMUM"),
        *("MIRROR_PAD", "MUL", "NEG", "NOT_EQUAL", "PACK", "PAD", "PADV2", "POW"),
        *("PRELU", "QUANTIZE", "REDUCE_ALL", "REDUCE_ANY", "REDUCE_MAX", "REDUCE_MIN"),
        *("RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "RESHAPE", "REVERSE_V2"),
        *("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "ROUND", "RSQRT", "SELECT"),
        *("SELECT_V2", "SIGN", "SIN", "SLICE", "SOFTMAX", "SPACE_TO_DEPTH", "SPLIT"),
        *("SQRT", "SQUARE", "SQUARED_DIFFERENCE", "STABLEHLO_COMPOSITE"),
        *("STRIDED_SLICE", "SUB", "SUM", "TANH", "TILE", "TOPK_V2", "TRANSPOSE"),
        *("TRANSPOSE_CONV", "UNPACK"),
    }
)
MEDIATEK_OPERATORS = frozenset(
    {
        *("ABS", "ADD", "AVERAGE_POOL_2D", "BATCH_MATMUL", "CAST", "CONCATENATION"),
        *("CONV_2D", "DEPTHWISE_CONV_2D", "DEQUANTIZE", "DIV", "FULLY_CONNECTED"),
        *("GELU", "GREATER", "HARD_SWISH", "L2_NORMALIZATION", "LEAKY_RELU", "LESS"),
        *("LOGISTIC", "MAXIMUM", "MAX_POOL_2D", "MEAN", "MINIMUM", "MUL", "PAD"),
        *("PADV2", "PRELU", "QUANTIZE", "REDUCE_MAX", "RELU", "RESHAPE", "RSQRT"),
        *("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "SLICE", "SOFTMAX", "SPLIT"),
        *("SQRT", "SQUARED_DIFFERENCE", "STABLEHLO_COMPOSITE", "STRIDED_SLICE", "SUB"),
        *("SUM", "TANH", "TILE", "TRANSPOSE", "TRANSPOSE_CONV", "UNPACK"),
    }
)
GOOGLE_TENSOR_REFUSED = frozenset(
    {
        *("ASSIGN_VARIABLE", "BIDIRECTIONAL_SEQUENCE_LSTM", "BROADCAST_ARGS"),
        *("BUCKETIZE", "CALL_ONCE", "COMPLEX_ABS", "CONV_3D", "CONV_3D_TRANSPOSE"),
        *("CUSTOM", "DENSIFY", "FAKE_QUANT", "HASHTABLE", "HASHTABLE_FIND"),
        *("HASHTABLE_IMPORT", "HASHTABLE_SIZE", "IMAG", "LOCAL_RESPONSE_NORMALIZATION"),
        *("MATRIX_DIAG", "MATRIX_SET_DIAG", "MULTINOMIAL", "NON_MAX_SUPPRESSION_V4"),
        *("NON_MAX_SUPPRESSION_V5", "RANDOM_STANDARD_NORMAL", "RANDOM_UNIFORM", "RANK"),
        *("READ_VARIABLE", "REAL", "REDUCE_PROD", "REVERSE_SEQUENCE", "RFFT2D"),
        *("SEGMENT_SUM", "SHAPE", "SPARSE_TO_DENSE", "STABLEHLO_COMPOSITE"),
        *("STABLEHLO_SCATTER", "SVDF", "UNIDIRECTIONAL_SEQUENCE_RNN", "UNIQUE"),
        *("UNSORTED_SEGMENT_MAX", "UNSORTED_SEGMENT_MIN", "UNSORTED_SEGMENT_PROD"),
        *("UNSORTED_SEGMENT_SUM", "VAR_HANDLE", "WHERE"),
    }
)

DELEGATES = (
    Delegate(
        "GPU delegate",
        (
            Rule(_not_among(frozenset(GPU_VERSIONS) | GPU_ANY_VERSION), _GPU_SOURCE),
            Rule(_newer_than(GPU_VERSIONS), _GPU_SOURCE),
            Rule(
                _has_computed_shape,
                Source(
                    "source code",
                    f"{_LITERT} at 007226f, tflite/tools/versioning/"
                    "gpu_compatibility.cc",
                ),
            ),
            Rule(_has_many_axes, _GPU_SOURCE),
            Rule(_has_other_types, _GPU_SOURCE),
            Rule(
                _changes_batch,
                Source(
                    "source code",
                    f"{_LITERT}, CheckBatchSizeForAllValues in "
                    "tflite/delegates/gpu/common/model.cc and gl/api2.cc",
                ),
            ),
        ),
        remarks=(
            "it computes in 16- or 32-bit float, int8 files too (documentation: "
            "ai.google.dev/edge/litert/performance/gpu)",
        ),
    ),
    Delegate(
        "Qualcomm NPU",
        (
            Rule(
                _not_among(QUALCOMM_OPERATORS),
                Source(
                    "documentation",
                    f"{_LITERT} at 08c8bf6, "
                    "litert/vendors/qualcomm/compiler/Qualcomm_QNN_Compiler.md",
                ),
            ),
        ),
    ),
    Delegate(
        "MediaTek NPU",
        (
            Rule(
                _not_among(MEDIATEK_OPERATORS),
                Source(
                    "documentation",
                    f"{_LITERT} at 1551136, "
                    "litert/vendors/mediatek/compiler/MediaTek_Neuro_Compiler.md",
                ),
            ),
        ),
    ),
    Delegate(
        "Google Tensor NPU",
        (
            Rule(
                _among(GOOGLE_TENSOR_REFUSED),
                Source(
                    "source code",
                    f"{_LITERT} at 91f2115, kUnSupportedOps in "
                    "litert/vendors/google_tensor/compiler/compiler_plugin.cc",
                ),
            ),
        ),
    ),
)
