"""A CUDA driver without a GPU: memory is the host's, and `ptx_machine` runs the kernels.

`installed` makes it this process' ``libcuda.so.1``, before anything looks for one. `cuda.bindings`
calls it as it calls NVIDIA's, with arguments as C has them. The library that `cc` builds has a
function that is asked for all others; those are below. What they lack, nobody can call.
"""

# ruff: noqa: N802  the driver's names

import ctypes
import os
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from tests import processes

from . import ptx_machine, ptx_program
from .ptx_instructions import type_of
from .ptx_memory import Memory

SOURCE = """
static int (*lookup)(const char *, void **);
void set_lookup(int (*given)(const char *, void **)) { lookup = given; }
int cuGetProcAddress_v2(
    const char *name, void **pointer, int version, unsigned long long flags, int *status
) { return lookup(name, pointer); }
int cuDriverGetVersion(int *version) { *version = 13050; return 0; }
"""
INVALID_VALUE, OUT_OF_MEMORY, NOT_INITIALIZED = 1, 2, 3
INVALID_CONTEXT, NOT_FOUND, CAPTURING, UNKNOWN = 201, 500, 900, 999
GPUS = 2
CAPABILITY = {75: 9, 76: 0, 16: 1}  # attributes of a device: 9.0, and one multiprocessor
POISON = 0xA5

INT, SIZE, POINTER = ctypes.c_int, ctypes.c_size_t, ctypes.c_void_p
calls: list[tuple[Any, ...]] = []  # those that queue work, wait or take memory, in order
queue: list[tuple[Any, int, int]] = []  # work, and what it touches of the host; runs at the last
launched: list[str] = []  # kernels that have run
failures: list[str] = []
contexts: list[int] = []  # of the only thread
free = [1 << 30]  # bytes, of all GPUs together
captured = [False]  # whether another thread captures a graph, as PyTorch does: no thread may wait
capturing: set[int] = set()  # streams whose work is captured
mode = [0]  # of this thread: 2 may, and leaves the graph be
PROCESS = os.getpid()
live: dict[int, Any] = {}  # device memory, by address: its GPU and its bytes
pinned: dict[int, Any] = {}
streams: set[int] = set()
events: set[int] = set()
modules: dict[int, Any] = {}
_functions: dict[bytes, Any] = {}


class DriverError(Exception):
    """The driver returns an error."""


def driver(*arguments: Any) -> Any:
    """Make a function one of the driver's, with arguments of types in C; it returns an error."""

    def decorate(function: Any) -> Any:
        def checked(*given: Any) -> int:
            if os.getpid() != PROCESS:
                return NOT_INITIALIZED
            try:
                function(*given)
            except DriverError as failure:
                return failure.args[0]
            except BaseException:
                failures.append(traceback.format_exc())
                return UNKNOWN
            return 0

        name = function.__name__.encode()
        _functions[name] = ctypes.CFUNCTYPE(INT, *arguments)(checked)
        return function

    return decorate


def waiting() -> None:
    """Do what may wait for the GPU."""
    if captured[0] and mode[0] != 2:
        raise DriverError(CAPTURING)


def give(place: int, kind: Any, value: int) -> None:
    """Write a result to where the caller wants it."""
    kind.from_address(place).value = value


def current() -> int:
    """Return the current GPU."""
    if not contexts:
        raise DriverError(INVALID_CONTEXT)
    return contexts[-1] - 4096


def known(stream: int | None) -> int:
    """Return a stream's handle, if it is one."""
    if stream not in (1, 2) and stream not in streams:
        raise DriverError(INVALID_VALUE)
    return stream


@driver(INT)
def cuInit(flags):
    assert flags == 0


@driver(POINTER)
def cuDeviceGetCount(count):
    give(count, INT, GPUS)


@driver(POINTER, INT)
def cuDeviceGet(device, number):
    assert 0 <= number < GPUS
    give(device, INT, number)


@driver(POINTER, INT, INT)
def cuDeviceGetName(name, size, device):
    ctypes.memmove(name, b"GPU of the tests", 17)


@driver(POINTER, INT, INT)
def cuDeviceGetAttribute(value, attribute, device):
    give(value, INT, CAPABILITY[attribute])


@driver(POINTER, INT)
def cuDevicePrimaryCtxRetain(context, device):
    give(context, POINTER, 4096 + device)


