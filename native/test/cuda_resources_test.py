"""scripts/cuda-resources.py on words of ptxas made up here: what passes, what fails and how."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts/cuda-resources.py"
KERNEL = """ptxas info    : Compiling entry function '_Z{size}{name}Pf' for '{arch}'
ptxas info    : Function properties for _Z{size}{name}Pf
    {stack} bytes stack frame, {spill} bytes spill stores, {spill} bytes spill loads
ptxas info    : Used {registers} registers, used 1 barriers, 128 bytes smem, 360 bytes cmem[0]
ptxas info    : Compile time = 12.3 ms
"""


class CudaResources(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        (self.root / "cuda").mkdir()
        (self.root / "build/graft_cuda.dir").mkdir(parents=True)
        self.table = self.root / "resources.tsv"

    def source(self, name, registers, archs=("sm_80", "sm_90a"), spill=0, nvcc="13.0.88"):
        (self.root / "cuda" / f"{name}.cu").touch()
        text = f"nvcc {nvcc}\n" + "".join(
            KERNEL.format(size=len(name), name=name, arch=arch, stack=spill, spill=spill,
                          registers=registers) for arch in archs)
        (self.root / "build/graft_cuda.dir" / f"{name}.o.ptxas").write_text(text)

    def call(self, *more):
        done = subprocess.run([sys.executable, SCRIPT, self.root / "build", "--sources",
                               self.root / "cuda", "--table", self.table, *more],
                              capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    def test_written_table_is_held(self):
        self.source("add", 32)
        self.assertEqual(0, self.call("--write")[0])
        self.assertEqual("add.cu\tadd\tsm_80\t32\t0\t128\t1", self.table.read_text().split("\n")[2])
        status, text = self.call()
        self.assertEqual(0, status)
        self.assertIn("2 kernels for sm_80 sm_90a, none spills", text)

    def test_spill_fails_even_when_writing(self):
        self.source("add", 255, spill=8)
        for more in ([], ["--write"]):
            status, text = self.call(*more)
            self.assertEqual(1, status)
            self.assertIn("add.cu: add for sm_90a spills: 8 bytes stack frame", text)
        self.assertFalse(self.table.exists())

    def test_change_fails_with_its_lines_and_the_command(self):
        self.source("add", 32)
        self.call("--write")
        self.source("add", 40)
        status, text = self.call()
        self.assertEqual(1, status)
        self.assertIn("-add.cu\tadd\tsm_80\t32", text)
        self.assertIn("+add.cu\tadd\tsm_80\t40", text)
        self.assertIn("--write", text)

    def test_new_kernel_fails(self):
        self.source("add", 32)
        self.call("--write")
        self.source("cast", 20)
        self.assertEqual(1, self.call()[0])

    def test_other_nvcc_is_not_compared_but_its_spills_fail(self):
        self.source("add", 32)
        self.call("--write")
        self.source("add", 40, nvcc="13.1.9")
        status, text = self.call()
        self.assertEqual(0, status)
        self.assertIn("not compared", text)
        self.source("add", 40, nvcc="13.1.9", spill=4)
        self.assertEqual(1, self.call()[0])

    def test_other_architectures_are_looked_at_for_spills_only(self):
        self.source("add", 32)
        self.call("--write")
        six = ("sm_80", "sm_90a", "sm_120")
        self.source("add", 32, archs=six)
        self.assertEqual(0, self.call()[0])
        self.assertEqual(0, self.call("--write")[0])
        self.assertNotIn("sm_120", self.table.read_text())
        self.source("add", 33, archs=six)
        self.assertEqual(1, self.call()[0])
        self.source("add", 33, archs=("sm_120",))
        self.assertIn("not compared", self.call()[1])
        self.assertEqual(1, self.call("--write")[0])

    def test_other_architectures_may_spill_a_little(self):
        self.source("add", 33, archs=("sm_120",), spill=96)
        status, text = self.call()
        self.assertEqual(0, status)
        self.assertIn("1 spill 96 bytes or less", text)
        self.source("add", 33, archs=("sm_120",), spill=100)
        self.assertEqual(1, self.call()[0])
        self.source("add", 33, archs=("sm_90a",), spill=4)
        self.assertEqual(1, self.call()[0])

    def test_source_without_words_is_named(self):
        self.source("add", 32)
        (self.root / "cuda/cast.cu").touch()
        status, text = self.call()
        self.assertEqual(1, status)
        self.assertIn("cast.cu", text)
        self.assertIn("graft_cuda", text)


unittest.main()
