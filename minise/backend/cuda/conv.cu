// Convolution as a matrix product whose matrices are never written out ("implicit GEMM"):
//
//     y[n, o, p, q] = bias[o] + Σ_crs w[o, c, r, s] · x[n, c, p·stride + r·dilation - top,
//                                                            q·stride + s·dilation - left]
//
//   kernel             rows m    columns n       summed over k   A[m, k]         B[k, n]
//   forward            o         pixels (npq)    taps (crs)      weight          pixel under a tap
//   input gradient     c         pixels (nhw)    taps (ors)      weight          dy under a tap
//   weight gradient    o         taps (crs)      pixels (npq)    dy              pixel under a tap
//
// The loaders below (see product.cu) compute where A[m, k] and B[k, n] lie in memory. What differs
// from thread to thread (the pixel) is worked out once; what changes with k (the tap) is counted on.
// Groups are convolutions of their own: C and O below are the channels of one group.

struct Convolution {
    int N, C, H, W;  // x, all groups
    int O, P, Q;     // y, all groups
    int R, S, G;     // kernel, groups
    int stride_h, stride_w, top, left, dilation_h, dilation_w;
};

// A channel and a place in the window. `next` is the one that follows in (channel, r, s) order.
struct Tap {
    int channel, r, s;
    __device__ void next(int R, int S)
    {
        if (++s < S) return;
        s = 0;
        if (++r < R) return;
        r = 0;
        ++channel;
    }
};

// --- forward -------------------------------------------------------------------------------------

// A[o, crs]: the weights, as they lie in memory.
template <class T>
struct Weights : SharedAlongK<T::K, T::M> {
    const Real* weight;  // of this group
    const int first, O, taps;

    __device__ Weights(const Real* weight, int first, int O, int taps)
        : weight(weight), first(first), O(O), taps(taps)
    {
    }

    __device__ void fetch(int k, int last)
    {
        const int tap = k + this->k();
#pragma unroll
        for (int i = 0; i < this->EACH; ++i) {
            const int o = first + this->place(i);
            this->fetched[i] = tap < last && o < O ? weight[o * taps + tap] : Real(0);
        }
    }
};

// B[crs, npq]: what tap (c, r, s) of the window of pixel (n, p, q) sees, 0 in the border.
template <class T>
struct Windows : SharedAcross<T::K, T::N> {
    const Convolution conv;
    const Real* image[Windows::EACH];        // the group's first channel
    int h[Windows::EACH], w[Windows::EACH];  // upper left corner of the window
    Tap tap;

    __device__ Windows(const Convolution& conv, const Real* x, int group, int first)
        : conv(conv), tap{0, 0, 0}
    {
        for (int i = 0; i < this->EACH; ++i) {
            const int pixel = first + this->place(i);
            const int n = pixel / (conv.P * conv.Q);
            const int p = pixel / conv.Q % conv.P, q = pixel % conv.Q;
            const int channel = n * conv.C + group * (conv.C / conv.G);
            image[i] = x + channel * conv.H * conv.W;
            h[i] = n < conv.N ? p * conv.stride_h - conv.top : -(1 << 30);  // sees only border
            w[i] = q * conv.stride_w - conv.left;
        }
    }

    __device__ void fetch(int k, int last)
    {
#pragma unroll
        for (int j = 0; j < T::K; ++j) {
#pragma unroll
            for (int i = 0; i < this->EACH; ++i) {
                const int row = h[i] + tap.r * conv.dilation_h;
                const int column = w[i] + tap.s * conv.dilation_w;
                const bool inside = k + j < last && within(row, conv.H) && within(column, conv.W);
                const int place = (tap.channel * conv.H + row) * conv.W + column;
                this->fetched[j][i] = inside ? image[i][place] : Real(0);
            }
            tap.next(conv.R, conv.S);
        }
    }
};

// Blocks: (tiles of pixels, tiles of output channels, groups).
template <class T>
__device__ void forward(
    const Convolution& conv, const Real* x, const Real* weight, const Real* bias, Real* y)
{
    const int O = conv.O / conv.G, taps = conv.C / conv.G * conv.R * conv.S;
    const int group = blockIdx.z;
    const int first_o = blockIdx.y * T::M, first_pixel = blockIdx.x * T::N;
    Weights<T> left(weight + group * O * taps, first_o, O, taps);
    Windows<T> right(conv, x, group, first_pixel);
    Real sum[T::PER_M][T::PER_N] = {};
    product<T>(left, right, 0, taps, sum);

    const int PQ = conv.P * conv.Q;
#pragma unroll
    for (int j = 0; j < T::PER_N; ++j) {
        const int pixel = first_pixel + T::column(j), n = pixel / PQ;
        if (n >= conv.N) continue;
        const int place = n * conv.O * PQ + pixel % PQ;
#pragma unroll
        for (int i = 0; i < T::PER_M; ++i) {
            const int o = first_o + T::row(i), channel = group * O + o;
            if (o < O) y[place + channel * PQ] = sum[i][j] + (bias ? bias[channel] : Real(0));
        }
    }
}

