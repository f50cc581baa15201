"""Makes ops.safetensors: values and gradients that PyTorch gives for the cases of tests/ops.

    make golden          (needs torch; made with 2.13, on a CPU)

Tests compare with PyTorch itself where it is installed. The file is for those who have not.
"""

import sys
from pathlib import Path

from safetensors.numpy import save_file

TESTS = Path(__file__).resolve().parent.parent
sys.path += [str(TESTS.parent), str(TESTS / "helpers")]

import op_cases  # noqa: E402
import parity  # noqa: E402


def main():
    arrays = parity.golden_arrays(op_cases.of())
    save_file(arrays, parity.GOLDEN)
    print(f"{parity.GOLDEN.name}: {len(arrays)} arrays, {parity.GOLDEN.stat().st_size} bytes")


if __name__ == "__main__":
    main()
