"""The local model's server process: ``python -m repertory.providers.local_server --model FILE``.

Serves llama.cpp's HTTP API on a free loopback port. Announces ``{"url": ...}`` as one line on standard output
once it answers. Ends when its standard input does: the parent holds the other end and never writes, so the
server cannot outlive it, not even if the parent is killed.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import xllamacpp


def main(arguments: Sequence[str] | None = None) -> None:
    """Load the model, serve, return at the end of standard input. SIGTERM ends the process at any time."""
    options = _parse(arguments)
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
    return parser.parse_args(arguments)


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
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    return parameters


if __name__ == "__main__":
    main()
