"""Worker processes that crash, hang, grow, are orphaned: each ends as one clear error, and none stays behind."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from litefleet_controller.convert.interface import ConversionError
from litefleet_controller.convert.workers.limits import PoolLimits, WorkerLimits
from litefleet_controller.convert.workers.pool import WorkerPool
from litefleet_controller.convert.workers.process import WorkerProcess, scrubbed_environment
from litefleet_controller.convert.workers.tasks import Freeze, Inspect, Quantize, Stage
from litefleet_controller.resources.recipe import recipes
from litefleet_protocol.tensors import Preprocess


def silent(_: Stage) -> None:
    """Nobody listens."""


def refused_task(folder: Path) -> Freeze:
    """A task that ends quickly, with a final refusal."""
    (folder / "empty").write_bytes(b"")
    return Freeze(folder=str(folder), source=str(folder / "empty"), evaluation="", preprocess=Preprocess())


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def worker(folder: Path, **limits: float) -> AsyncIterator[WorkerProcess]:
    process = await WorkerProcess.start(folder, WorkerLimits(**limits))  # type: ignore[arg-type]
    try:
        yield process
    finally:
        await process.close()


async def test_a_final_refusal_leaves_the_worker_well(tmp_path: Path) -> None:
    async with worker(tmp_path) as process:
        for _ in range(2):
            with pytest.raises(ConversionError, match="0 bytes") as refused:
                await process.ask(refused_task(tmp_path), silent)
            assert (refused.value.code, refused.value.final, process.is_well) == ("Empty", True, True)


async def test_a_killed_worker_is_a_crash_that_may_be_tried_again(tmp_path: Path) -> None:
    async with worker(tmp_path) as process:
        os.kill(process.pid, signal.SIGSTOP)
        asked = asyncio.create_task(process.ask(refused_task(tmp_path), silent))
        await asyncio.sleep(0)
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(ConversionError, match="was ended by SIGKILL") as crashed:
            await asked
        assert (crashed.value.code, crashed.value.final, process.is_well) == ("WorkerCrashed", False, False)


async def crash(process: WorkerProcess, folder: Path, number: signal.Signals) -> ConversionError:
    """What is said of a worker that gets a signal in the stage `loading`."""

    def strike(_: Stage) -> None:
        os.kill(process.pid, number)

    os.mkfifo(folder / "never")  # opening it for reading waits for a writer
    task = Freeze(folder=str(folder), source=str(folder / "never"), evaluation="", preprocess=Preprocess())
    with pytest.raises(ConversionError) as crashed:
        await process.ask(task, strike)
    assert not process.is_well
    return crashed.value


async def test_a_worker_that_faults_at_its_first_task_blames_the_model_for_good(tmp_path: Path) -> None:
    async with worker(tmp_path) as process:
        crashed = await crash(process, tmp_path, signal.SIGSEGV)
    assert (crashed.code, crashed.final) == ("ModelCrashed", True)
    assert str(crashed) == "the source crashed the process that was loading it (SIGSEGV)"


async def test_a_worker_that_had_other_models_before_blames_none(tmp_path: Path) -> None:
    async with worker(tmp_path) as process:
        with pytest.raises(ConversionError):
            await process.ask(refused_task(tmp_path), silent)
        crashed = await crash(process, tmp_path, signal.SIGSEGV)
    assert (crashed.code, crashed.final) == ("WorkerCrashed", False)


async def test_a_worker_that_is_killed_from_outside_blames_no_model(tmp_path: Path) -> None:
    async with worker(tmp_path) as process:
        crashed = await crash(process, tmp_path, signal.SIGTERM)
    assert (crashed.code, crashed.final) == ("WorkerCrashed", False)


async def test_a_worker_that_hangs_is_a_timeout(tmp_path: Path) -> None:
    async with worker(tmp_path, stage_seconds=0.3) as process:
        os.kill(process.pid, signal.SIGSTOP)
        with pytest.raises(ConversionError, match=r"did not get on with starting for 0\.3 s") as late:
            await process.ask(refused_task(tmp_path), silent)
        assert (late.value.code, late.value.final, process.is_well) == ("Timeout", False, False)


async def test_a_worker_that_grows_is_a_memory_limit_with_both_numbers(tmp_path: Path) -> None:
    async with worker(tmp_path, max_rss_bytes=1_000_000, watch_seconds=0.01) as process:
        await until(lambda: process.rss_bytes() > 1_000_000)  # the interpreter has begun to load
        os.kill(process.pid, signal.SIGSTOP)
        with pytest.raises(ConversionError, match=r"took \d+ bytes of memory; its limit is 1000000") as grown:
            await process.ask(refused_task(tmp_path), silent)
        assert (grown.value.code, grown.value.final) == ("MemoryLimit", False)


async def test_memory_that_cannot_be_had_is_no_dead_controller(tmp_path: Path) -> None:
    task = Quantize(
        folder=str(tmp_path), recipe="float32", how=recipes()["float32"], frozen="", answers="", evaluation="",
        preprocess=Preprocess(), ranges=None, calibration=None, calibration_samples=0, goal=None,
    )  # fmt: skip
    async with worker(tmp_path, max_data_bytes=24 * 1024 * 1024) as process:
        with pytest.raises(ConversionError) as failed:
            await process.ask(task, silent)
        assert not failed.value.final
        assert not process.is_well


async def test_an_unexpected_error_is_one_sentence(tmp_path: Path) -> None:
    task = Freeze(folder=str(tmp_path), source=str(tmp_path / "missing"), evaluation="", preprocess=Preprocess())
    async with worker(tmp_path) as process:
        with pytest.raises(ConversionError, match="FileNotFoundError") as failed:
            await process.ask(task, silent)
        assert "Traceback" not in str(failed.value)
        assert "\n" not in str(failed.value)


async def test_a_worker_sees_none_of_the_controllers_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITEFLEET_DATABASE_PASSWORD", "hunter2")
    async with worker(tmp_path) as process:
        with pytest.raises(ConversionError):
            await process.ask(refused_task(tmp_path), silent)
        seen = Path(f"/proc/{process.pid}/environ").read_text()
    assert "hunter2" not in seen
    assert f"HOME={process.scratch}" in seen


def test_only_named_variables_are_passed_on() -> None:
    kept = scrubbed_environment({"PATH": "/bin", "AWS_SECRET_ACCESS_KEY": "x", "PYTHONPATH": "/evil"}, Path("/scratch"))
    assert kept["PATH"] == "/bin"
    assert not {"AWS_SECRET_ACCESS_KEY", "PYTHONPATH"} & kept.keys()


async def test_the_end_of_a_worker_is_the_end_of_its_scratch_folder(tmp_path: Path) -> None:
    async with worker(tmp_path) as process:
        (process.scratch / "left").write_text("over")
    assert not process.scratch.exists()
    assert not is_running(process.pid)


async def test_what_a_worker_is_handed_is_there_until_it_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "blob").write_text("one")
    (tmp_path / "far").write_text("two")
    async with worker(tmp_path) as process:
        here = await process.hand(tmp_path / "blob")
        assert here == await process.hand(tmp_path / "blob")
        assert here.samefile(tmp_path / "blob"), "nothing is copied"
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(Path, "hardlink_to", _other_disk)
            far = await process.hand(tmp_path / "far")
        assert (far.read_text(), far.samefile(tmp_path / "far")) == ("two", False)
        assert not here.is_relative_to(process.scratch), "or it could be written to"
        await process.take_back()
        assert not here.exists()
        assert not far.exists()
    assert (tmp_path / "blob").read_text() == "one"


def _other_disk(self: Path, target: Path) -> None:
    raise OSError(18, "Invalid cross-device link")


_ORPHANER = """
    import asyncio, sys
    from pathlib import Path
    from litefleet_controller.convert.workers.limits import WorkerLimits
    from litefleet_controller.convert.workers.process import WorkerProcess
    async def main():
        worker = await WorkerProcess.start(Path(sys.argv[1]), WorkerLimits())
        print(worker.pid, flush=True)
        await asyncio.sleep(600)
    asyncio.run(main())
