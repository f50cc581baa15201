// How threads share out numbers, and how they add up. `Real` is float or double; THREADS, how many
// threads a block has, is the same for every kernel (launch.py sets both).

// What a kernel reads, and what it writes. Two arrays that are only read may be the same; one that
// is written overlaps with no other ("restrict"). So what was read once need not be read again
// after a write, and may come through the cache for data that stay as they are.
template <class T> using In = const T* __restrict__;
template <class T> using Out = T* __restrict__;

// Where the numbers are independent of each other, a thread takes several of them, a grid's width
// apart: so the threads of a warp always read neighbours.
#define FOR_EACH(i, count)                                                                        \
    for (int i = blockIdx.x * THREADS + threadIdx.x; i < count; i += gridDim.x * THREADS)

// In memory with channels last, (N, H, W, C), the C numbers of a pixel lie side by side, and what
// belongs to a channel (an average, a gate) belongs to a column of numbers. So a thread keeps to
// one channel, and the blocks are numbered by (channels, images, pixels): a block takes CHANNELS
// channels, as many as memory delivers at once, of PIXELS pixels at a time.

constexpr int CHANNELS = 8;
constexpr int PIXELS = THREADS / CHANNELS;

__device__ int channel() { return blockIdx.x * CHANNELS + threadIdx.x % CHANNELS; }

#define FOR_EACH_IMAGE(n, count) for (int n = blockIdx.y; n < count; n += gridDim.y)

// Every block has its share of the pixels, in one piece.
__device__ int share(int count) { return (count + gridDim.z - 1) / gridDim.z; }
__device__ int first_pixel(int count) { return blockIdx.z * share(count); }

#define FOR_EACH_PIXEL(i, count)                                                                  \
    for (int i = first_pixel(count) + threadIdx.x / CHANNELS,                                     \
             end = min(count, first_pixel(count) + share(count));                                 \
         i < end; i += PIXELS)

// Where there is a sum for every row of a matrix, a block takes ROWS rows, LANES threads each.

constexpr int LANES = 32;
constexpr int ROWS = THREADS / LANES;

__device__ int lane() { return threadIdx.x % LANES; }
__device__ int row_in_block() { return threadIdx.x / LANES; }

// A sum of many numbers: a stretch of them in Real, which is fast, the stretches in double.
struct Sum {
    static constexpr int STRETCH = 32;
    double before = 0;
    Real now = 0;
    int count = 0;

    __device__ void add(Real value)
    {
        now += value;
        if (++count % STRETCH > 0) return;
        before += now;
        now = 0;
    }
    __device__ double total() const { return before + now; }
};

// Σ of one value per thread over those of `width` neighbouring threads that are a multiple of
// `apart` away from each other; each of them gets the sum. A tree: in every round half of the
// threads add what the other half holds. The order is always the same, so the same numbers give
// the same bits. All threads of the block must call it.
__device__ double tree_sum(double value, int width, int apart)
{
    __shared__ double part[THREADS];
    const int place = threadIdx.x % width;
    __syncthreads();  // whoever still reads the sum before this one
    part[threadIdx.x] = value;
    __syncthreads();
    for (int half = width / 2; half >= apart; half /= 2) {
        if (place < half) part[threadIdx.x] += part[threadIdx.x + half];
        __syncthreads();
    }
    return part[threadIdx.x - place + place % apart];
}

__device__ double row_sum(double value) { return tree_sum(value, LANES, 1); }
__device__ double channel_sum(double value) { return tree_sum(value, THREADS, CHANNELS); }

// What a ReLU lets through: written so that NaN passes, as in the plain kernels.
__device__ Real relu(Real v) { return v < 0 ? Real(0) : v; }
__device__ Real relu_passes(Real dy, Real y) { return y <= 0 ? Real(0) : dy; }

// What the headers of C define as INFINITY and NAN.
__device__ Real infinity() { return Real(1) / Real(0); }
__device__ Real not_a_number() { return infinity() - infinity(); }
