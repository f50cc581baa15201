// One tile of a matrix product:  sum[m, n] = Σ_k A[m, k] · B[k, n].
//
// A thread that computed one number of the product would read two numbers for every
// multiplication, and memory cannot deliver that. So a block computes a tile of M × N numbers:
// it copies K columns of A and K rows of B into shared memory, where every number is used N or M
// times; and each thread computes PER_M × PER_N of them in its registers, so that every number
// read from shared memory is used several times more.
//
//              N                    thread (i, j) of the block has rows    i·PER_M + m
//         ┌─────────┐                                      and columns   j + n·(N / PER_N):
//       K │    B    │               threads side by side write numbers side by side
//     K   └─────────┘
//   ┌───┐ ┌─────────┐
// M │ A │ │   sum   │
//   └───┘ └─────────┘
//
// (Tensor cores share a tile out among the threads in another way, and multiply it by another
// instruction: tf32.cu has a tile with the same members for them.)
//
// Where the numbers come from is the affair of two loaders, one for A and one for B. In a
// convolution neither matrix exists in memory ("implicit GEMM"): see conv.cu. A loader's
// `fetch(k, last)` reads columns (rows) k ... k + K - 1, and 0 from `last` on, into registers;
// `put(tile)` writes them to shared memory. In between, while the numbers are on their way, the
// threads compute with the ones before.

template <int M_, int N_, int K_, int PER_M_, int PER_N_>
struct Tile {
    static constexpr int M = M_, N = N_, K = K_, PER_M = PER_M_, PER_N = PER_N_;
    static constexpr int ACROSS = N / PER_N;  // threads side by side
    // Rows of shared memory are four numbers longer than needed: threads that write one below the
    // other then meet in fewer of its 32 banks.
    static constexpr int A_ROW = M + 4, B_ROW = N + 4;
    static_assert(ACROSS * (M / PER_M) == THREADS, "every thread has its part of the tile");

    // The rows and columns of the tile that this thread computes.
    __device__ static int row(int m) { return threadIdx.x / ACROSS * PER_M + m; }
    __device__ static int column(int n) { return threadIdx.x % ACROSS + n * ACROSS; }

    // What is written to shared memory: the number itself.
    __device__ static Real operand(Real value) { return value; }

    // sum[m, n] += Σ_k a[k, m] · b[k, n] over the K that are in shared memory.
    __device__ static void multiply(
        const Real (&a)[K][A_ROW], const Real (&b)[K][B_ROW], Real (&sum)[PER_M][PER_N])
    {
#pragma unroll
        for (int i = 0; i < K; ++i) {
            Real u[PER_M], v[PER_N];
#pragma unroll
            for (int m = 0; m < PER_M; ++m) u[m] = a[i][row(m)];
#pragma unroll
            for (int n = 0; n < PER_N; ++n) v[n] = b[i][column(n)];
#pragma unroll
            for (int m = 0; m < PER_M; ++m)
#pragma unroll
                for (int n = 0; n < PER_N; ++n) sum[m][n] += u[m] * v[n];
        }
    }
};

// Two ways to share out K × SIZE numbers among the threads. Neighbouring threads should read
// neighbouring numbers: the first is for matrices that run through memory along k, the second for
// those that run along the other axis.

template <int K, int SIZE>
struct SharedAlongK {
    static_assert(THREADS % K == 0, "a thread always fetches the same k");
    static constexpr int EACH = K * SIZE / THREADS;
    Real fetched[EACH];

    __device__ static int k() { return threadIdx.x % K; }
    __device__ static int place(int i) { return threadIdx.x / K + i * (THREADS / K); }

    template <class T, int ROW>
    __device__ void put(Real (&tile)[K][ROW]) const
    {
#pragma unroll
        for (int i = 0; i < EACH; ++i) tile[k()][place(i)] = T::operand(fetched[i]);
    }
};

template <int K, int SIZE>
struct SharedAcross {
    static_assert(SIZE % THREADS == 0, "a thread fetches whole columns");
    static constexpr int EACH = SIZE / THREADS;
    Real fetched[K][EACH];

    __device__ static int place(int i) { return threadIdx.x + i * THREADS; }

    template <class T, int ROW>
    __device__ void put(Real (&tile)[K][ROW]) const
    {
#pragma unroll
        for (int k = 0; k < K; ++k)
#pragma unroll
            for (int i = 0; i < EACH; ++i) tile[k][place(i)] = T::operand(fetched[k][i]);
    }
};

// Adds the products for k = first ... last - 1 to `sum`.
template <class T, class Left, class Right>
__device__ void product(
    Left& left, Right& right, int first, int last, Real (&sum)[T::PER_M][T::PER_N])
{
    __shared__ __align__(16) Real a[T::K][T::A_ROW];
    __shared__ __align__(16) Real b[T::K][T::B_ROW];
    left.fetch(first, last);
    right.fetch(first, last);
    for (int k = first; k < last; k += T::K) {
        left.template put<T>(a);
        right.template put<T>(b);
        __syncthreads();  // the tile is complete
        left.fetch(k + T::K, last);
        right.fetch(k + T::K, last);
        T::multiply(a, b, sum);
        __syncthreads();  // everybody has read it: the next one may overwrite it
    }
}

// 0 <= i < n, in one comparison: a negative number is a large one without its sign.
__device__ bool within(int i, int n) { return unsigned(i) < unsigned(n); }