// --- gradient of the input -----------------------------------------------------------------------
//
//     dx[n, c, h, w] = Σ_ors w[o, c, r, s] · dy[n, o, (h + top - r·dilation) / stride,
//                                                     (w + left - s·dilation) / stride]
//
// over the taps for which the divisions leave no remainder. So with a stride of 2 pixels of even
// and of odd h + top meet different taps. Each such class of pixels is a product of its own, in
// which every tap counts: pixel h = first_h + stride·i meets the taps r = a + stride·j, and the
// quotient is start_h + i - j·dilation. (With a stride, dilation is 1: see conv.py.)

struct PixelClass {
    int first_h, first_w;  // its first pixel
    int height, width;     // how many pixels it has
    int tap_h, tap_w;      // its first tap: a
    int R, S;              // how many taps it has
    int start_h, start_w;  // which pixel of dy the first tap of its first pixel meets

    __device__ PixelClass(const Convolution& conv, int a, int b) : tap_h(a), tap_w(b)
    {
        first_h = remainder(a - conv.top, conv.stride_h);
        first_w = remainder(b - conv.left, conv.stride_w);
        height = count(conv.H - first_h, conv.stride_h);
        width = count(conv.W - first_w, conv.stride_w);
        R = count(conv.R - a, conv.stride_h);
        S = count(conv.S - b, conv.stride_w);
        start_h = (first_h + conv.top - a) / conv.stride_h;
        start_w = (first_w + conv.left - b) / conv.stride_w;
    }

    // In [0, stride), for negative numbers too.
    __device__ static int remainder(int n, int stride) { return (n % stride + stride) % stride; }
    // How many of 0, stride, 2·stride, ... are less than n.
    __device__ static int count(int n, int stride)
    {
        return n > 0 ? (n + stride - 1) / stride : 0;
    }
};

// A[c, ors]: the weights of the class's taps.
template <class T>
struct TurnedWeights : SharedAlongK<T::K, T::M> {
    const Convolution conv;
    const PixelClass pixels;
    const Real* weight;  // of this group
    const int first, C;

    __device__ TurnedWeights(
        const Convolution& conv, const PixelClass& pixels, const Real* weight, int first, int C)
        : conv(conv), pixels(pixels), weight(weight), first(first), C(C)
    {
    }

    __device__ void fetch(int k, int last)
    {
        const int tap = k + this->k();
        if (pixels.R * pixels.S == 0) return;  // there is nothing to fetch, nor to divide by
        const int o = tap / (pixels.R * pixels.S);
        const int r = pixels.tap_h + tap / pixels.S % pixels.R * conv.stride_h;
        const int s = pixels.tap_w + tap % pixels.S * conv.stride_w;
#pragma unroll
        for (int i = 0; i < this->EACH; ++i) {
            const int c = first + this->place(i);
            const int place = ((o * C + c) * conv.R + r) * conv.S + s;
            this->fetched[i] = tap < last && c < C ? weight[place] : Real(0);
        }
    }
};

// B[ors, nhw]: the gradient of the output pixel that saw pixel (n, h, w) through tap (r, s).
template <class T>
struct Gradients : SharedAcross<T::K, T::N> {
    const Convolution conv;
    const PixelClass pixels;
    const Real* image[Gradients::EACH];
    int p[Gradients::EACH], q[Gradients::EACH];  // which output pixel saw it by the first tap
    Tap tap;

    __device__ Gradients(
        const Convolution& conv, const PixelClass& pixels, const Real* dy, int group, int first)
        : conv(conv), pixels(pixels), tap{0, 0, 0}
    {
        for (int i = 0; i < this->EACH; ++i) {
            const int pixel = first + this->place(i);
            const int n = pixel / (pixels.height * pixels.width);
            const int channel = n * conv.O + group * (conv.O / conv.G);
            image[i] = dy + channel * conv.P * conv.Q;
            const int row = pixel / pixels.width % pixels.height;
            p[i] = n < conv.N ? pixels.start_h + row : -(1 << 30);
            q[i] = pixels.start_w + pixel % pixels.width;
        }
    }

