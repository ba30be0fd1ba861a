"""How the extension asks: answers on other threads, cancelling, Ctrl-C, the interpreter's end; and older cores.

The core is one of C, which has another version and answers as the test wants.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import run

QUIET = "import warnings; warnings.simplefilter('ignore'); import vsitlm; from vsitlm import _vsitlm\n"


def build(folder: Path, *flags: str) -> dict[str, str]:
    """Builds the core, and gives the variables by which it is found."""
    if not (cc := shutil.which("cc")):
        pytest.skip("no C compiler")
    source, library = Path(__file__).with_name("core.c"), folder / "gdal_vsitlm.so"
    subprocess.run([cc, "-shared", "-fPIC", *flags, "-o", library, source, "-lpthread"], check=True)
    return {"GDAL_DRIVER_PATH": str(folder)}


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return build(tmp_path_factory.mktemp("core"))


def test_another_version_is_warned_of_and_used(core: dict[str, str]) -> None:
    code = "import vsitlm; print(vsitlm.info().version, vsitlm._core.file); print(vsitlm.info())"
    done = run(code, options=core)
    assert done.stdout.startswith(f"0.0.1 {core['GDAL_DRIVER_PATH']}/gdal_vsitlm.so\n")
    assert done.stderr.count("VsitlmWarning") == 1 and "has version 0.0.1 of the plugin" in done.stderr
    assert "has no vsitlm_gdals" in done.stdout


def test_what_an_older_core_lacks_is_told(tmp_path: Path) -> None:
    code = f"""{QUIET}
for call in (lambda: vsitlm.scan("x.jp2"), vsitlm.statistics, lambda: _vsitlm.ask("at once", print),
             lambda: _vsitlm.command(["vsitlm"])):
    try:
        call()
    except vsitlm.UnsupportedError as error:
        assert "version 0.0.1, has no vsitlm_" in str(error), error
    else:
        raise AssertionError("it is there")
"""
    run(code, options=build(tmp_path, "-DOLD"))


def test_answers_come_on_any_thread(core: dict[str, str]) -> None:
    code = f"""{QUIET}
import threading
assert _vsitlm.ask_and_wait("at once") == ("at once", None) and _vsitlm.ask_and_wait("soon") == ("soon", None)
answers, came = [], threading.Semaphore(0)
def take(answer, samples):
    answers.append((answer, threading.current_thread() is threading.main_thread()))
    came.release()
_vsitlm.ask("at once", take)
assert answers == [("at once", True)]
for _ in range(100):
    assert _vsitlm.ask("soon", take) > 0
for _ in range(101):
    assert came.acquire(timeout=60)
assert answers[1:] == [("soon", False)] * 100
assert _vsitlm.cancel(12345) is False
"""
    run(code, options=core)


def test_a_cancelled_question_lets_go_of_its_callback(core: dict[str, str]) -> None:
    code = f"""{QUIET}
import gc, weakref
class Callback:
    def __call__(self, answer):
        raise AssertionError("it was cancelled")
callback = Callback()
gone = weakref.ref(callback)
number = _vsitlm.ask("never", callback)
del callback
gc.collect()
assert gone() is not None
assert _vsitlm.cancel(number) is True and _vsitlm.cancel(number) is False
gc.collect()
assert gone() is None
"""
    assert run(code, options=core).stderr == "cancelled\n"


def test_what_a_callback_raises_is_printed(core: dict[str, str]) -> None:
    done = run(f"{QUIET}\n_vsitlm.ask('at once', lambda *answer: 1 / 0)\nprint('on')", options=core)
    assert "ZeroDivisionError" in done.stderr and done.stdout == "on\n"


def test_a_question_that_the_core_fails_with(core: dict[str, str]) -> None:
    code = f"""{QUIET}
for ask in (lambda: _vsitlm.ask_and_wait("bug"), lambda: _vsitlm.ask("bug", print)):
    try:
        ask()
    except RuntimeError as error:
        assert "bug" in str(error)
    else:
        raise AssertionError("it was answered")
"""
    run(code, options=core)


def test_ctrl_c_ends_a_question(core: dict[str, str]) -> None:
    code = f"""{QUIET}
import os, signal, threading
# A shell that runs the tests in the background has them ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try:
    _vsitlm.ask_and_wait("never")
except KeyboardInterrupt:
    print("interrupted")
"""
    done = run(code, options=core)
    assert (done.stdout, done.stderr) == ("interrupted\n", "cancelled\n")


def test_an_answer_after_the_interpreter_is_dropped(core: dict[str, str]) -> None:
    code = f"{QUIET}\n_vsitlm.ask('late', lambda *answer: print('too late'))\nprint('end')"
    done = run(code, options={**core, "LINGER": "1"})
    assert (done.stdout, done.stderr) == ("end\n", "")


@pytest.mark.parametrize("way", ["ask_and_wait", "read"])
def test_threads_that_are_at_work_when_python_ends(way: str, core: dict[str, str], sample: Path) -> None:
    code = f"""{QUIET}
import sys, threading, time, rasterio
def work():
    if {way!r} == "ask_and_wait":
        _vsitlm.ask_and_wait("never")
    while True:
        with rasterio.open("/vsitlm/" + sys.argv[1]) as dataset:
            dataset.read(1)
for _ in range(8):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.5)
"""
    # The core of C answers nobody; reads need the real one.
    done = run(code, sample, options=core if way == "ask_and_wait" else None)
    assert not done.stderr


def test_a_child_of_a_fork_asks_and_ends(core: dict[str, str]) -> None:
    code = f"""{QUIET}
import os, sys, time
# Forks while an answer is being handed on: the child inherits the count of it, and not the thread.
def fork(answer, samples):
    time.sleep(0.3)
_vsitlm.ask("soon", fork)
time.sleep(0.1)
child = os.fork()
if child == 0:
    assert _vsitlm.ask_and_wait("soon") == ("soon", None)
    sys.exit(3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
"""
    run(code, options=core)
