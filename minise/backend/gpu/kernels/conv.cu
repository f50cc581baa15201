// Convolution as a matrix product whose matrices are never written out ("implicit GEMM"):
//
//     y[n, o, p, q] = bias[o] + Σ_rsc w[o, c, r, s] · x[n, c, p·stride + r·dilation - top,
//                                                            q·stride + s·dilation - left]
//
//   kernel             rows m          columns n   summed over k    A[m, k]             B[k, n]
//   forward            pixels (npq)    o           taps (rsc)       pixel under a tap   weight
//   input gradient     pixels (nhw)    c           taps (rso)       dy under a tap      weight
//   weight gradient    taps (rsc)      o           pixels (npq)     pixel under a tap   dy
//
// In memory the channels come last: x (N, H, W, C), y (N, P, Q, O), weights (O, R, S, C). So the
// loaders below (see product.cu) read four channels at once, and work out only for the four of
// them where they lie and whether that is in the border. What differs from thread to thread (the
// pixel) is worked out once; what changes with k (the tap) is counted on.
//
// Groups are convolutions of their own, with C and O channels each.

struct Convolution {
    int N, C, H, W;  // x, all groups
    int O, P, Q;     // y, all groups
    int R, S, G;     // kernel, groups
    int stride_h, stride_w, top, left, dilation_h, dilation_w;
};

// One group's channels of x or y.
struct Images {
    int N, H, W;
    int all, first, count;  // channels: of all groups, before the group's first, of the group

    __device__ int place(int n, int h, int w) const { return ((n * H + h) * W + w) * all + first; }
};

__device__ Images inputs(const Convolution& conv, int group)
{
    const int C = conv.C / conv.G;
    return {conv.N, conv.H, conv.W, conv.C, group * C, C};
}

__device__ Images outputs(const Convolution& conv, int group)
{
    const int O = conv.O / conv.G;
    return {conv.N, conv.P, conv.Q, conv.O, group * O, O};
}

// A place in the window and a channel. In the order of the sums, (r, s, channel), every place has
// as many channels as make whole fours: those beyond the last are read as 0.
struct Tap {
    int r, s, channel;

    // The tap `count` further on.
    __device__ void advance(int count, int S, int channels)
    {
        channel += count;
        while (channel >= channels) {
            channel -= channels;
            if (++s < S) continue;
            s = 0;
            ++r;
        }
    }
};

__device__ int whole_fours(int channels) { return (channels + 3) / 4 * 4; }

// What a convolution does along H or W. Pixel i of the result, the one at first + i·step, meets
// pixel start + i·stride + j·dilation by the kernel's tap begin + j·next.
struct Axis {
    int count, first, step;
    int start, stride, dilation;
    int taps, begin, next;
};

// A[pixel, tap]: what the window of a pixel sees, 0 in the border.
template <class T>
struct Windows : FoursAlongK<T::K, T::M> {
    const Images from;
    const Real* memory;
    const Axis h, w;
    const bool whole;
    int row[Windows::EACH], column[Windows::EACH], corner[Windows::EACH];  // of the first tap
    Tap tap;

    __device__ Windows(
        const Images& from, const Real* memory, const Axis& h, const Axis& w, int first)
        : from(from), memory(memory), h(h), w(w), whole(in_fours(memory, from.count)), tap{}
    {
        for (int i = 0; i < this->EACH; ++i) {
            const int pixel = first + this->place(i);
            const int n = pixel / (h.count * w.count);
            row[i] = h.start + pixel / w.count % h.count * h.stride;
            column[i] = w.start + pixel % w.count * w.stride;
            corner[i] = n < from.N ? from.place(n, row[i], column[i]) : 0;
            if (n >= from.N) row[i] = -(1 << 30);  // sees only border
        }
        tap.advance(this->k(), w.taps, whole_fours(from.count));
    }

    __device__ void fetch()
    {
        const int down = tap.r * h.dilation, right = tap.s * w.dilation;
        const int way = (down * from.W + right) * from.all + tap.channel;
#pragma unroll
        for (int i = 0; i < this->EACH; ++i) {
            const bool inside = tap.r < h.taps && within(row[i] + down, from.H) &&
                                within(column[i] + right, from.W);
            this->fetched[i] =
                read(memory + (corner[i] + way), inside, from.count - tap.channel, whole);
        }
        tap.advance(T::K, w.taps, whole_fours(from.count));
    }
};

