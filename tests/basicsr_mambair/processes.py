"""Commands of this project run by several processes, which share one import of BasicSR.

``python -m tests.basicsr_mambair.processes`` reads jobs as JSON, imports what takes seconds, and
forks the processes of one job after the other. What they run is what ``basicsr`` runs.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import basicsr_mambair  # noqa: F401  (before BasicSR)

OUTPUT = "output.txt"  # of all processes of a job, in its folder


class Job(NamedTuple):
    """A command and the number of processes that run it in a folder."""

    folder: str
    processes: int
    arguments: list[str]


def run(*jobs: Job, status: int = 0, timeout: float = 240) -> None:
    """Runs jobs one after the other; fails with the output of one that ends otherwise.

    Args:
        jobs: what to run.
        status: exit status that their first processes must have.
        timeout: seconds for all.
    """
    subprocess.run(
        [sys.executable, "-m", __name__, str(status)],
        input=json.dumps(jobs), text=True, check=True, timeout=timeout,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return int(tried.getsockname()[1])


def _run_job(job: Job) -> list[int]:
    port = free_port()
    children = []
    for rank in range(job.processes):
        child = os.fork()
        if child == 0:
            _run_process(job, rank, port)
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def _run_process(job: Job, rank: int, port: int) -> None:
    code = 1
    try:
        os.chdir(job.folder)
        output = os.open(OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        arguments = list(job.arguments)
        if job.processes > 1:
            os.environ |= {
                "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(job.processes),
                "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
            }  # fmt: skip
            arguments += ["--launcher", "pytorch"]
        sys.argv = ["basicsr", *arguments]
        from basicsr_mambair.__main__ import run as run_command

        run_command()
    except SystemExit as ended:
        code = 0 if ended.code is None else int(ended.code)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _main() -> None:
    import basicsr.test
    import basicsr.train  # noqa: F401  (the processes need both)

    status = int(sys.argv[1])
    for job in (Job(*each) for each in json.load(sys.stdin)):
        codes = _run_job(job)
        if codes != [status] + [0] * (job.processes - 1):
            output = Path(job.folder, OUTPUT).read_text()
            sys.exit(f"{job}: exit codes {codes}\n{output}")


if __name__ == "__main__":
    _main()
