"""Makes ops.safetensors: values and gradients that PyTorch gives for the cases of test_ops_*.py.

    python tests/golden/make_ops.py          (needs torch; made with 2.13, on a CPU)
"""

import sys
from importlib import import_module
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent / "helpers"
sys.path.insert(0, str(TESTS))

import parity  # noqa: E402


def cases():
    """The cases of all op tests."""
    modules = [import_module(file.stem) for file in sorted(TESTS.glob("test_ops_*.py"))]
    return [case for module in modules for case in module.CASES]


def main():
    from safetensors.numpy import save_file

    arrays = parity.golden_arrays(cases())
    save_file(arrays, parity.GOLDEN)
    print(f"{parity.GOLDEN.name}: {len(arrays)} arrays, {parity.GOLDEN.stat().st_size} bytes")


if __name__ == "__main__":
    main()
