// A tile of a matrix product (see product.cu) for tensor cores. They multiply numbers of TF32,
// which has float32's exponent but only 10 of its 23 bits behind the point; the sums are float32.
//
// Each of the block's warps computes M / WARPS rows and all N columns, 16 × 8 numbers at a time.
// A thread gets every eighth row and, of every eight columns, two that lie side by side.

constexpr int WARPS = THREADS / 32;

template <int M_, int N_, int K_>
struct TensorTile {
    static constexpr int M = M_, N = N_, K = K_;
    static constexpr int PER_M = M / WARPS / 8, PER_N = N / 4;
    static constexpr int SIDE_BY_SIDE = 2;
    // Eight numbers longer than needed: the 32 threads of a warp then read from 32 banks.
    static constexpr int A_ROW = M + 8, B_ROW = N + 8;
    static_assert(M % (16 * WARPS) == 0 && N % 8 == 0 && K % 8 == 0, "whole instructions");

    __device__ static int row(int m) { return threadIdx.x / 32 * (M / WARPS) + lane() / 4 + 8 * m; }
    __device__ static int column(int n) { return n / 2 * 8 + lane() % 4 * 2 + n % 2; }

    __device__ static Real operand(Real value) { return round_to_tf32(value); }

    __device__ static void multiply(
        const Real (&a)[K][A_ROW], const Real (&b)[K][B_ROW], Real (&sum)[PER_M][PER_N])
    {
        const int i = lane() / 4, j = lane() % 4;
#pragma unroll
        for (int k = 0; k < K; k += 8) {
#pragma unroll
            for (int m = 0; m < PER_M; m += 2) {
                const int top = row(m), low = row(m + 1);
                const Real u[4] = {
                    a[k + j][top], a[k + j][low], a[k + j + 4][top], a[k + j + 4][low]};
#pragma unroll
                for (int n = 0; n < PER_N; n += 2) {
                    const int side = 4 * n + i;
                    const Real v[2] = {b[k + j][side], b[k + j + 4][side]};
                    Real c[4] = {sum[m][n], sum[m][n + 1], sum[m + 1][n], sum[m + 1][n + 1]};
                    multiply_16_8_8(c, u, v);
                    sum[m][n] = c[0], sum[m][n + 1] = c[1];
                    sum[m + 1][n] = c[2], sum[m + 1][n + 1] = c[3];
                }
            }
        }
    }
};
