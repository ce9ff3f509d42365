"""What the kernel needs and Python lacks: looking at 64 bytes at once, and the bits of a word.

Each is one LLVM operation on vectors or integers, which every processor that LLVM knows can do; none is written for one
processor. The names below exist inside the compiled kernel only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

BLOCK = 64
"""Bytes that `marks` looks at. A buffer must be that much longer than what is searched."""
_WORD = (1 << 64) - 1
MULTIPLIER = 0x9E3779B97F4A7C15


def mixed_text(seed: int, text: bytes) -> int:
    """The hash that the kernel gives to a text (`bulk_kernel.mixed`), for those who fill its tables."""
    value = (seed ^ len(text)) & _WORD
    for start in range(0, len(text), 8):
        value = ((value ^ int.from_bytes(text[start : start + 8], "little")) * MULTIPLIER) & _WORD
        value ^= value >> 29
    return value


def words() -> dict[str, Any]:
    """The operations, for a function that numba compiles. Raises ImportError without numba.

    `marks(buffer, at, byte)`: bit n says whether `buffer[at + n]` is that byte, for 64 bytes. `word(buffer, at)`: 8
    bytes, the first one lowest. `lowest(bits)`: place of the lowest one, of bits that are not 0. `ones(bits)`: their
    number. `length(value)`: bits of a value that is not negative.
    """
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    byte, word64, block = ir.IntType(8), ir.IntType(64), ir.VectorType(ir.IntType(8), BLOCK)

    def place(context: Any, builder: Any, array_type: Any, array: Any, at: Any, kind: Any) -> Any:
        data = context.make_array(array_type)(context, builder, array).data
        return builder.bitcast(builder.gep(data, [at]), kind.as_pointer())

    def marks(typing: Any, buffer: Any, at: Any, wanted: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            seen = builder.load(place(context, builder, signature.args[0], args[0], args[1], block), align=1)
            one = builder.insert_element(ir.Constant(block, ir.Undefined), args[2], ir.Constant(ir.IntType(32), 0))
            each = ir.Constant(ir.VectorType(ir.IntType(32), BLOCK), [0] * BLOCK)
            same = builder.icmp_unsigned("==", seen, builder.shuffle_vector(one, one, each))
            return builder.bitcast(same, word64)

        return types.uint64(buffer, types.int64, types.uint8), code

    def word(typing: Any, buffer: Any, at: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.load(place(context, builder, signature.args[0], args[0], args[1], word64), align=1)

        return types.uint64(buffer, types.int64), code

    def lowest(typing: Any, bits: Any) -> Any:
        return types.int64(types.uint64), lambda context, builder, signature, args: builder.cttz(
            args[0], ir.Constant(ir.IntType(1), 1)
        )

    def ones(typing: Any, bits: Any) -> Any:
        return types.int64(types.uint64), lambda context, builder, signature, args: builder.ctpop(args[0])

    def length(typing: Any, value: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            zeros = builder.ctlz(args[0], ir.Constant(ir.IntType(1), 0))
            return builder.sub(ir.Constant(word64, 64), zeros)

        return types.int64(types.int64), code

    assert byte.width == 8
    operations: tuple[Callable[..., Any], ...] = (marks, word, lowest, ones, length)
    return {operation.__name__: intrinsic(operation) for operation in operations}
