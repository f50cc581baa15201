// Pooling of x (N, H, W, C) to y (N, P, Q, C), one thread per number of the output; backward, one
// thread per number of the input: it collects from every window that saw it. Several threads adding
// to one number would need atomics, whose order, and with it the last bits of the sum, is chance.

struct Pooling {
    int N, C, H, W, P, Q;
    int R, S, stride_h, stride_w, top, left, dilation_h, dilation_w;
};

// Number i of images (N, H, W, C) with channels last: threads side by side have channels side by
// side.
struct Place {
    int n, h, w, c;
    __device__ Place(int i, int H, int W, int C)
        : n(i / C / W / H), h(i / C / W % H), w(i / C % W), c(i % C)
    {
    }
};

// Calls visit(p, q, tap) for every window (p, q) that saw pixel (h, w), and the tap it saw it by.
// `op` is a Pooling, or a Convolution: see columns.cu.
template <class Op, class Visit>
__device__ void windows_that_saw(const Op& op, int h, int w, Visit visit)
{
    for (int r = 0; r < op.R; ++r) {
        const int row = h + op.top - r * op.dilation_h, p = row / op.stride_h;
        if (row < 0 || row % op.stride_h != 0 || p >= op.P) continue;
        for (int s = 0; s < op.S; ++s) {
            const int column = w + op.left - s * op.dilation_w, q = column / op.stride_w;
            if (column < 0 || column % op.stride_w != 0 || q >= op.Q) continue;
            visit(p, q, r * op.S + s);
        }
    }
}

// y = max of the window; winner = the tap that had it. The first of equal values wins, a NaN wins
// over every number, and a later NaN over it. The border counts as -infinity.
extern "C" __global__ void max_pool_forward(
    const Pooling pool, In<Real> x, Out<Real> y, Out<int> winner)
{
    const int i = blockIdx.x * THREADS + threadIdx.x;
    const Place at(i, pool.P, pool.Q, pool.C);
    if (at.n >= pool.N) return;
    const int h = at.h * pool.stride_h - pool.top, w = at.w * pool.stride_w - pool.left;
    Real best = 0;
    int best_tap = 0;
    for (int r = 0; r < pool.R; ++r) {
        for (int s = 0; s < pool.S; ++s) {
            const int row = h + r * pool.dilation_h, column = w + s * pool.dilation_w;
            const bool inside = 0 <= row && row < pool.H && 0 <= column && column < pool.W;
            const int place = ((at.n * pool.H + row) * pool.W + column) * pool.C + at.c;
            const Real v = inside ? x[place] : -infinity();
            const int tap = r * pool.S + s;
            if (tap > 0 && !(v > best) && v == v) continue;  // v differs from itself if it is NaN
            best = v;
            best_tap = tap;
        }
    }
    y[i] = best;
    winner[i] = best_tap;
}

extern "C" __global__ void max_pool_backward(
    const Pooling pool, In<Real> dy, In<int> winner, Out<Real> dx)
{
    const int i = blockIdx.x * THREADS + threadIdx.x;
    const Place at(i, pool.H, pool.W, pool.C);
    if (at.n >= pool.N) return;
    Real sum = 0;
    windows_that_saw(pool, at.h, at.w, [&](int p, int q, int tap) {
        const int place = ((at.n * pool.P + p) * pool.Q + q) * pool.C + at.c;
        sum += winner[place] == tap ? dy[place] : Real(0);
    });
    dx[i] = sum;
}

// What window (p, q) is divided by: `divisor`, or if that is 0 how many pixels it has, those of the
// padding with it or without. (What hangs over the end of the padding never counts.)
__device__ Real window_count(const Pooling& pool, int p, int q, int count_padding, int divisor)
{
    if (divisor != 0) return divisor;
    const int top = count_padding ? pool.top : 0, left = count_padding ? pool.left : 0;
    const int h = p * pool.stride_h - pool.top, w = q * pool.stride_w - pool.left;
    const int rows = min(h + pool.R, pool.H + top) - max(h, -top);
    const int columns = min(w + pool.S, pool.W + left) - max(w, -left);
    return rows * columns;
}

extern "C" __global__ void avg_pool_forward(
    const Pooling pool, In<Real> x, Out<Real> y, int count_padding, int divisor)
{
    const int i = blockIdx.x * THREADS + threadIdx.x;
    const Place at(i, pool.P, pool.Q, pool.C);
    if (at.n >= pool.N) return;
    const int h = at.h * pool.stride_h - pool.top, w = at.w * pool.stride_w - pool.left;
    Real sum = 0;
    for (int row = max(h, 0); row < min(h + pool.R, pool.H); ++row)
        for (int column = max(w, 0); column < min(w + pool.S, pool.W); ++column)
            sum += x[((at.n * pool.H + row) * pool.W + column) * pool.C + at.c];
    y[i] = sum / window_count(pool, at.h, at.w, count_padding, divisor);
}

extern "C" __global__ void avg_pool_backward(
    const Pooling pool, In<Real> dy, Out<Real> dx, int count_padding, int divisor)
{
    const int i = blockIdx.x * THREADS + threadIdx.x;
    const Place at(i, pool.H, pool.W, pool.C);
    if (at.n >= pool.N) return;
    Real sum = 0;
    windows_that_saw(pool, at.h, at.w, [&](int p, int q, int) {
        const Real count = window_count(pool, p, q, count_padding, divisor);
        sum += dy[((at.n * pool.P + p) * pool.Q + q) * pool.C + at.c] / count;
    });
    dx[i] = sum;
}
