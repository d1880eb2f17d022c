"""The local model's server process: ``python -m repertory.providers.local_server --model FILE``.

Serves llama.cpp's HTTP API on a free loopback port. Announces ``{"url": ...}`` as one line on standard output
once it answers. Cannot outlive its parent, not even if that is killed: it ends when its standard input does, whose
other end the parent holds and never writes to; on Linux the kernel kills it, even while it is stopped.
"""

import argparse
import ctypes
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import xllamacpp

PR_SET_PDEATHSIG = 1  # see prctl(2)


def main(arguments: Sequence[str] | None = None) -> None:
    """Load the model, serve, return at the end of standard input. SIGTERM ends the process at any time."""
    options = _parse(arguments)
    _die_with(options.parent)
    announcements = _claim_stdout()
    server = xllamacpp.Server(_parameters(options))
    os.write(announcements, json.dumps({"url": server.listening_address}).encode() + b"\n")
    os.close(announcements)
    while sys.stdin.buffer.read(4096):
        pass  # nothing is expected; only the end matters


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Serve a GGUF model over HTTP on a free loopback port.")
    parser.add_argument("--model", type=Path, required=True, help="the GGUF file")
    parser.add_argument("--threads", type=int, default=1, help="threads that compute")
    parser.add_argument("--parallel", type=int, default=4, help="requests answered at the same time")
    parser.add_argument("--context", type=int, default=8192, help="tokens of context, shared by these requests")
    parser.add_argument("--embeddings", action="store_true", help="turn texts into vectors too")
    parser.add_argument("--parent", type=int, default=os.getppid(), help="the process it must not outlive")
    return parser.parse_args(arguments)


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when the parent's thread that started it ends; see prctl(2)."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL)) != 0:
        sys.stderr.write(f"not tied to the parent's life: {os.strerror(ctypes.get_errno())}\n")
    if os.getppid() != parent:  # it was gone before it could be tied to
        raise SystemExit(f"the parent process {parent} is gone")


def _claim_stdout() -> int:
    """Return a descriptor for standard output and point everyone else, native code included, to stderr."""
    claimed = os.dup(1)
    os.dup2(2, 1)
    return claimed


def _parameters(options: argparse.Namespace) -> xllamacpp.CommonParams:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(options.model)
    parameters.cpuparams.n_threads = options.threads
    parameters.cpuparams_batch.n_threads = options.threads
    parameters.n_parallel = options.parallel
    parameters.n_ctx = options.context
    parameters.cache_ram_mib = 0
    if options.embeddings:
        parameters.embedding = True
        parameters.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    return parameters


if __name__ == "__main__":
    main()
