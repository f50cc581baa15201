// BatchNorm (Ioffe, Szegedy 2015), alone or with the ReLU behind it, on x (N, C, L), L = H·W:
//
//     x̂ = (x - mean) / √(var + ε),   y = γ · x̂ + β
//
//     dβ = Σ dv,   dγ = Σ dv · x̂,   dx = γ / √(var + ε) · (dv - dβ / count - x̂ · dγ / count)
//
// with dv = dy, or dy where y > 0 if a ReLU follows. x̂ is not kept, it is computed again from x.
//
// Every sum over a channel is taken in two steps: blocks (channel, split) sum over some of the
// images, then one thread per channel adds the splits in order. The pixels of a row are added in
// Real, rows and splits in double.

// Where the two sums of a block go: (2, splits, C).
__device__ void store_sums(double* parts, double first, double second, int C)
{
    first = block_sum(first);
    second = block_sum(second);
    if (threadIdx.x > 0) return;
    const int place = blockIdx.y * C + blockIdx.x;
    parts[place] = first;
    parts[gridDim.y * C + place] = second;
}

__device__ double sum_over_splits(const double* parts, int splits, int C, int channel)
{
    double sum = 0;
    for (int split = 0; split < splits; ++split) sum += parts[split * C + channel];
    return sum;
}

// Σ (x - pivot) and Σ (x - pivot)², in one reading of x. var = mean(d²) - mean(d)² loses the
// digits that both have in common; with a value of the channel as pivot these are few.
extern "C" __global__ void bn_sums(In<Real> x, Out<double> parts, int N, int C, int L)
{
    const int c = blockIdx.x;
    const Real pivot = x[c * L];
    double sum = 0, squares = 0;
    for (int n = blockIdx.y * ROWS + row_in_block(); n < N; n += gridDim.y * ROWS) {
        const Real* row = x + (n * C + c) * L;
        Real row_sum = 0, row_squares = 0;
        for (int i = lane(); i < L; i += LANES) {
            const Real d = row[i] - pivot;
            row_sum += d;
            row_squares += d * d;
        }
        sum += row_sum;
        squares += row_squares;
    }
    store_sums(parts, sum, squares, C);
}

extern "C" __global__ void bn_moments(
    In<Real> x, In<double> parts, Out<Real> mean, Out<Real> var, int splits, int N, int C, int L)
{
    const int c = blockIdx.x * THREADS + threadIdx.x;
    if (c >= C) return;
    const double count = double(N) * L;
    const double shift = sum_over_splits(parts, splits, C, c) / count;
    const double square = sum_over_splits(parts + splits * C, splits, C, c) / count;
    const double variance = square - shift * shift;
    mean[c] = x[c * L] + shift;
    var[c] = variance < 0 ? 0 : variance;
}

// running = (1 - momentum) · running + momentum · that of the batch, var divided by count - 1.
extern "C" __global__ void bn_update_running(
    In<Real> mean, In<Real> var, Out<Real> running_mean, Out<Real> running_var, int C,
    double count, double momentum)
{
    const int c = blockIdx.x * THREADS + threadIdx.x;
    if (c >= C) return;
    const Real unbiased = var[c] * Real(count / (count - 1)), m = momentum;
    running_mean[c] = (1 - m) * running_mean[c] + m * mean[c];
    running_var[c] = (1 - m) * running_var[c] + m * unbiased;
}

// One row (image n, channel c) per LANES threads.
extern "C" __global__ void bn_normalise(
    In<Real> x, In<Real> mean, In<Real> var, In<Real> weight, In<Real> bias, Out<Real> y,
    int rows, int C, int L, double eps, int rectified)
{
    const int row = blockIdx.x * ROWS + row_in_block(), c = row % C;
    if (row >= rows) return;
    const Real inverse_std = 1 / sqrt(var[c] + Real(eps));
    for (int i = row * L + lane(); i < (row + 1) * L; i += LANES) {
        const Real v = (x[i] - mean[c]) * inverse_std * weight[c] + bias[c];
        y[i] = rectified ? relu(v) : v;
    }
}

// Σ dv and Σ dv · (x - mean). y is null where no ReLU follows.
extern "C" __global__ void bn_gradient_sums(
    In<Real> dy, In<Real> x, In<Real> y, In<Real> mean, Out<double> parts, int N, int C,
    int L)
{
    const int c = blockIdx.x;
    double sum = 0, products = 0;
    for (int n = blockIdx.y * ROWS + row_in_block(); n < N; n += gridDim.y * ROWS) {
        const int start = (n * C + c) * L;
        Real row_sum = 0, row_products = 0;
        for (int i = start + lane(); i < start + L; i += LANES) {
            const Real dv = y ? relu_passes(dy[i], y[i]) : dy[i];
            row_sum += dv;
            row_products += dv * (x[i] - mean[c]);
        }
        sum += row_sum;
        products += row_products;
    }
    store_sums(parts, sum, products, C);
}

extern "C" __global__ void bn_parameter_gradients(
    In<double> parts, In<Real> var, Out<Real> dweight, Out<Real> dbias, int splits, int C,
    double eps)
{
    const int c = blockIdx.x * THREADS + threadIdx.x;
    if (c >= C) return;
    dbias[c] = sum_over_splits(parts, splits, C, c);
    dweight[c] = sum_over_splits(parts + splits * C, splits, C, c) / sqrt(double(var[c]) + eps);
}

// count = N·L where mean and var are those of the batch and depend on x, else 0.
extern "C" __global__ void bn_input_gradient(
    In<Real> dy, In<Real> x, In<Real> y, In<Real> mean, In<Real> var,
    In<Real> weight, In<Real> dweight, In<Real> dbias, Out<Real> dx, int rows, int C, int L,
    double eps, double count)
{
    const int row = blockIdx.x * ROWS + row_in_block(), c = row % C;
    if (row >= rows) return;
    const Real inverse_std = 1 / sqrt(var[c] + Real(eps));
    const Real mean_dv = count > 0 ? Real(dbias[c] / count) : Real(0);
    const Real mean_dv_xhat = count > 0 ? Real(dweight[c] / count) : Real(0);
    for (int i = row * L + lane(); i < (row + 1) * L; i += LANES) {
        const Real dv = y ? relu_passes(dy[i], y[i]) : dy[i];
        const Real xhat = (x[i] - mean[c]) * inverse_std;
        dx[i] = weight[c] * inverse_std * (dv - mean_dv - xhat * mean_dv_xhat);
    }
}
