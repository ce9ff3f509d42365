"""Turns the kernel into machine code once, and loads that code in milliseconds ever after.

numba compiles it; but importing numba and asking its cache takes more than a second of CPU, as long as reading seven
million rows. So the object code that LLVM made is kept as a file beside this module's own bytecode, and loaded by
llvmlite, numba's small sister, alone.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np

from include.capacity.jtl import bulk_fields, bulk_kernel, bulk_words
from include.capacity.jtl import bulk_memory as memory
from include.capacity.jtl.layout import WANTED

ENTRY = "headroom_consume"
_FORMAT = 1
_TEXTS = ("names", "label_slots", "labels", "outcome_slots", "outcomes")
_THREADS = ("thread_keys", "thread_starts", "thread_ends")
_SUMS = ("pending", "cell_keys", "cell_values", "heads", "arrivals")


class Kernel:
    """`consume` as machine code. Raises ImportError without llvmlite, or without numba where it must be compiled.

    Attributes:
        path: of the file that keeps the code, if its folder can be written.
    """

    def __init__(self) -> None:
        import llvmlite
        import llvmlite.binding as llvm

        if sys.byteorder != "little":
            raise ImportError("the kernel reads digits in the order of little-endian processors")
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        processor = (llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())
        key = hashlib.sha256(repr((_FORMAT, llvmlite.__version__, processor, _sources())).encode()).hexdigest()[:16]
        self.path = path = Path(importlib.util.cache_from_source(__file__)).with_suffix(f".{key}.o")
        self._engine: Any = None
        code = _kept(path)
        if code is not None:
            with suppress(RuntimeError):
                self._engine = _loaded(llvm, code)
        self.compiled_now = self._engine is None
        if self._engine is None:
            code = _object_code(llvm, processor)
            _keep(path, code)
            self._engine = _loaded(llvm, code)
        address = self._engine.get_function_address(ENTRY)
        arrays = 4 + len(fields(memory.Memory))  # those of a call, and those of the memory
        pointers = [ctypes.c_void_p] * (2 + arrays)
        prototype = ctypes.CFUNCTYPE(ctypes.c_int32, *pointers, ctypes.c_int64, ctypes.c_int64)
        self._function = prototype(address)
        self._status = ctypes.c_int64()
        self._error = ctypes.c_void_p()

    def bound(self, tables: memory.Memory) -> Callable[[Any, Any, Any, Any], int]:
        """A function of buffer, wanted columns, and room for the places of the fields; the tables must outlive it."""
        first, *others = (array.ctypes.data for array in tables.arrays())
        places = (ctypes.byref(self._status), ctypes.byref(self._error))

        def call(buffer: Any, wanted: Any, begins: Any, ends: Any) -> int:
            arrays = (buffer.ctypes.data, first, wanted.ctypes.data, begins.ctypes.data, ends.ctypes.data, *others)
            arguments = (*places, *arrays, buffer.size, begins.size)
            assert len(arguments) == len(self._function.argtypes)  # one too many would be passed as a C int
            failed = self._function(*arguments)
            if failed:
                raise RuntimeError(f"the compiled reader of JTL files failed with status {failed}")
            return self._status.value

        return call


@lru_cache(maxsize=1)
def kernel() -> Kernel:
    """The kernel of this process. An image should call this when it is built, so that the code is compiled there."""
    return Kernel()


def _functions() -> dict[str, FunctionType]:
    return {
        name: value
        for module in (bulk_fields, bulk_kernel)
        for name, value in vars(module).items()
        if isinstance(value, FunctionType) and value.__module__ == module.__name__
    }


def _sources() -> list[tuple[str, object]]:
    """All that decides what the code does: bytecode, constants, and the file that makes the operations."""
    found: list[tuple[str, object]] = []
    for name, function in sorted(_functions().items()):
        code = function.__code__
        used = {each: function.__globals__[each] for each in code.co_names if each in function.__globals__}
        numbers = sorted((each, int(value)) for each, value in used.items() if isinstance(value, int | np.integer))
        found.append(
            (name, (code.co_code.hex(), [each for each in code.co_consts if each != function.__doc__], numbers))
        )
    found += [(Path(file).name, Path(file).read_bytes()) for file in (bulk_words.__file__, __file__)]
    shapes = [(array.shape, array.dtype.str) for array in memory.Memory().arrays()]
    return [*found, ("shapes", shapes)]


def _kept(path: Path) -> bytes | None:
    """The object code in a file; None where there is none that is whole."""
    try:
        raw = path.read_bytes()
    except OSError:
        return None
    return raw[32:] if hashlib.sha256(raw[32:]).digest() == raw[:32] else None


def _keep(path: Path, code: bytes) -> None:
    """Writes the file as a whole, or not at all: where the folder cannot be written, each process compiles."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".tmp-")
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(code).digest() + code)
        os.chmod(temporary, 0o644)  # the image is built by one user and runs as another
        os.replace(temporary, path)


