"""Read many mutated files in several processes, and print what happened to them as a table.

A process that does not answer, or that ends, is replaced; its file counts as slow or as a crash.
"""

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from multiprocessing.connection import Connection, wait
from pathlib import Path

from tests.fuzz.formats import Format, write_examples
from tests.fuzz.trial import OUTCOMES, run_trial
from weightgpt.formatting import markdown_table
from weightgpt.io import write_json

PATIENCE = 60.0
"""Seconds after which a process that does not answer is ended."""
ADDRESS_SPACE = 6 * 2**30
"""Bytes of address space that a process may take beyond those at its start, so that no file fills the machine."""
FAULTS = OUTCOMES[2:]

Counts = dict[str, Counter[str]]


def work(formats: list[Format], seed: int, indices: Iterable[int], channel: Connection) -> None:
    """Run trials and send their outcomes, until there are no more.

    Args:
        formats: the formats to choose from.
        seed: seed of all trials.
        indices: numbers of the trials.
        channel: where the outcomes go.
    """
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ADDRESS_SPACE, used + ADDRESS_SPACE))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries warn on stderr
    with tempfile.TemporaryDirectory() as folder:
        for index in indices:
            channel.send((index, *run_trial(formats, seed, index, Path(folder))))
    channel.send(None)


def run_share(formats: list[Format], seed: int, indices: range, processes: int) -> tuple[Counts, list[dict[str, str]]]:
    """Run trials in several processes; returns the outcomes of each format, and the faults.

    Args:
        formats: the formats to choose from.
        seed: seed of all trials.
        indices: numbers of the trials.
        processes: number of processes.
    """
    counts: Counts = {example.name: Counter() for example in formats}
    faults: list[dict[str, str]] = []
    context = multiprocessing.get_context("fork")

    def note(index: int, name: str, outcome: str, text: str) -> None:
        counts[name][outcome] += 1
        if outcome in FAULTS:
            faults.append({"trial": str(index), "format": name, "outcome": outcome, "note": text})
            print(f"trial {index}: {name}: {outcome}: {text}", file=sys.stderr, flush=True)

    def start(share: range) -> tuple[Connection, tuple[multiprocessing.process.BaseProcess, range]]:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(formats, seed, share, sender), daemon=True)
        process.start()
        sender.close()
        return receiver, (process, share)

    running = dict(start(indices[first::processes]) for first in range(processes))
    while running:
        ready = wait(list(running), PATIENCE) or list(running)
        for channel in ready:
            process, share = running.pop(channel)
            answers = channel.poll(0)
            try:
                message = channel.recv() if answers else "silent"
            except EOFError:
                message = "ended"
            if message is None:
                process.join()
                continue
            if isinstance(message, tuple):
                note(*message)
                running[channel] = (process, share[share.index(message[0]) + 1 :])
                continue
            process.kill()
            process.join()
            name = formats[share[0] % len(formats)].name
            note(share[0], name, "slow" if message == "silent" else "crash", f"exit code {process.exitcode}")
            if len(share) > 1:
                running |= dict([start(share[1:])])
    return counts, faults


def table(counts: Counts) -> str:
    """The outcomes of each format as a Markdown table.

    Args:
        counts: the number of each outcome by format.
    """
    total: Counter[str] = sum(counts.values(), Counter())
    rows = [(name, *(str(row[outcome]) for outcome in OUTCOMES)) for name, row in [*counts.items(), ("all", total)]]
    return markdown_table(("file", *OUTCOMES), rows)


def main() -> int:
    """Read the options, run the trials, print the table and write the counts."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--files", type=int, default=20_000, help="number of mutated files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", type=int, help="number of a single trial, to see its fault")
    parser.add_argument("--output", type=Path, default=Path("runs/fuzz.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        formats = write_examples(Path(folder))
        if options.only is not None:
            print(run_trial(formats, options.seed, options.only, Path(folder)))
            return 0
        counts, faults = run_share(formats, options.seed, range(options.files), options.processes)
    print(table(counts))
    outcomes = {name: {outcome: row[outcome] for outcome in OUTCOMES} for name, row in counts.items()}
    write_json(options.output, {"files": options.files, "seed": options.seed, "outcomes": outcomes, "faults": faults})
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
