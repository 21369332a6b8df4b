"""A compiler that isn't one: it tries to do what a model or a tool that was broken into would try. Written in Python.

`write_hostile(folder, act)` gives a program that a worker starts as it starts edgetpu_compiler, within all that holds
the worker. What it came to stands in the first line that it prints: the error's name, or `done`.
"""

import sys
import textwrap
from pathlib import Path

ACTS = {
    "dial the loopback": "socket.create_connection(('127.0.0.1', int(os.environ.get('PORT', 9))), 2)",
    "dial out": "socket.create_connection(('192.0.2.1', 443), 2)",
    "ask a local socket": "socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).connect(HOST + '/socket')",
    "find a secret in the environment": "print(os.environ['LITEFLEET_DATABASE_PASSWORD'])",
    "find a secret in the parent's environment": "print(open(f'/proc/{CONTROLLER}/environ', 'rb').read())",
    "read the controller's memory": "open(f'/proc/{CONTROLLER}/mem', 'rb')",
    "read the controller's key": "open(HOST + '/data/identity/key').read()",
    "see what the controller has": "assert sorted(os.listdir(HOST + '/data')) != ['convert']",
    "see other workers' folders": "assert len(os.listdir(HOST + '/data/convert/scratch')) != 1",
    "uncover what is hidden": "libc.umount2((HOST + '/data').encode(), 2) and fail()",
    "read a blob": "open(HOST + '/data/blobs/one').read()",
    "change a blob": "open(HOST + '/data/blobs/one', 'w').write('x')",
    "read what it was handed": "assert open(handed()).read() == 'handed over'",
    "change what it was handed": "open(handed(), 'r+').write('x')",
    "move what it was handed to where it may write": "os.rename(handed(), 'taken')",
    "link what it was handed to where it may write": "os.link(handed(), 'linked')",
    "kill the controller": "os.kill(CONTROLLER, 0)",
    "write elsewhere": "open(HOST + '/elsewhere', 'w').write('x')",
    "truncate what is elsewhere": "os.truncate(HOST + '/kept', 0)",
    "remove what is elsewhere": "os.unlink(HOST + '/kept')",
    "leave the group": "os.setsid()",
    "mount": "libc.mount(b'none', os.getcwd().encode(), b'tmpfs', 0, None) and fail()",
    "become root elsewhere": "libc.unshare(0x10000000) and fail()",
    "write to its scratch folder": "open('mine', 'w').write('x')",
    "dump core": "assert resource.getrlimit(resource.RLIMIT_CORE)[1] > 0",
    "raise its limits": "resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY,) * 2)",
}
ENDLESS = {
    "fork": "\nwhile True:\n    try:\n        os.fork() or time.sleep(600)\n    except OSError:\n        time.sleep(0.01)",
    "eat memory": "\nkept = []\nwhile True:\n    kept.append(bytearray(2**24)); time.sleep(0.001)",
    "fill the disk": "\nwith open('full', 'wb') as file:\n    while True:\n        file.write(bytes(2**22)); file.flush()",
    "fill the disk with names": "\nfor n in range(10**9):\n    open(f'{n}', 'w').close()",
    "eat processor time": "\nwhile True:\n    pass",
    "sleep": "\ntime.sleep(600)",
}


def write_hostile(folder: Path, act: str, controller: int) -> Path:
    program = folder / "hostile"
    body = f"""\
        #!{sys.executable} -IS
        import ctypes, os, resource, socket, sys, time
        HOST, CONTROLLER = {str(folder)!r}, {controller}
        libc = ctypes.CDLL(None, use_errno=True)
        def handed():
            return next(os.path.join(path, "two") for path, _, names in os.walk(HOST + "/data") if "two" in names)
        def fail():
            raise OSError(ctypes.get_errno(), "refused")
        os.chdir(sys.argv[3])
        try:
            exec({(ACTS | ENDLESS)[act]!r})
            print("ERROR: done")
        except Exception as e:
            print(f"ERROR: {{type(e).__name__}}")
        sys.exit(1)
    """
    program.write_text(textwrap.dedent(body))
    program.chmod(0o755)
    return program