def _machine(llvm: Any, processor: tuple[str, str]) -> Any:
    cpu, features = processor
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(opt=3, cpu=cpu, features=features, codemodel="jitdefault", jit=True)


def _loaded(llvm: Any, code: bytes) -> Any:
    """An execution engine that holds the code. Raises RuntimeError for what is no object code."""
    engine = llvm.create_mcjit_compiler(
        llvm.parse_assembly(""), llvm.Target.from_default_triple().create_target_machine()
    )
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    if not engine.get_function_address(ENTRY):
        raise RuntimeError(f"the object code has no {ENTRY}")
    return engine


def _object_code(llvm: Any, processor: tuple[str, str]) -> bytes:
    """Compiles. What is left is one function that can be called from anywhere, without Python or numba's runtime."""
    import numba

    entry = _entry(numba)
    module = llvm.parse_assembly(entry.inspect_llvm())
    defined = [function for function in module.functions if not function.is_declaration]
    wrapper = next(function for function in defined if function.name == entry.native_name)
    native = next(function for function in defined if "cfunc." + function.name == wrapper.name)
    native.name = ENTRY
    for function in defined:
        if function.name != ENTRY:
            function.linkage = "internal"
    machine = _machine(llvm, processor)
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(3))
    builder.getModulePassManager().run(module, builder)  # drops what is not called, numba's wrapper first of all
    code: bytes = machine.emit_object(module)
    return code


def _entry(numba: Any) -> Any:
    """A C function that takes addresses: `consume` with the arrays of `Memory` made of them."""
    compiled = _namespace(numba)
    consume, carray = compiled["consume"], numba.carray
    tables = memory.Memory()
    (numbers,) = tables.numbers.shape
    names, label_slots, labels, outcome_slots, outcomes = (getattr(tables, name).shape for name in _TEXTS)
    threads = tables.thread_keys.shape
    pending, cells, _, heads, arrivals = (getattr(tables, name).shape for name in _SUMS)
    given, wanted_columns = tables.given.shape, len(WANTED)

    def entry(  # type: ignore[no-untyped-def]
        buffer, s, wanted, begins, ends, a, b, c, d, e, f, g, h, i, j, k, m, n, o, size, width
    ):
        return consume(
            carray(buffer, (size,)),
            carray(s, (numbers,)),
            carray(wanted, (wanted_columns,)),
            carray(begins, (width,)),
            carray(ends, (width,)),
            (
                carray(a, names),
                carray(b, label_slots),
                carray(c, labels),
                carray(d, outcome_slots),
                carray(e, outcomes),
            ),
            (carray(f, threads), carray(g, threads), carray(h, threads)),
            (carray(i, pending), carray(j, cells), carray(k, cells), carray(m, heads), carray(n, arrivals)),
            carray(o, given),
        )

    octets, ints = numba.types.CPointer(numba.types.uint8), numba.types.CPointer(numba.types.int64)
    arrays = [octets, ints, ints, ints, ints, octets, *[ints] * 13]
    signature = numba.types.int64(*arrays, numba.types.int64, numba.types.int64)
    return numba.cfunc(signature, nopython=True, error_model="numpy")(entry)


def _namespace(numba: Any) -> dict[str, Any]:
    """The kernel's functions, compiled, in one namespace with the operations of `bulk_words`."""
    names: dict[str, Any] = {**vars(bulk_fields), **vars(bulk_kernel), **bulk_words.words()}
    functions = _functions()
    for name, function in functions.items():
        names[name] = numba.njit(error_model="numpy")(FunctionType(function.__code__, names, name))
    return names