// The product that forward and the input gradient have in common.
// Blocks: (tiles of pixels, tiles of channels, ...).
template <class T, class Right>
__device__ void windows_times(
    Right& right, const Images& from, const Real* x, const Axis& h, const Axis& w,
    const Images& to, const Real* bias, Real* y)
{
    const int first_pixel = blockIdx.x * T::M, first_channel = blockIdx.y * T::N;
    Windows<T> left(from, x, h, w, first_pixel);
    Real sum[T::PER_M][T::PER_N] = {};
    product<T>(left, right, h.taps * w.taps * whole_fours(from.count), sum);

    constexpr int COUNT = T::SIDE_BY_SIDE;
    const bool whole = in_fours(y, to.count);
#pragma unroll
    for (int i = 0; i < T::PER_M; ++i) {
        const int pixel = first_pixel + T::row(i), n = pixel / (h.count * w.count);
        if (n >= to.N) continue;
        const int row = h.first + pixel / w.count % h.count * h.step;
        const int column = w.first + pixel % w.count * w.step;
        Real* place = y + to.place(n, row, column);
#pragma unroll
        for (int j = 0; j < T::PER_N; j += COUNT) {
            const int c = first_channel + T::column(j);
            Together<COUNT> numbers;
#pragma unroll
            for (int k = 0; k < COUNT; ++k) {
                const bool biased = bias && c + k < to.count;
                numbers.number[k] = sum[i][j + k] + (biased ? bias[to.first + c + k] : Real(0));
            }
            write(numbers, place + c, to.count - c, whole);
        }
    }
}

// --- forward -------------------------------------------------------------------------------------

__device__ Axis forward_axis(int outputs, int taps, int stride, int padding, int dilation)
{
    return {outputs, 0, 1, -padding, stride, dilation, taps, 0, 1};
}

__device__ Axis forward_h(const Convolution& conv)
{
    return forward_axis(conv.P, conv.R, conv.stride_h, conv.top, conv.dilation_h);
}

__device__ Axis forward_w(const Convolution& conv)
{
    return forward_axis(conv.Q, conv.S, conv.stride_w, conv.left, conv.dilation_w);
}

// B[rsc, o]: the weights, as they lie in memory.
template <class T>
struct Weights : FoursAlongK<T::K, T::N> {
    const Real* weight;  // of this group
    const int first, O, R, S, C;
    const bool whole;
    Tap tap;

    __device__ Weights(const Real* weight, int first, int O, int R, int S, int C)
        : weight(weight), first(first), O(O), R(R), S(S), C(C), whole(in_fours(weight, C)), tap{}
    {
        tap.advance(this->k(), S, whole_fours(C));
    }

    __device__ void fetch()
    {
        const int way = (tap.r * S + tap.s) * C + tap.channel;
#pragma unroll
        for (int i = 0; i < this->EACH; ++i) {
            const int o = first + this->place(i);
            const bool inside = tap.r < R && o < O;
            this->fetched[i] =
                read(weight + (o * R * S * C + way), inside, C - tap.channel, whole);
        }
        tap.advance(T::K, S, whole_fours(C));
    }
};

// Blocks: (tiles of pixels, tiles of output channels, groups).
template <class T>
__device__ void forward(
    const Convolution& conv, const Real* x, const Real* weight, const Real* bias, Real* y)
{
    const int group = blockIdx.z;
    const Images from = inputs(conv, group), to = outputs(conv, group);
    const int R = conv.R, S = conv.S, C = from.count, O = to.count;
    Weights<T> right(weight + group * O * R * S * C, blockIdx.y * T::N, O, R, S, C);
    windows_times<T>(right, from, x, forward_h(conv), forward_w(conv), to, bias, y);
}

// --- gradient of the input -----------------------------------------------------------------------
//
//     dx[n, c, h, w] = Σ_rso w[o, c, r, s] · dy[n, o, (h + top - r·dilation) / stride,
//                                                     (w + left - s·dilation) / stride]
//
// over the taps for which the divisions leave no remainder. So with a stride of 2 pixels of even
// and of odd h + top meet different taps. Each such class of pixels is a convolution of its own, in
// which every tap counts: it has the pixels first + stride·i and the taps a + stride·j, and the
// quotient is start + i - j·dilation. (With a stride, dilation is 1: see conv.py.)

// In [0, stride), for negative numbers too.
__device__ int remainder(int n, int stride) { return (n % stride + stride) % stride; }
// How many of 0, stride, 2·stride, ... are less than n.
__device__ int multiples(int n, int stride) { return n > 0 ? (n + stride - 1) / stride : 0; }

// The class whose first tap is a.
__device__ Axis gradient_axis(int inputs, int taps, int stride, int padding, int dilation, int a)
{
    const int first = remainder(a - padding, stride), start = (first + padding - a) / stride;
    return {multiples(inputs - first, stride), first, stride, start, 1, -dilation,
            multiples(taps - a, stride), a, stride};
}

