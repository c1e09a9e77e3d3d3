"""Fault 50: one of two training processes is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from weightgpt.io import read_json

ROOT = Path(__file__).parents[2]
LIMIT = 30
"""Seconds after which the other process must have ended."""


def start(finished: Path, output: Path) -> subprocess.Popen[bytes]:
    options = ["--dataset", finished / "corpus", "--tokenizer", finished / "model", "--output", output]
    options += ["--model-size", "nano", "--batch-size", "4", "--epochs", "40", "--num-evaluations", "4"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launch, "-m", "training.pretrain", *map(str, options)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def workers(parent: int) -> list[int]:
    """The processes that a process has started."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(child) for child in children]


@pytest.mark.slow
def test_fault_50_the_other_process_ends_and_the_same_command_goes_on(finished: Path, tmp_path: Path):
    process = start(finished, tmp_path / "gpt")
    while process.poll() is None and not list((tmp_path / "gpt").glob("checkpoint-*/trainer_state.json")):
        time.sleep(0.05)
    time.sleep(0.3)  # the checkpoint is whole
    assert process.poll() is None, process.communicate()[0].decode()[-2000:]
    killed, other = workers(process.pid)[:2]
    os.kill(killed, signal.SIGKILL)
    text, _ = process.communicate(timeout=LIMIT)
    assert process.returncode != 0
    assert not Path(f"/proc/{other}").exists(), text.decode()[-2000:]
    again = start(finished, tmp_path / "gpt")
    text, _ = again.communicate(timeout=300)
    assert again.returncode == 0, text.decode()[-2000:]
    assert read_json(tmp_path / "gpt" / "history.json")["log"]
    assert (tmp_path / "gpt" / "model" / "model.safetensors").is_file()
