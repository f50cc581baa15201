// One tile of a matrix product:  sum[m, n] = Σ_k A[m, k] · B[k, n].
//
// A thread that computed one number of the product would read two numbers for every
// multiplication, and memory cannot deliver that. So a block computes a tile of M × N numbers:
// it copies K columns of A and K rows of B into shared memory, where every number is used N or M
// times; and each thread computes PER_M × PER_N of them in its registers, so that every number
// read from shared memory is used several times more.
//
//              N                    a thread has PER_M rows one below the other, and columns in
//         ┌─────────┐               fours: those of neighbouring threads lie side by side, and
//       K │    B    │               one instruction reads, or writes, the four numbers of a
//     K   └─────────┘               thread
//   ┌───┐ ┌─────────┐
// M │ A │ │   sum   │
//   └───┘ └─────────┘
//
// (Tensor cores share a tile out among the threads in another way, and multiply it by another
// instruction: tf32.cu has a tile with the same members for them.)
//
// Where the numbers come from is the affair of two loaders, one for A and one for B. In a
// convolution neither matrix exists in memory ("implicit GEMM"): see conv.cu. A loader's `fetch()`
// reads the next K columns (rows), and 0 beyond the last, into registers; `put(tile)` writes them
// to shared memory. In between, while the numbers are on their way, the threads compute with the
// ones before.

// COUNT numbers side by side that one instruction reads or writes.
template <int COUNT>
struct alignas(COUNT * sizeof(Real) < 16 ? COUNT * sizeof(Real) : 16) Together {
    Real number[COUNT];
};
using Four = Together<4>;

// Whether fours that start at multiples of `length` lie where such an instruction can read them.
__device__ bool in_fours(const Real* memory, int length)
{
    return length % 4 == 0 && reinterpret_cast<size_t>(memory) % alignof(Four) == 0;
}

// The first `count` of four numbers if they are `inside`, and 0 for the others. `whole`: there are
// four, and the place is as `in_fours` wants it.
__device__ Four read(const Real* place, bool inside, int count, bool whole)
{
    Four four = {};
    if (whole) {
        if (inside) four = *reinterpret_cast<const Four*>(place);
    } else {
#pragma unroll
        for (int j = 0; j < 4; ++j)
            if (inside && j < count) four.number[j] = place[j];
    }
    return four;
}

template <int COUNT>
__device__ void write(const Together<COUNT>& numbers, Real* place, int count, bool whole)
{
    if (whole) {
        if (count > 0) *reinterpret_cast<Together<COUNT>*>(place) = numbers;
    } else {
#pragma unroll
        for (int j = 0; j < COUNT; ++j)
            if (j < count) place[j] = numbers.number[j];
    }
}

template <int M_, int N_, int K_, int PER_M_, int PER_N_>
struct Tile {
    static constexpr int M = M_, N = N_, K = K_, PER_M = PER_M_, PER_N = PER_N_;
    static constexpr int ACROSS = N / PER_N;  // threads side by side
    static constexpr int SIDE_BY_SIDE = 4;    // columns of a thread
    // Rows of shared memory are eight numbers longer than needed: what the threads of a warp write
    // one below the other (see FoursAlongK) then goes to different ones of its 32 banks.
    static constexpr int A_ROW = M + 8, B_ROW = N + 8;
    static_assert(ACROSS * (M / PER_M) == THREADS, "every thread has its part of the tile");

    // The rows and columns of the tile that this thread computes.
    __device__ static int row(int m) { return threadIdx.x / ACROSS * PER_M + m; }
    __device__ static int column(int n)
    {
        return (n / 4 * ACROSS + threadIdx.x % ACROSS) * 4 + n % 4;
    }

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

// Two ways to share out K × SIZE numbers among the threads, in fours that lie side by side in
// memory. Neighbouring threads read neighbouring fours: the first is for matrices that run through
// memory along k, the second for those that run along the other axis.
//
// In which order the K stand in the tile makes no difference, if it is the same for A and B. It is
// this one: row 0 has the first number of the first four, row 1 that of the second, ...
template <int K>
__device__ int k_of_row(int row)
{
    return row % (K / 4) * 4 + row / (K / 4);
}

template <int K, int SIZE>
struct FoursAlongK {
    static constexpr int ACROSS = K / 4;  // fours of one m or n
    static constexpr int EACH = (ACROSS * SIZE + THREADS - 1) / THREADS;
    Four fetched[EACH];

    __device__ static int k() { return threadIdx.x % ACROSS * 4; }
    __device__ static int place(int i) { return threadIdx.x / ACROSS + i * (THREADS / ACROSS); }

    template <class T, int ROW>
    __device__ void put(Real (&tile)[K][ROW]) const
    {
        if (ACROSS * SIZE < THREADS && place(0) >= SIZE) return;  // a small tile: not all help
#pragma unroll
        for (int i = 0; i < EACH; ++i)
#pragma unroll
            for (int j = 0; j < 4; ++j)
                tile[j * ACROSS + threadIdx.x % ACROSS][place(i)] =
                    T::operand(fetched[i].number[j]);
    }
};

template <int K, int SIZE>
struct FoursAcross {
    static constexpr int ACROSS = SIZE / 4;  // fours of one k
    static constexpr int EACH = (ACROSS * K + THREADS - 1) / THREADS;
    Four fetched[EACH];

    __device__ static int place() { return threadIdx.x % ACROSS * 4; }
    __device__ static int row(int i) { return threadIdx.x / ACROSS + i * (THREADS / ACROSS); }
    __device__ static int k(int i) { return k_of_row<K>(row(i)); }

    template <class T, int ROW>
    __device__ void put(Real (&tile)[K][ROW]) const
    {
        if (ACROSS * K < THREADS && row(0) >= K) return;
#pragma unroll
        for (int i = 0; i < EACH; ++i)
#pragma unroll
            for (int j = 0; j < 4; ++j)
                tile[row(i)][place() + j] = T::operand(fetched[i].number[j]);
    }
};

// Adds the products for k = 0 ... last - 1 to `sum`.
template <class T, class Left, class Right>
__device__ void product(Left& left, Right& right, int last, Real (&sum)[T::PER_M][T::PER_N])
{
    __shared__ __align__(16) Real a[T::K][T::A_ROW];
    __shared__ __align__(16) Real b[T::K][T::B_ROW];
    left.fetch();
    right.fetch();
    for (int k = 0; k < last; k += T::K) {
        left.template put<T>(a);
        right.template put<T>(b);
        __syncthreads();  // the tile is complete
        left.fetch();
        right.fetch();
        T::multiply(a, b, sum);
        __syncthreads();  // everybody has read it: the next one may overwrite it
    }
}

// 0 <= i < n, in one comparison: a negative number is a large one without its sign.
__device__ bool within(int i, int n) { return unsigned(i) < unsigned(n); }
