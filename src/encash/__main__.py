"""The command `encash`, also ``python -m encash``."""

from encash.command_start import finish, stop_at_once


def main() -> None:
    """Run one command, and end the process with its exit code."""
    stop_at_once()
    from encash.cli.main import main as run  # noqa: PLC0415 - a signal while it is imported is one line

    finish(run)


if __name__ == "__main__":
    main()