"""


async def test_workers_of_a_killed_controller_end_themselves(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_ORPHANER), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    with parent.stdout:
        pid = int(await asyncio.to_thread(parent.stdout.readline))
    parent.kill()
    await asyncio.to_thread(parent.wait)
    await until(lambda: not is_running(pid))


@contextlib.asynccontextmanager
async def pool(folder: Path, *, size: int = 1, **limits: float) -> AsyncIterator[WorkerPool]:
    made = WorkerPool(folder / "scratch", PoolLimits(**limits), size=size)  # type: ignore[arg-type]
    try:
        yield made
    finally:
        await made.close()


async def use(workers: WorkerPool, folder: Path) -> int:
    """Have one task done; the worker's process id."""
    async with workers.worker(Freeze) as process:
        with pytest.raises(ConversionError):
            await process.ask(refused_task(folder), silent)
        return process.pid


async def test_a_well_worker_is_used_again(tmp_path: Path) -> None:
    async with pool(tmp_path) as workers:
        assert await use(workers, tmp_path) == await use(workers, tmp_path)


async def test_an_idle_worker_with_tensorflow_quantizes_and_is_kept_for_the_next_source(tmp_path: Path) -> None:
    async with pool(tmp_path) as workers:
        with_tensorflow = await use(workers, tmp_path)
        async with workers.worker(Quantize) as process:
            assert process.pid == with_tensorflow
        assert await use(workers, tmp_path) == with_tensorflow


