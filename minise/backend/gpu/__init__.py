"""CuPy on an NVIDIA GPU: its package and driver, memory, CUDA graphs, and the kernels in kernels/.

Nothing here is imported until somebody asks for the backend "cupy".
"""
