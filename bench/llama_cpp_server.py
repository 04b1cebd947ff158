"""Runs llama.cpp's own server, for `tokenwire bench` to measure beside this service.

    python bench/llama_cpp_server.py MODEL.gguf [--port 8080] [--slots 8] [--context 1024]

Slots, context of each, threads and address are given; all else is llama.cpp's default.
"""

from __future__ import annotations

import argparse
import signal

import xllamacpp


def main() -> None:
    """Serves until a signal ends it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--context", type=int, default=1024, help="tokens of a slot")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    params = xllamacpp.CommonParams()
    params.model.path = options.model
    params.n_ctx = options.slots * options.context
    params.n_parallel = options.slots
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
    params.hostnames = ["127.0.0.1"]
    params.port = options.port
    params.offline = True
    params.verbosity = 1
    server = xllamacpp.Server(params)
    print(f"serving on port {options.port}", flush=True)
    signal.pause()
    del server  # kept alive up to here


if __name__ == "__main__":
    main()
