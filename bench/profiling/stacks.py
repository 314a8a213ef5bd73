"""Samples of stacks, as profilers write them, and what component each tells of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final, NamedTuple


class Frame(NamedTuple):
    """A function, and the file of its code."""

    function: str
    file: str


Stack = tuple[Frame, ...]
"""From the innermost function out."""
Samples = Counter[Stack]

KERNEL: Final = "[kernel.kallsyms]"
INTERPRETER: Final = "Python's interpreter"
UNKNOWN: Final = "not known"

_SAMPLE = re.compile(r"^\S.*?\s(\d+)\s*$")
_FRAME = re.compile(r"^\s+[0-9a-f]+ (.*) \((.*)\)$")
_PYTHON_FRAME = re.compile(r"^(.*) \((.*?)(?::\d+)?\)$")


def of_perf(lines: Iterable[str]) -> dict[int, Samples]:
    """Samples by process out of `perf script -F comm,pid,ip,sym,dso`."""
    found: dict[int, Samples] = {}
    pid, frames = 0, list[Frame]()
    for line in (*lines, ""):
        if frame := _FRAME.match(line):
            frames.append(Frame(frame[1], frame[2]))
        elif sample := _SAMPLE.match(line):
            pid = int(sample[1])
        elif frames:
            found.setdefault(pid, Counter())[tuple(frames)] += 1
            frames = []
    return found


def of_py_spy(lines: Iterable[str]) -> Samples:
    """Samples out of `py-spy record --format raw`: frames from the outermost in, and a count."""
    found: Samples = Counter()
    for line in lines:
        text, _, count = line.rpartition(" ")
        frames = [_PYTHON_FRAME.match(part) for part in text.split(";")]
        stack = tuple(Frame(frame[1], frame[2]) for frame in reversed(frames) if frame)
        if stack:
            found[stack] += int(count)
    return found


# ---- Components ----------------------------------------------------------------------------

# Of the kernel's frames, wherever they stand in a stack; the first that fits counts. A page fault
# or a switch of the process is the cost of what brought it about.
_KERNEL_PARTS: Final = (
    (
        "kernel: network",
        r"_*(tcp|inet6?|ip|unix|sock|skb|netif|napi|net_rx|sys_(send|recv|accept|connect))_",
    ),
    (
        "kernel: files and disk",
        r"_*(vfs|ext4|xfs|btrfs|ovl|jbd2|iomap|blk|filemap|do_fsync|submit_bio|x64_sys_fdatasync"
        r"|generic_perform_write|file_write_and_wait_range|writeback)",
    ),
    ("kernel: waiting for events", r"_*(do_epoll|ep_|x64_sys_epoll|eventfd)"),
    (
        "kernel: memory",
        r"_*(asm_)?(exc_page_fault|do_user_addr_fault|x64_sys_(mmap|munmap|brk|madvise))",
    ),
    ("kernel: threads and locks", r"_*(do_futex|futex|x64_sys_futex|schedule)"),
)
_KERNEL_RULES: Final = tuple((name, re.compile(rule)) for name, rule in _KERNEL_PARTS)

_FILE_PARTS: Final = (
    (INTERPRETER, r"(^|/)(lib)?python3[^/]*$"),
    ("Rust: lane, records, engine", r"headwater/_core\."),
    ("event loop (uvloop)", r"/uvloop/"),
    ("HTTP (aiohttp)", r"/(aiohttp|multidict|yarl|propcache|frozenlist)/"),
    ("SQLite", r"(libsqlite3|_sqlite3)"),
    ("SQLAlchemy", r"/sqlalchemy/"),
    ("MessagePack and JSON", r"/(msgspec|msgpack)/"),
    ("Redis", r"(valkey|redis)-server"),
    ("Redis client", r"/(redis|hiredis)/"),
    ("compression", r"lib(z|zstd)\."),
)
_FILE_RULES: Final = tuple((name, re.compile(rule)) for name, rule in _FILE_PARTS)
# What these do they do for who called them.
_C_LIBRARY: Final = re.compile(r"/(libc|libm|libpthread|libgcc_s|ld-linux)[-.]")
_COLLECTOR: Final = "gc_collect_main"
_PACKAGE: Final = re.compile(r"(?:^|/)headwater/(\w+)")


def component(stack: Stack) -> str:
    """Who the innermost function works for."""
    inner = stack[0]
    if inner.file == KERNEL:
        names = [frame.function for frame in stack if frame.file == KERNEL]
        for name, rule in _KERNEL_RULES:
            if any(rule.match(function) for function in names):
                return name
        return "kernel: the rest"
    caller = next((f.file for f in stack if not _C_LIBRARY.search(f.file)), inner.file)
    if caller.endswith(".py"):
        package = _PACKAGE.search(caller)
        return f"Python: headwater/{package[1]}" if package else "Python: libraries"
    for name, rule in _FILE_RULES:
        if rule.search(caller):
            collects = name == INTERPRETER and any(f.function == _COLLECTOR for f in stack)
            return "Python's garbage collector" if collects else name
    return UNKNOWN if caller.startswith("[") else PurePosixPath(caller).name


def by_component(samples: Mapping[Stack, int]) -> list[tuple[str, float]]:
    """Shares of all samples, the largest first."""
    counted: Counter[str] = Counter()
    for stack, count in samples.items():
        counted[component(stack)] += count
    return _shares(counted, sum(counted.values()))


def _shares(counted: Counter[str], of: int) -> list[tuple[str, float]]:
    return [(name, count / max(of, 1)) for name, count in counted.most_common()]


def by_function(samples: Mapping[Stack, int], most: int) -> list[tuple[str, float, float]]:
    """The functions with most time of their own: share of it, and with all that they call."""
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for stack, count in samples.items():
        names = [_told(frame) for frame in stack]
        own[names[0]] += count
        for name in set(names):
            whole[name] += count
    of = max(sum(own.values()), 1)
    return [(name, count / of, whole[name] / of) for name, count in own.most_common(most)]


def _told(frame: Frame) -> str:
    path = PurePosixPath(frame.file)
    parts = path.parts
    if path.suffix != ".py":
        return f"{frame.function} ({path.name})"
    # From the package on: where it is installed is nobody's business.
    place = "/".join(parts[-2:])
    return f"{frame.function} ({place})"


# ---- Folding -------------------------------------------------------------------------------

Folded = Counter[tuple[str, ...]]
"""Names from the outermost in, and how often."""


def folded(samples: Mapping[Stack, int]) -> Folded:
    """Stacks by name; what follows one another within the interpreter is one frame."""
    found: Folded = Counter()
    for stack, count in samples.items():
        found[tuple(_merged(stack))] += count
    return found


def _merged(stack: Sequence[Frame]) -> Iterator[str]:
    last = ""
    for frame in reversed(stack):
        is_interpreter = bool(_FILE_RULES[0][1].search(frame.file))
        name = INTERPRETER if is_interpreter else _told(frame)
        if not (is_interpreter and last == name):
            yield name
        last = name
