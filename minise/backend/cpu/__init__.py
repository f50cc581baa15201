"""NumPy on the processor: threads, memory, and the fast kernels in kernels/."""
