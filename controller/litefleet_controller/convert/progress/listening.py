"""Who hears how far a conversion is."""

from collections.abc import Callable

from litefleet_controller.convert.workers.tasks import Stage

Listener = Callable[[Stage], None]


def within(listener: Listener, low: int, high: int) -> Listener:
    """For a part of the work: its 0 to 100 percent are `low` to `high` of the whole."""

    def tell(stage: Stage) -> None:
        listener(Stage(stage=stage.stage, percent=low + stage.percent * (high - low) // 100))

    return tell
