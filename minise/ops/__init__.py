"""The operations: one class per op, forward directly above backward on raw arrays, and under it
the public function with its checks."""