async def test_a_worker_with_the_quantizer_alone_never_loads_tensorflow(tmp_path: Path) -> None:
    async with pool(tmp_path) as workers:
        async with workers.worker(Quantize) as process:
            quantizer_alone = process.pid
        assert await use(workers, tmp_path) != quantizer_alone


async def test_a_foreign_file_is_inspected_where_nothing_else_was_or_will_be(tmp_path: Path) -> None:
    async with pool(tmp_path) as workers:
        before = await use(workers, tmp_path)
        async with workers.worker(Inspect) as process:
            inspecting = process.pid
        assert inspecting != before
        async with workers.worker(Inspect) as process:
            assert process.pid not in {before, inspecting}
        assert await use(workers, tmp_path) == before


async def test_a_worker_is_replaced_after_its_number_of_tasks(tmp_path: Path) -> None:
    async with pool(tmp_path, recycle_after=1) as workers:
        assert await use(workers, tmp_path) != await use(workers, tmp_path)


async def test_a_worker_that_grew_is_replaced(tmp_path: Path) -> None:
    async with pool(tmp_path, recycle_above_bytes=1_000_000) as workers:
        assert await use(workers, tmp_path) != await use(workers, tmp_path)


async def test_an_idle_worker_ends(tmp_path: Path) -> None:
    async with pool(tmp_path, idle_seconds=0.05) as workers:
        pid = await use(workers, tmp_path)
        await until(lambda: not is_running(pid))
        assert workers.pids == []


async def test_a_worker_that_died_while_idle_is_replaced(tmp_path: Path) -> None:
    async with pool(tmp_path) as workers:
        pid = await use(workers, tmp_path)
        os.kill(pid, signal.SIGKILL)
        # Its first thread is a zombie before its last one has ended; only then can it be waited for.
        await until(lambda: not Path(f"/proc/{pid}").exists())
        assert await use(workers, tmp_path) != pid


async def test_no_more_tasks_run_than_there_are_places(tmp_path: Path) -> None:
    async with pool(tmp_path, size=1) as workers, workers.worker(Freeze):
        waiting = asyncio.create_task(use(workers, tmp_path))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        assert len(workers.pids) == 1
        waiting.cancel()
        await asyncio.wait({waiting})


async def test_closing_ends_every_process_and_refuses_what_waits(tmp_path: Path) -> None:
    async with pool(tmp_path) as workers:
        pid = await use(workers, tmp_path)
        await workers.close()
        assert not is_running(pid)
        with pytest.raises(ConversionError, match="shutting down"):
            await use(workers, tmp_path)


async def test_scratch_folders_of_a_killed_controller_are_removed_at_start(tmp_path: Path) -> None:
    left = tmp_path / "scratch" / "worker-old"
    left.mkdir(parents=True)
    async with pool(tmp_path):
        assert not left.exists()
