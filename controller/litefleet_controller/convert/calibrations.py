"""What calibration measured in a frozen model: the range of each tensor over some samples."""

from litefleet_controller.convert.cache import RangesEntry, RangesKey, RefusalEntry
from litefleet_controller.convert.kept import Kept
from litefleet_controller.convert.progress.listening import Listener
from litefleet_controller.convert.workbench import Workbench
from litefleet_controller.convert.workers.tasks import RANGES_FILE, Calibrate, Calibrated, Quantize


class Calibrations:
    """Calibrates, and remembers."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._kept: Kept[RangesKey, RangesEntry | RefusalEntry] = Kept(
            bench, "ranges", RangesEntry | RefusalEntry, self._calibrate
        )

    async def get(self, key: RangesKey, listener: Listener) -> RangesEntry | RefusalEntry:
        """The ranges that `key` decides.

        Raises: ConversionError.
        """
        return await self._kept.get(key, listener)

    async def _calibrate(self, key: RangesKey, tell: Listener) -> RangesEntry | RefusalEntry:
        async with self._bench.turn(Quantize, "calibrate", tell) as turn:
            task = Calibrate(
                folder=turn.folder,
                frozen=await turn.hand(key.model, "frozen model"),
                preprocess=key.preprocess,
                calibration=await turn.hand(key.calibration, "calibration set"),
                calibration_samples=key.calibration_samples,
            )
            done = await turn.ask(task, Calibrated)
            if isinstance(done, RefusalEntry):
                return done
            return RangesEntry(ranges=(await turn.adopt(RANGES_FILE))[0], samples=done.samples, step=turn.step())
