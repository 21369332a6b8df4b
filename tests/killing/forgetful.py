"""`litefleet-agent` that syncs no `directories`, or no `files` (the first argument): power cuts must find that out."""

import os
import stat
import sys

from litefleet_agent.main import main

if __name__ == "__main__":
    forgets_directories = sys.argv.pop(1) == "directories"
    fsync = os.fsync

    def forget(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode) != forgets_directories:
            fsync(descriptor)

    os.fsync = forget
    sys.exit(main())
