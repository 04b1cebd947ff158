"""The process that runs llama.cpp: `python -m tokenwire.server.engines.llama_cpp.child.main JSON`.

A process of its own because loading holds the interpreter's lock, and because a native fault must
not take the front down. It lives until its stdin closes, which the parent's death does too.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any, Final

from .arguments import ChildArguments, ChildReport
from .unpacking import unpack

_CPU_FLAGS: Final = ("avx2", "fma", "f16c")
_PR_SET_PDEATHSIG: Final = 1
# `common_log_main` and `common_log_flush` of llama.cpp, which the wheel exports but does not bind.
_LOG: Final = "_Z15common_log_mainv"
_FLUSH_LOG: Final = "_Z16common_log_flushP10common_log"


class _MissingPart(Exception):
    """The machine lacks something that llama.cpp needs. The message says what to do."""


def main() -> None:
    """Serves until stdin ends or SIGTERM comes, then leaves at once."""
    arguments = ChildArguments.from_json(sys.argv[1])

    def leave(_signal_number: int, _frame: FrameType | None) -> None:
        _leave(arguments)

    signal.signal(signal.SIGTERM, leave)
    # The constructor does not return to Python while it loads, so stdin cannot be watched: until
    # then the kernel passes the parent's death on.
    _die_with_parent(signal.SIGKILL)
    if arguments.image_mark:
        os.environ["LLAMA_MEDIA_MARKER"] = arguments.image_mark  # read once, by the library
    try:
        xllamacpp = _import_xllamacpp()
    except _MissingPart as error:
        _report(ChildReport(error=str(error), detail=str(error.__cause__ or "")))
        sys.exit(1)
    try:
        model_path, packed_because = _model_path(arguments)
        server = xllamacpp.Server(_params(xllamacpp, arguments, model_path))
    except (RuntimeError, ValueError) as error:
        # Before the report: whoever reads it looks for llama.cpp's own words.
        flush_log(xllamacpp)
        _report(ChildReport(detail=str(error)))
        sys.exit(1)
    # From here on stdin tells, and leaves time to remove the socket.
    _die_with_parent(0)
    _report(ChildReport(version=str(xllamacpp.__version__), detail=packed_because))
    sys.stdin.buffer.read()
    del server  # kept alive up to here
    _leave(arguments)


def flush_log(xllamacpp: Any) -> None:
    """Waits until llama.cpp's own thread has written what it has to log.

    The end of a process does not wait for that thread, and the reason would be lost.
    """
    library = ctypes.CDLL(xllamacpp.xllamacpp.__file__)
    try:
        log, flush = library[_LOG], library[_FLUSH_LOG]
    except AttributeError:  # a build that does not export them
        return
    log.restype = ctypes.c_void_p
    flush.argtypes = (ctypes.c_void_p,)
    flush(log())


def _report(report: ChildReport) -> None:
    print(report.to_json(), flush=True)


def _leave(arguments: ChildArguments) -> None:
    shutil.rmtree(Path(arguments.socket_path).parent, ignore_errors=True)
    # Not sys.exit: native threads inside a request make the interpreter's own end crash.
    os._exit(0)


def _die_with_parent(signal_number: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal_number)


def _import_xllamacpp() -> Any:  # the wheel has no types
    missing = _missing_cpu_flags()
    if missing:
        raise _MissingPart(f"the build of llama.cpp needs a CPU with {', '.join(missing)}")
    try:
        import xllamacpp  # noqa: PLC0415 - the front imports this package without the extra
    except ImportError as error:
        if "libgomp" in str(error):
            raise _MissingPart(
                "libgomp.so.1 is missing: install the system package libgomp1"
            ) from error
        raise _MissingPart("it cannot be imported: install the extra 'llamacpp'") from error
    return xllamacpp


def _missing_cpu_flags() -> list[str]:
    if platform.machine() not in ("x86_64", "AMD64") or sys.platform != "linux":
        return []
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            present = line.split()
            return [flag for flag in _CPU_FLAGS if flag not in present]
    return []


def _model_path(arguments: ChildArguments) -> tuple[str, str]:
    """Returns the file to load, and why it is the packed one where it should not be."""
    if not arguments.unpacked_path:
        return arguments.model_path, ""
    target = Path(arguments.unpacked_path)
    if not target.exists():
        try:
            unpack(Path(arguments.model_path), target)
        except (ImportError, MemoryError, OSError) as error:
            return arguments.model_path, repr(error)
    return str(target), ""


def _params(xllamacpp: Any, arguments: ChildArguments, model_path: str) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = model_path
    # Otherwise every answer carries the file's path.
    params.model_alias = ["model"]
    params.n_ctx = arguments.pool_tokens
    params.n_parallel = arguments.num_slots
    # One pool for all slots would fail every running request once it is full.
    params.kv_unified = False
    params.n_batch = params.n_ubatch = arguments.batch_tokens
    if arguments.projector_path:
        params.mmproj.path = arguments.projector_path
        params.mmproj_use_gpu = False
    params.cpuparams.n_threads = arguments.num_threads
    params.cpuparams_batch.n_threads = arguments.num_threads
    params.hostnames = [arguments.socket_path]
    params.port = 0
    # Requests choose their slots by prefix themselves, so that other caches would only cost
    # memory: 8 GiB by default.
    params.cache_ram_mib = 0
    params.ctx_shift = False
    # A last message of the assistant is history here, as on SGLang, and no beginning to continue.
    params.prefill_assistant = False
    params.chat_template = arguments.chat_template
    params.endpoint_slots = True
    params.endpoint_metrics = True
    params.endpoint_props = False
    params.ui = False
    params.offline = True
    params.verbosity = 1  # errors: nothing above this may hold prompts
    return params


if __name__ == "__main__":
    main()
