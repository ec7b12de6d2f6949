#!/usr/bin/env python3
"""Registers, stack and shared memory of every CUDA kernel, held in docs/kernels/resources.tsv.

    scripts/cuda-resources.py BUILD [--write]

BUILD is a CMake build folder in which graft_cuda was built: nvcc's words about each source lie beside
its object. A kernel that spills fails, on whatever architecture; on those that are not built by default it
may spill up to 96 bytes, which is told. So does a table that differs, if it was written with this nvcc;
--write writes it anew. It holds the architectures built by default.
"""

import argparse
import difflib
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
ARCHS = ("sm_80", "sm_90a")  # of the table
BEARABLE = 96  # bytes a thread, on other architectures: their tiles are not tuned one by one
HEADER = "source\tkernel\tarch\tregisters\tstack\tshared\tbarriers"
ENTRY = re.compile(r"Compiling entry function '(\S+)' for '(\S+)'")
FRAME = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers(?:, used (\d+) barriers)?")
SHARED = re.compile(r"(\d+) bytes smem")


def fail(text):
    print(f"cuda-resources: {text}", file=sys.stderr)
    sys.exit(1)


def demangled(names):
    text = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True,
                          check=True).stdout.splitlines()
    for name in text:
        name = re.sub(r"^void ", "", name)
        for noise in ("graft::cuda::", "(anonymous namespace)::"):
            name = name.replace(noise, "")
        # Template arguments tell instances apart, parameters do not.
        depth = 0
        for at, c in enumerate(name):
            depth += (c in "<") - (c in ">")
            if c == "(" and depth == 0:
                name = name[:at]
                break
        yield name


def read(log, source):
    """The nvcc that wrote a log; its kernels as (source, kernel, arch, numbers), and their spills, unbearable and not."""
    text = log.read_text()
    first, _, rest = text.partition("\n")
    parts = re.split(r"(?=ptxas info\s*: Compiling entry function)", rest)
    blocks = [p for p in parts if ENTRY.search(p)]
    names = list(demangled([ENTRY.search(b).group(1) for b in blocks]))
    rows, spills, borne = [], [], []
    for block, name in zip(blocks, names):
        arch = ENTRY.search(block).group(2)
        frame, used, shared = FRAME.search(block), USED.search(block), SHARED.search(block)
        if frame is None or used is None:
            fail(f"{log}: nothing is said of {name} for {arch}")
        rows.append((source, name, arch, int(used.group(1)), int(frame.group(1)),
                     int(shared.group(1)) if shared else 0, int(used.group(2) or 0)))
        bytes_spilled = max(int(frame.group(2)), int(frame.group(3)))
        if bytes_spilled > 0:
            bearable = arch not in ARCHS and bytes_spilled <= BEARABLE
            (borne if bearable else spills).append(f"{source}: {name} for {arch} spills: {frame.group(0)}")
    return first.removeprefix("nvcc ").strip(), rows, spills, borne


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--write", action="store_true", help="write the table anew")
    parser.add_argument("--sources", type=pathlib.Path, default=ROOT / "native/cuda")
    parser.add_argument("--table", type=pathlib.Path, default=ROOT / "docs/kernels/resources.tsv")
    args = parser.parse_args()

    versions, rows, spills, borne = set(), [], [], []
    for source in sorted(args.sources.glob("*.cu")):
        logs = sorted(args.build.glob(f"**/graft_cuda.dir/{source.stem}.o.ptxas"))
        if len(logs) != 1:
            fail(f"{source.name}: expected one {source.stem}.o.ptxas under {args.build}, found "
                 f"{len(logs)}; build the target graft_cuda first")
        version, of_source, spilled, little = read(logs[0], source.name)
        versions.add(version)
        rows += of_source
        spills += spilled
        borne += little
    if len(versions) != 1:
        fail(f"{args.build}: expected the words of one nvcc, found {sorted(versions)}")
    version = versions.pop()
    archs = sorted({row[2] for row in rows})
    for spill in borne + spills:
        print(spill, file=sys.stderr)
    if spills:
        fail(f"{len(spills)} of {len(rows)} kernels spill; a kernel's tile must fit its registers")

    little = f"{len(borne)} spill {BEARABLE} bytes or less" if borne else "none spills"
    counted = f"{len(rows)} kernels for {' '.join(archs)}, {little}"
    if not set(ARCHS) <= set(archs):
        if args.write:
            fail(f"the table is of {' '.join(ARCHS)}, this build of {' '.join(archs)}")
        print(f"{counted}; the table is of {' '.join(ARCHS)}: not compared")
        return
    lines = [f"# nvcc {version}", HEADER]
    lines += ["\t".join(map(str, row)) for row in sorted(rows) if row[2] in ARCHS]
    if args.write:
        args.table.write_text("\n".join(lines) + "\n")
        print(f"{counted}; {args.table} is written")
        return
    if not args.table.exists():
        fail(f"{args.table} is missing; write it: scripts/cuda-resources.py {args.build} --write")
    held = args.table.read_text().splitlines()
    if held[0] != lines[0]:
        print(f"{counted}; the table is by {held[0].removeprefix('# ')}, this build by nvcc {version}: "
              f"not compared")
        return
    if held == lines:
        print(f"{counted}; as in {args.table.name}")
        return
    print("\n".join(difflib.unified_diff(held, lines, str(args.table), "this build", lineterm="",
                                         n=0)))
    fail(f"the kernels' resources have changed (above). If that is meant: scripts/cuda-resources.py "
         f"{args.build} --write")


main()
