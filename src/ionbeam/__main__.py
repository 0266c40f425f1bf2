"""The command `ionbeam`; ``python -m ionbeam`` without arguments is `ionbeam up`."""

import sys

from ionbeam.cli import app


def main() -> None:
    """Run the command line."""
    app(prog_name="ionbeam")


if __name__ == "__main__":
    app(args=sys.argv[1:] or ["up"], prog_name="ionbeam")