    __device__ void fetch(int k, int last)
    {
#pragma unroll
        for (int j = 0; j < T::K; ++j) {
#pragma unroll
            for (int i = 0; i < this->EACH; ++i) {
                const int row = p[i] - tap.r * conv.dilation_h;
                const int column = q[i] - tap.s * conv.dilation_w;
                const bool inside = k + j < last && within(row, conv.P) && within(column, conv.Q);
                const int place = (tap.channel * conv.P + row) * conv.Q + column;
                this->fetched[j][i] = inside ? image[i][place] : Real(0);
            }
            tap.next(pixels.R, pixels.S);
        }
    }
};

// Blocks: (tiles of pixels, tiles of input channels, groups · stride_h · stride_w).
template <class T>
__device__ void input_gradient(
    const Convolution& conv, const Real* dy, const Real* weight, Real* dx)
{
    const int C = conv.C / conv.G, O = conv.O / conv.G;
    const int group = blockIdx.z / (conv.stride_h * conv.stride_w);
    const int a = blockIdx.z / conv.stride_w % conv.stride_h, b = blockIdx.z % conv.stride_w;
    const PixelClass pixels(conv, a, b);
    const int first_c = blockIdx.y * T::M, first_pixel = blockIdx.x * T::N;
    const int count = pixels.height * pixels.width;
    if (first_pixel >= conv.N * count) return;  // a class may have fewer pixels than the largest

    const int taps = O * pixels.R * pixels.S;  // maybe 0: a pixel that no window saw
    TurnedWeights<T> left(conv, pixels, weight + group * O * C * conv.R * conv.S, first_c, C);
    Gradients<T> right(conv, pixels, dy, group, first_pixel);
    Real sum[T::PER_M][T::PER_N] = {};
    product<T>(left, right, 0, taps, sum);

    const int HW = conv.H * conv.W;
#pragma unroll
    for (int j = 0; j < T::PER_N; ++j) {
        const int pixel = first_pixel + T::column(j), n = pixel / count;
        if (n >= conv.N) continue;
        const int h = pixels.first_h + pixel / pixels.width % pixels.height * conv.stride_h;
        const int w = pixels.first_w + pixel % pixels.width * conv.stride_w;
        const int place = n * conv.C * HW + h * conv.W + w;
#pragma unroll
        for (int i = 0; i < T::PER_M; ++i) {
            const int c = first_c + T::row(i);
            if (c < C) dx[place + (group * C + c) * HW] = sum[i][j];
        }
    }
}

// --- gradient of the weights ---------------------------------------------------------------------
//
//     dw[o, c, r, s] = Σ_npq dy[n, o, p, q] · x[n, c, p·stride + r·dilation - top, ...]
//
// A small matrix, and a sum over all pixels of the batch: too few tiles to keep a GPU busy. So the
// pixels are split into stretches, each with sums of its own; `sum_of_splits` adds these in order.
// (Adding to one place from all blocks at once, with atomics, would give other bits every time.)

// A[o, npq]: dy.
template <class T>
struct OutputRows : SharedAlongK<T::K, T::M> {
    const Convolution conv;
    const Real* dy;
    const int first, O, group;

    __device__ OutputRows(const Convolution& conv, const Real* dy, int first, int O, int group)
        : conv(conv), dy(dy), first(first), O(O), group(group)
    {
    }

    __device__ void fetch(int k, int last)
    {
        const int pixel = k + this->k();
        const int PQ = conv.P * conv.Q, n = pixel / PQ;
        const Real* image = dy + (n * conv.O + group * O) * PQ + pixel % PQ;
#pragma unroll
        for (int i = 0; i < this->EACH; ++i) {
            const int o = first + this->place(i);
            this->fetched[i] = pixel < last && o < O ? image[o * PQ] : Real(0);
        }
    }
};

// B[npq, crs]: what the windows see, as in `Windows`, with the roles of k and n exchanged.
template <class T>
struct WindowRows : SharedAlongK<T::K, T::N> {
    const Convolution conv;
    const Real* x;
    const int group;
    Tap* taps;  // of the T::N columns, in shared memory

    __device__ WindowRows(const Convolution& conv, const Real* x, int group, int first)
        : conv(conv), x(x), group(group)
    {
        __shared__ Tap shared[T::N];
        taps = shared;
        const int C = conv.C / conv.G;
        for (int j = threadIdx.x; j < T::N; j += THREADS) {
            const int tap = first + j, channel = tap / (conv.R * conv.S);
            taps[j] = {channel < C ? channel : -1, tap / conv.S % conv.R, tap % conv.S};
        }
        __syncthreads();
    }

