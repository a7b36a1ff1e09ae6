"""The collector while a process starts, in processes of their own: it is the interpreter's."""

import subprocess
import sys


def run(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def test_a_start_is_not_interrupted_and_rubbish_is_collected_as_usual_after_it():
    program = """
import gc
usual = gc.get_threshold()
from slipway_serving.collector import collect_rarely, keep_loaded
collect_rarely()
assert gc.get_threshold()[0] >= 100 * usual[0], gc.get_threshold()
keep_loaded()
assert gc.get_threshold() == usual, gc.get_threshold()
print(gc.get_freeze_count() > 1000)
"""
    assert run(program) == "True"