// B[rso, c]: the weights of the class's taps.
template <class T>
struct TurnedWeights : FoursAcross<T::K, T::N> {
    const Real* weight;  // of this group
    const Axis h, w;
    const int first, O, R, S, C;
    const bool whole;
    Tap tap;

    __device__ TurnedWeights(
        const Real* weight, const Axis& h, const Axis& w, int first, int O, int R, int S, int C)
        : weight(weight), h(h), w(w), first(first), O(O), R(R), S(S), C(C),
          whole(in_fours(weight, C)), tap{}
    {
        tap.advance(this->k(0), w.taps, whole_fours(O));
    }

    __device__ void fetch()
    {
        const int r = h.begin + tap.r * h.next, s = w.begin + tap.s * w.next;
        const int c = first + this->place();
#pragma unroll
        for (int i = 0; i < this->EACH; ++i) {
            const int o = tap.channel + this->k(i) - this->k(0);  // in the same four: the same tap
            const bool inside = tap.r < h.taps && tap.s < w.taps && o < O && c < C;
            this->fetched[i] =
                read(weight + (((o * R + r) * S + s) * C + c), inside, C - c, whole);
        }
        tap.advance(T::K, w.taps, whole_fours(O));
    }
};

// Blocks: (tiles of pixels, tiles of input channels, groups · stride_h · stride_w).
template <class T>
__device__ void input_gradient(
    const Convolution& conv, const Real* dy, const Real* weight, Real* dx)
{
    const int group = blockIdx.z / (conv.stride_h * conv.stride_w);
    const int a = blockIdx.z / conv.stride_w % conv.stride_h, b = blockIdx.z % conv.stride_w;
    const Axis h = gradient_axis(conv.H, conv.R, conv.stride_h, conv.top, conv.dilation_h, a);
    const Axis w = gradient_axis(conv.W, conv.S, conv.stride_w, conv.left, conv.dilation_w, b);
    // A class may have fewer pixels than the largest. (It may also have no taps: pixels that no
    // window saw.)
    if (int(blockIdx.x * T::M) >= conv.N * h.count * w.count) return;

    const Images from = outputs(conv, group), to = inputs(conv, group);
    const int R = conv.R, S = conv.S, C = to.count, O = from.count;
    TurnedWeights<T> right(weight + group * O * R * S * C, h, w, blockIdx.y * T::N, O, R, S, C);
    windows_times<T>(right, from, dy, h, w, to, nullptr, dx);
}

// --- gradient of the weights ---------------------------------------------------------------------
//
//     dw[o, c, r, s] = Σ_npq dy[n, o, p, q] · x[n, c, p·stride + r·dilation - top, ...]
//
// A small matrix, and a sum over all pixels of the batch: too few tiles to keep a GPU busy. So the
// pixels are split into stretches, each with sums of its own; `sum_of_splits` adds these in order.
// (Adding to one place from all blocks at once, with atomics, would give other bits every time.)

// A[rsc, npq]: what the windows see, as in `Windows`, with the roles of m and k exchanged.
template <class T>
struct WindowColumns : FoursAcross<T::K, T::M> {
    const Images from;
    const Real* x;
    const Axis h, w;
    const bool whole;
    Tap tap;
    int pixel;
    const int last;

    __device__ WindowColumns(
        const Images& from, const Real* x, const Axis& h, const Axis& w, int first_tap,
        int first_pixel, int last)
        : from(from), x(x), h(h), w(w), whole(in_fours(x, from.count)), tap{},
          pixel(first_pixel + this->k(0)), last(last)
    {
        const int channels = whole_fours(from.count), m = first_tap + this->place();
        tap = {m / channels / w.taps, m / channels % w.taps, m % channels};
    }

    __device__ void fetch()
    {
        static_assert(T::K / 4 * WindowColumns::ACROSS == THREADS, "a thread's k are neighbours");
        int n = pixel / (h.count * w.count), p = pixel / w.count % h.count, q = pixel % w.count;
#pragma unroll
        for (int i = 0; i < this->EACH; ++i) {
            const int row = h.start + p * h.stride + tap.r * h.dilation;
            const int column = w.start + q * w.stride + tap.s * w.dilation;
            const bool inside = pixel + i < last && tap.r < h.taps && within(row, from.H) &&
                                within(column, from.W);
            const int place = from.place(n, row, column) + tap.channel;
            this->fetched[i] = read(x + place, inside, from.count - tap.channel, whole);
            if (++q < w.count) continue;  // the next pixel
            q = 0;
            if (++p < h.count) continue;
            p = 0;
            ++n;
        }
        pixel += T::K;
    }
};

// B[npq, o]: dy.
template <class T>
struct Gradients : FoursAcross<T::K, T::N> {
    const Images to;
    const Real* dy;
    const bool whole;
    const int o;
    int pixel;
    const int last;