    __device__ void fetch(int k, int last)
    {
        const int pixel = k + this->k();
        const int n = pixel / (conv.P * conv.Q);
        const int h = pixel / conv.Q % conv.P * conv.stride_h - conv.top;
        const int w = pixel % conv.Q * conv.stride_w - conv.left;
        const Real* image = x + (n * conv.C + group * (conv.C / conv.G)) * conv.H * conv.W;
#pragma unroll
        for (int i = 0; i < this->EACH; ++i) {
            const Tap tap = taps[this->place(i)];
            const int row = h + tap.r * conv.dilation_h, column = w + tap.s * conv.dilation_w;
            const bool inside = pixel < last && tap.channel >= 0 && within(row, conv.H) &&
                                within(column, conv.W);
            const int place = (tap.channel * conv.H + row) * conv.W + column;
            this->fetched[i] = inside ? image[place] : Real(0);
        }
    }
};

// Blocks: (tiles of taps, tiles of output channels, groups · splits). dw (splits, O, C/G, R, S).
template <class T>
__device__ void weight_gradient(
    const Convolution& conv, const Real* x, const Real* dy, Real* dw, int splits, int stretch)
{
    const int O = conv.O / conv.G, taps = conv.C / conv.G * conv.R * conv.S;
    const int group = blockIdx.z / splits, split = blockIdx.z % splits;
    const int first_o = blockIdx.y * T::M, first_tap = blockIdx.x * T::N;
    const int first = split * stretch, last = min(first + stretch, conv.N * conv.P * conv.Q);
    OutputRows<T> left(conv, dy, first_o, O, group);
    WindowRows<T> right(conv, x, group, first_tap);
    Real sum[T::PER_M][T::PER_N] = {};
    product<T>(left, right, first, last, sum);

#pragma unroll
    for (int i = 0; i < T::PER_M; ++i) {
#pragma unroll
        for (int j = 0; j < T::PER_N; ++j) {
            const int o = first_o + T::row(i), tap = first_tap + T::column(j);
            if (o < O && tap < taps) dw[(split * conv.O + group * O + o) * taps + tap] = sum[i][j];
        }
    }
}

// dw[i] = Σ_split parts[split, i], one thread per i.
extern "C" __global__ void sum_of_splits(In<Real> parts, Out<Real> dw, int count, int splits)
{
    const int i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= count) return;
    double sum = 0;
    for (int split = 0; split < splits; ++split) sum += parts[split * count + i];
    dw[i] = sum;
}

// db[o] = Σ_npq dy[n, o, p, q], one block per channel; L = P·Q.
extern "C" __global__ void bias_gradient(In<Real> dy, Out<Real> db, int N, int O, int L)
{
    const int o = blockIdx.x;
    double sum = 0;
    for (int n = row_in_block(); n < N; n += ROWS) {
        Real part = 0;
        for (int i = lane(); i < L; i += LANES) part += dy[(n * O + o) * L + i];
        sum += part;
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) db[o] = sum;
}

// --- one kernel per size of tile -----------------------------------------------------------------
// A tile as high as the matrix has rows wastes nothing; a high one reads every number less often.

template <int M, int N, int K, int PER_M, int PER_N>
#ifdef TF32
using ChosenTile = TensorTile<M, N, K>;
#else
using ChosenTile = Tile<M, N, K, PER_M, PER_N>;
#endif

#define KERNELS(M, N, PER_M, PER_N, N_W, PER_M_W, PER_N_W)                                        \
    extern "C" __global__ __launch_bounds__(THREADS) void conv_forward_##M(                       \
        const Convolution conv, In<Real> x, In<Real> weight, In<Real> bias, Out<Real> y)          \
    {                                                                                             \
        forward<ChosenTile<M, N, 16, PER_M, PER_N>>(conv, x, weight, bias, y);                    \
    }                                                                                             \
    extern "C" __global__ __launch_bounds__(THREADS) void conv_input_gradient_##M(                \
        const Convolution conv, In<Real> dy, In<Real> weight, Out<Real> dx)                       \
    {                                                                                             \
        input_gradient<ChosenTile<M, N, 16, PER_M, PER_N>>(conv, dy, weight, dx);                 \
    }                                                                                             \
    extern "C" __global__ __launch_bounds__(THREADS) void conv_weight_gradient_##M(               \
        const Convolution conv, In<Real> x, In<Real> dy, Out<Real> dw, int splits, int stretch)   \
    {                                                                                             \
        weight_gradient<ChosenTile<M, N_W, 32, PER_M_W, PER_N_W>>(                                \
            conv, x, dy, dw, splits, stretch);                                                    \
    }

KERNELS(16, 256, 4, 8, 64, 2, 4)
KERNELS(32, 128, 4, 8, 64, 4, 4)
KERNELS(64, 128, 8, 8, 64, 8, 4)
#undef KERNELS
