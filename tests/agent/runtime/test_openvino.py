"""What is OpenVINO's alone; the rest is in test_contract.py."""

import subprocess
import sys
import textwrap
from pathlib import Path


def test_a_signal_to_the_thread_that_loaded_a_model_which_another_thread_let_go_finds_a_stack(tmp_path: Path) -> None:
    """In a process of its own, for it dies of it."""
    program = textwrap.dedent(
        """
        import hashlib, os, signal, sys, threading
        from pathlib import Path
        from litefleet_agent.runtime.openvino import OpenVino
        import numpy as np
        import openvino
        from openvino import opset13

        given = opset13.parameter([1, 4], np.float32, name="given")
        path = Path(sys.argv[1]) / "model.xml"
        openvino.save_model(openvino.Model([opset13.relu(given)], [given], "relu"), path)
        digests = {p.name: "sha256:" + hashlib.sha256(p.read_bytes()).hexdigest() for p in path.parent.iterdir()}
        held = [OpenVino().load(path, threads=1, digest=digests["model.xml"], beside={"model.bin": digests["model.bin"]})]
        letting_go = threading.Thread(target=held.clear)
        letting_go.start()
        letting_go.join()
        signal.signal(signal.SIGUSR1, lambda *_: print("heard"))
        os.kill(os.getpid(), signal.SIGUSR1)
        """
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout.split()) == (0, ["heard"]), done.stderr
