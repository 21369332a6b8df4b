"""The command `litefleet-agent`. Heavy imports wait until the arguments are read, so that `--help` is instant."""

import argparse
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit code: 0, 1 for what went wrong, 2 for usage."""
    given = _parser().parse_args(arguments)
    from litefleet_agent import commands

    return commands.run(given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="litefleet-agent", description="Runs the models that a litefleet controller assigns to this board."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

    enroll = commands.add_parser("enroll", help="join a fleet with a token")
    enroll.add_argument("--token", required=True, help="what 'litefleet device token create' printed")
    enroll.add_argument("--name", required=True, help="this board's name: 1 to 63 of a-z, 0-9 and '-'")
    enroll.add_argument("--class", required=True, dest="device_class", help="the DeviceClass that it is of")
    enroll.add_argument("--label", action="append", default=[], metavar="KEY=VALUE", help="may be given several times")
    enroll.add_argument("--force", action="store_true", help="replace an identity that is there")

    run = commands.add_parser("run", help="follow the controller until SIGTERM")
    run.add_argument("--config", type=Path, help="a TOML file with pipelines and settings")
    run.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])

    status = commands.add_parser("status", help="show what this board remembers and last reported")
    status.add_argument("--json", action="store_true", help="for programs")

    doctor = commands.add_parser("doctor", help="look at this board and say what is wrong; exit code 1 if something is")
    doctor.add_argument("--config", type=Path, help="the file that 'run' is given")
    doctor.add_argument("--json", action="store_true", help="for programs")

    for command in (enroll, run, status, doctor):
        command.add_argument("--state-dir", required=True, type=Path, help="where everything of this agent lies")
    return parser


if __name__ == "__main__":
    sys.exit(main())
