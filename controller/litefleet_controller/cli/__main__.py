"""`python -m litefleet_controller.cli`: the same as the `litefleet` command, for programs that start it."""

from litefleet_controller.cli import main

main()