    __device__ Gradients(const Images& to, const Real* dy, int first_o, int first_pixel, int last)
        : to(to), dy(dy), whole(in_fours(dy, to.count)), o(first_o + this->place()),
          pixel(first_pixel), last(last)
    {
    }

    __device__ void fetch()
    {
#pragma unroll
        for (int i = 0; i < this->EACH; ++i) {
            const int k = pixel + this->k(i);
            const bool inside = k < last && o < to.count;
            this->fetched[i] =
                read(dy + (k * to.all + to.first + o), inside, to.count - o, whole);
        }
        pixel += T::K;
    }
};

// Blocks: (tiles of taps, tiles of output channels, groups · splits). dw (splits, O, C/G, R, S).
template <class T>
__device__ void weight_gradient(
    const Convolution& conv, const Real* x, const Real* dy, Real* dw, int splits, int stretch)
{
    const int group = blockIdx.z / splits, split = blockIdx.z % splits;
    const Images from = inputs(conv, group), to = outputs(conv, group);
    const int first_tap = blockIdx.x * T::M, first_o = blockIdx.y * T::N;
    const int first = split * stretch, last = min(first + stretch, conv.N * conv.P * conv.Q);
    WindowColumns<T> left(from, x, forward_h(conv), forward_w(conv), first_tap, first, last);
    Gradients<T> right(to, dy, first_o, first, last);
    Real sum[T::PER_M][T::PER_N] = {};
    product<T>(left, right, last - first, sum);

    const int channels = whole_fours(from.count), RS = conv.R * conv.S;
#pragma unroll
    for (int i = 0; i < T::PER_M; ++i) {
        const int m = first_tap + T::row(i), tap = m / channels, c = m % channels;
        if (tap >= RS || c >= from.count) continue;
#pragma unroll
        for (int j = 0; j < T::PER_N; ++j) {
            const int o = first_o + T::column(j);
            const int place = ((split * to.all + to.first + o) * from.count + c) * RS + tap;
            if (o < to.count) dw[place] = sum[i][j];
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

// db[o] = Σ_npq dy[n, o, p, q], by splits of the pixels too. Blocks: (channels, 1, splits).
extern "C" __global__ void bias_gradient(In<Real> dy, Out<Real> parts, int pixels, int O)
{
    const int o = channel();
    Sum sum;
    if (o < O) FOR_EACH_PIXEL(i, pixels) sum.add(dy[i * O + o]);
    const double total = channel_sum(sum.total());
    if (threadIdx.x < CHANNELS && o < O) parts[blockIdx.z * O + o] = total;
}

// --- one kernel per size of tile -----------------------------------------------------------------
// A tile as wide as the matrix wastes nothing; a wide one reads every number less often. Three
// blocks should fit on a multiprocessor (two with doubles): while one waits, the others compute.

constexpr int AT_A_TIME = sizeof(Real) == 4 ? 3 : 2;

template <int M, int N, int K, int PER_M, int PER_N>
#ifdef TF32
using ChosenTile = TensorTile<M, N, K>;
#else
using ChosenTile = Tile<M, N, K, PER_M, PER_N>;
#endif

#define KERNELS(N, M, PER_M, PER_N, M_W, PER_M_W, PER_N_W)                                        \
    extern "C" __global__ __launch_bounds__(THREADS, AT_A_TIME) void conv_forward_##N(            \
        const Convolution conv, In<Real> x, In<Real> weight, In<Real> bias, Out<Real> y)          \
    {                                                                                             \
        forward<ChosenTile<M, N, 16, PER_M, PER_N>>(conv, x, weight, bias, y);                    \
    }                                                                                             \
    extern "C" __global__ __launch_bounds__(THREADS, AT_A_TIME) void conv_input_gradient_##N(     \
        const Convolution conv, In<Real> dy, In<Real> weight, Out<Real> dx)                       \
    {                                                                                             \
        input_gradient<ChosenTile<M, N, 16, PER_M, PER_N>>(conv, dy, weight, dx);                 \
    }                                                                                             \
    extern "C" __global__ __launch_bounds__(THREADS) void conv_weight_gradient_##N(               \
        const Convolution conv, In<Real> x, In<Real> dy, Out<Real> dw, int splits, int stretch)   \
    {                                                                                             \
        weight_gradient<ChosenTile<M_W, N, 32, PER_M_W, PER_N_W>>(                                \
            conv, x, dy, dw, splits, stretch);                                                    \
    }

KERNELS(16, 256, 8, 4, 64, 2, 4)
KERNELS(32, 128, 8, 4, 64, 4, 4)
KERNELS(64, 128, 8, 8, 64, 8, 4)
#undef KERNELS