@driver(POINTER)
def cuCtxPushCurrent(context):
    contexts.append(context)


@driver(POINTER)
def cuCtxPopCurrent(context):
    give(context, POINTER, contexts.pop())


@driver(POINTER)
def cuCtxGetCurrent(context):
    give(context, POINTER, contexts[-1] if contexts else 0)


@driver(POINTER)
def cuCtxGetDevice(device):
    assert contexts, "an error where errors are reported, as by compute-sanitizer"
    give(device, INT, current())


@driver(POINTER, INT, SIZE)
def cuPointerGetAttribute(value, attribute, pointer):
    assert attribute == 9  # the number of its GPU
    found = holding(pointer)
    if found is None:
        raise DriverError(INVALID_VALUE)
    give(value, INT, live[found][0])


def holding(pointer: int) -> int | None:
    """Return where the memory begins that an address is in."""
    within = (at for at, (_, data) in live.items() if at <= pointer < at + data.nbytes)
    return next(within, None)


@driver(POINTER)
def cuThreadExchangeStreamCaptureMode(given):
    given = INT.from_address(given)
    mode[0], given.value = given.value, mode[0]


@driver(POINTER, SIZE)
def cuMemAlloc(pointer, nbytes):
    device = current()
    waiting()
    assert nbytes
    calls.append(("allocate", device, nbytes))
    if nbytes > free[0]:
        raise DriverError(OUT_OF_MEMORY)
    free[0] -= nbytes
    data = np.full(nbytes + 255, POISON, np.uint8)
    data = data[-data.ctypes.data % 256 :][:nbytes]
    live[data.ctypes.data] = device, data
    give(pointer, SIZE, data.ctypes.data)


@driver(SIZE)
def cuMemFree(pointer):
    waiting()
    flush()
    device, data = live.pop(pointer)
    assert device == current()
    calls.append(("free", device, data.nbytes))
    free[0] += data.nbytes


@driver(POINTER, POINTER)
def cuMemGetInfo(room, total):
    give(room, SIZE, free[0])
    give(total, SIZE, 1 << 30)


@driver(SIZE, ctypes.c_ubyte, SIZE, POINTER)
def cuMemsetD8Async(pointer, value, nbytes, stream):
    calls.append(("set", known(stream), nbytes))
    on_gpu(pointer, nbytes)
    queue.append((lambda: ctypes.memset(pointer, value, nbytes), 0, 0))


@driver(POINTER, SIZE, INT)
def cuMemHostAlloc(pointer, nbytes, flags):
    current()
    waiting()
    data = np.full(nbytes, POISON, np.uint8)
    pinned[data.ctypes.data] = data
    give(pointer, POINTER, data.ctypes.data)


@driver(POINTER)
def cuMemFreeHost(pointer):
    waiting()
    nbytes = pinned[pointer].nbytes
    assert not [at for _, at, size in queue if at < pointer + nbytes and pointer < at + size]
    del pinned[pointer]


def on_gpu(pointer: int, nbytes: int) -> None:
    """Check that memory is all on a GPU."""
    start = holding(pointer)
    assert start is not None
    assert pointer + nbytes <= start + live[start][1].nbytes


@driver(SIZE, POINTER, SIZE, POINTER)
def cuMemcpyHtoDAsync(target, source, nbytes, stream):
    calls.append(("copy to", known(stream), nbytes))
    on_gpu(target, nbytes)
    queue.append((lambda: ctypes.memmove(target, source, nbytes), source, nbytes))


@driver(POINTER, SIZE, SIZE, POINTER)
def cuMemcpyDtoHAsync(target, source, nbytes, stream):
    calls.append(("copy from", known(stream), nbytes))
    on_gpu(source, nbytes)
    queue.append((lambda: ctypes.memmove(target, source, nbytes), target, nbytes))


@driver(POINTER, INT)
def cuStreamCreate(stream, flags):
    current()
    streams.add(handle := 512 + 16 * len(calls) + len(streams))
    give(stream, POINTER, handle)


@driver(POINTER)
def cuStreamDestroy(stream):
    streams.remove(stream)


@driver(POINTER)
def cuStreamSynchronize(stream):
    calls.append(("synchronize", known(stream)))
    flush()


@driver(POINTER, POINTER)
def cuStreamIsCapturing(stream, status):
    give(status, INT, int(known(stream) in capturing))


