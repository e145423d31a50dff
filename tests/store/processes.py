"""Pipes to the processes that the survival tests start."""

import subprocess


def read_line(process: subprocess.Popen[str]) -> str:
    """Read the next line that a process writes."""
    assert process.stdout is not None
    return process.stdout.readline()


def send_go(process: subprocess.Popen[str]) -> None:
    """Let a process continue that waits for a line."""
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()
