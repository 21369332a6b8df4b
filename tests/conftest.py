"""What all tests share: how property tests draw their examples.

`make test` draws the same examples on every machine, so that a red run is a change's doing. New ones are looked for with
`HYPOTHESIS_PROFILE=explore make test`. Deadlines are off: these machines share their cores with brokers and boards.
"""

import os

from hypothesis import settings

settings.register_profile("fixed", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))