@driver(POINTER, INT)
def cuEventCreate(event, flags):
    current()
    assert flags in (0, 2)  # 2: without the time
    events.add(handle := 1 << 20 | 16 * len(calls) + len(events))
    give(event, POINTER, handle)


@driver(POINTER, POINTER)
def cuEventRecord(event, stream):
    assert event in events
    calls.append(("record", known(stream)))


@driver(POINTER)
def cuEventSynchronize(event):
    assert event in events
    flush()


@driver(POINTER, POINTER, POINTER)
def cuEventElapsedTime(milliseconds, begin, end):
    assert {begin, end} <= events
    ctypes.c_float.from_address(milliseconds).value = 0.0005


@driver(POINTER, POINTER, INT)
def cuStreamWaitEvent(stream, event, flags):
    assert event in events
    calls.append(("wait", known(stream)))


@driver(POINTER)
def cuEventDestroy(event):
    events.remove(event)


@driver(POINTER, POINTER)
def cuModuleLoadData(module, image):
    waiting()
    current()
    handle = (1 << 21) + len(modules)
    modules[handle] = ptx_program.Kernel(ctypes.string_at(image).decode()), current()
    give(module, POINTER, handle)


@driver(POINTER, POINTER, ctypes.c_char_p)
def cuModuleGetFunction(function, module, name):
    assert name.decode() == modules[module][0].name
    give(function, POINTER, module)


@driver(POINTER, *[INT] * 7, POINTER, POINTER, POINTER)
def cuLaunchKernel(function, blocks, _1, _2, threads, _3, _4, shared, stream, parameters, extra):
    kernel, device = modules[function]
    assert device == current()
    assert (_1, _2, _3, _4, shared, extra) == (1, 1, 1, 1, 0, None)
    calls.append(("launch", device, known(stream)))
    places = (POINTER * len(kernel.parameters)).from_address(parameters)
    given = [
        np.frombuffer(ctypes.string_at(place, type_of(kind)().itemsize), type_of(kind))[0]
        for place, (kind, _) in zip(places, kernel.parameters, strict=True)
    ]
    queue.append((lambda: run(kernel, blocks, threads, given), 0, 0))


def flush() -> None:
    """Do all the work that is queued, on whatever stream, in order."""
    while queue:
        queue.pop(0)[0]()


def run(kernel: Any, blocks: int, threads: int, given: list[Any]) -> None:
    """Run a kernel in the memory that its arguments point to."""
    arrays, memories = [], []
    for number, pointer in enumerate(map(int, given)):
        if holding(pointer) is not None and int(given[number - 2]):
            size, itemsize = map(int, given[number - 2 : number])
            on_gpu(pointer, size * itemsize)
            array = (ctypes.c_ubyte * (size * itemsize)).from_address(pointer)
            arrays.append(np.frombuffer(array, np.uint8))
            memories.append(Memory(size * itemsize, itemsize, pointer, arrays[-1]))
    ptx_machine.Run(kernel, blocks, threads, given, memories).run()
    for array, memory in zip(arrays, memories, strict=True):
        array[:] = memory.bytes
    launched.append(kernel.name)


@ctypes.CFUNCTYPE(INT, ctypes.c_char_p, ctypes.POINTER(POINTER))
def _lookup(name, pointer):
    found = _functions.get(name)
    pointer[0] = found and ctypes.cast(found, POINTER).value
    return 0 if found else NOT_FOUND


def installed(folder: Path) -> None:
    """Build the library in a folder, and make it this process' driver; kernels stay PTX."""
    source, library = folder / "libcuda.c", folder / "libcuda.so.1"
    source.write_text(SOURCE)
    command = ["cc", "-shared", "-fPIC", f"-Wl,-soname,{library.name}", "-o", library, source]
    processes.run(command)
    loaded = ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
    _functions[b"cuDriverGetVersion"] = loaded.cuDriverGetVersion
    _functions[b"cuGetProcAddress"] = loaded.cuGetProcAddress_v2  # older bindings ask for it, too
    loaded.set_lookup(_lookup)

    from seedbed_kernels import cuda_release, launch_cuda

    cuda_release.link = lambda ptx, capability, registers: ptx.encode() + b"\0"
    launch_cuda.FEWEST = 1
