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

// In (N, C, H, W) memory the L = H·W pixels of one channel of one image lie side by side: a row.
// A block takes ROWS rows at a time, LANES threads each.

constexpr int LANES = 32;
constexpr int ROWS = THREADS / LANES;

__device__ int lane() { return threadIdx.x % LANES; }
__device__ int row_in_block() { return threadIdx.x / LANES; }

// Σ of one value per thread over `width` neighbouring threads; each of them gets the sum.
// A tree: in every round half of the threads add what the other half holds. The order is always
// the same, so the same numbers give the same bits. All threads of the block must call it.
__device__ double tree_sum(double value, int width)
{
    __shared__ double part[THREADS];
    const int place = threadIdx.x % width;
    __syncthreads();  // whoever still reads the sum before this one
    part[threadIdx.x] = value;
    __syncthreads();
    for (int half = width / 2; half > 0; half /= 2) {
        if (place < half) part[threadIdx.x] += part[threadIdx.x + half];
        __syncthreads();
    }
    return part[threadIdx.x - place];
}

__device__ double row_sum(double value) { return tree_sum(value, LANES); }
__device__ double block_sum(double value) { return tree_sum(value, THREADS); }

// What a ReLU lets through: written so that NaN passes, as in the plain kernels.
__device__ Real relu(Real v) { return v < 0 ? Real(0) : v; }
__device__ Real relu_passes(Real dy, Real y) { return y <= 0 ? Real(0) : dy; }

// What the headers of C define as INFINITY and NAN.
__device__ Real infinity() { return Real(1) / Real(0); }
__device__ Real not_a_number() { return infinity() - infinity(); }
