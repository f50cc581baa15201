// Pooling of x (N, C, H, W) to y (N, C, P, Q), one thread per output pixel; backward, one thread
// per input pixel: it collects from every window that saw it. Several threads adding to one pixel
// would need atomics, whose order, and with it the last bits of the sum, is chance.

struct Pooling {
    int images, H, W, P, Q;  // images: N·C, for channels do not mix
    int R, S, stride_h, stride_w, top, left, dilation_h, dilation_w;
};

// Calls visit(p, q, tap) for every window (p, q) that saw pixel (h, w), and the tap it saw it by.
template <class Visit>
__device__ void windows_that_saw(const Pooling& pool, int h, int w, Visit visit)
{
    for (int r = 0; r < pool.R; ++r) {
        const int row = h + pool.top - r * pool.dilation_h, p = row / pool.stride_h;
        if (row < 0 || row % pool.stride_h != 0 || p >= pool.P) continue;
        for (int s = 0; s < pool.S; ++s) {
            const int column = w + pool.left - s * pool.dilation_w, q = column / pool.stride_w;
            if (column < 0 || column % pool.stride_w != 0 || q >= pool.Q) continue;
            visit(p, q, r * pool.S + s);
        }
    }
}

// y = max of the window; winner = the tap that had it. The first of equal values wins, a NaN wins
// over every number, and a later NaN over it. The border counts as -infinity.
extern "C" __global__ void max_pool_forward(
    const Pooling pool, In<Real> x, Out<Real> y, Out<int> winner)
{
    const int pixel = blockIdx.x * THREADS + threadIdx.x;
    const int image = pixel / (pool.P * pool.Q);
    if (image >= pool.images) return;
    const int h = pixel / pool.Q % pool.P * pool.stride_h - pool.top;
    const int w = pixel % pool.Q * pool.stride_w - pool.left;
    Real best = 0;
    int best_tap = 0;
    for (int r = 0; r < pool.R; ++r) {
        for (int s = 0; s < pool.S; ++s) {
            const int row = h + r * pool.dilation_h, column = w + s * pool.dilation_w;
            const bool inside = 0 <= row && row < pool.H && 0 <= column && column < pool.W;
            const Real v = inside ? x[(image * pool.H + row) * pool.W + column] : -infinity();
            const int tap = r * pool.S + s;
            if (tap > 0 && !(v > best) && v == v) continue;  // v differs from itself if it is NaN
            best = v;
            best_tap = tap;
        }
    }
    y[pixel] = best;
    winner[pixel] = best_tap;
}

extern "C" __global__ void max_pool_backward(
    const Pooling pool, In<Real> dy, In<int> winner, Out<Real> dx)
{
    const int pixel = blockIdx.x * THREADS + threadIdx.x;
    const int image = pixel / (pool.H * pool.W);
    if (image >= pool.images) return;
    Real sum = 0;
    windows_that_saw(pool, pixel / pool.W % pool.H, pixel % pool.W, [&](int p, int q, int tap) {
        const int place = (image * pool.P + p) * pool.Q + q;
        sum += winner[place] == tap ? dy[place] : Real(0);
    });
    dx[pixel] = sum;
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
    const int pixel = blockIdx.x * THREADS + threadIdx.x;
    const int image = pixel / (pool.P * pool.Q);
    if (image >= pool.images) return;
    const int p = pixel / pool.Q % pool.P, q = pixel % pool.Q;
    const int h = p * pool.stride_h - pool.top, w = q * pool.stride_w - pool.left;
    Real sum = 0;
    for (int row = max(h, 0); row < min(h + pool.R, pool.H); ++row)
        for (int column = max(w, 0); column < min(w + pool.S, pool.W); ++column)
            sum += x[(image * pool.H + row) * pool.W + column];
    y[pixel] = sum / window_count(pool, p, q, count_padding, divisor);
}

extern "C" __global__ void avg_pool_backward(
    const Pooling pool, In<Real> dy, Out<Real> dx, int count_padding, int divisor)
{
    const int pixel = blockIdx.x * THREADS + threadIdx.x;
    const int image = pixel / (pool.H * pool.W);
    if (image >= pool.images) return;
    Real sum = 0;
    windows_that_saw(pool, pixel / pool.W % pool.H, pixel % pool.W, [&](int p, int q, int) {
        const Real count = window_count(pool, p, q, count_padding, divisor);
        sum += dy[(image * pool.P + p) * pool.Q + q] / count;
    });
    dx[pixel] = sum;
}
