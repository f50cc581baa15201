// BatchNorm (Ioffe, Szegedy 2015), alone or with the ReLU behind it, on x (pixels, C): images with
// channels last, for which pixel of which image a number belongs to makes no difference:
//
//     x̂ = (x - mean) / √(var + ε),   y = γ · x̂ + β
//
//     dβ = Σ dv,   dγ = Σ dv · x̂,   dx = γ / √(var + ε) · (dv - dβ / pixels - x̂ · dγ / pixels)
//
// with dv = dy, or dy where y > 0 if a ReLU follows. x̂ is not kept, it is computed again from x.
//
// Every sum over a channel is taken in two steps: blocks (channels, 1, splits) sum over some of
// the pixels, then a block for each CHANNELS channels adds the splits.

// Where the two sums of a block go: (2, splits, C).
__device__ void store_sums(double* parts, const Sum& first, const Sum& second, int C)
{
    const double sums[2] = {channel_sum(first.total()), channel_sum(second.total())};
    if (threadIdx.x >= CHANNELS || channel() >= C) return;
    const int place = blockIdx.z * C + channel();
    parts[place] = sums[0];
    parts[gridDim.z * C + place] = sums[1];
}

// For all threads of the block. They take the splits as they take pixels elsewhere.
__device__ double sum_over_splits(const double* parts, int splits, int C)
{
    double sum = 0;
    if (channel() < C)
        FOR_EACH_PIXEL(split, splits) sum += parts[split * C + channel()];
    return channel_sum(sum);
}

// Σ (x - pivot) and Σ (x - pivot)², in one reading of x. var = mean(d²) - mean(d)² loses the
// digits that both have in common; with a value of the channel as pivot these are few.
extern "C" __global__ void bn_sums(In<Real> x, Out<double> parts, int pixels, int C)
{
    const int c = channel();
    Sum sum, squares;
    if (c < C) {
        FOR_EACH_PIXEL(i, pixels) {
            const Real d = x[i * C + c] - x[c];
            sum.add(d);
            squares.add(d * d);
        }
    }
    store_sums(parts, sum, squares, C);
}

// running = (1 - momentum) · running + momentum · that of the batch, var divided by pixels - 1; null
// where none are kept.
extern "C" __global__ void bn_moments(
    In<Real> x, In<double> parts, Out<Real> mean, Out<Real> var, Out<Real> running_mean,
    Out<Real> running_var, int splits, int pixels, int C, double momentum)
{
    const double shift = sum_over_splits(parts, splits, C) / pixels;
    const double square = sum_over_splits(parts + splits * C, splits, C) / pixels;
    const int c = channel();
    if (threadIdx.x >= CHANNELS || c >= C) return;
    const double variance = square - shift * shift;
    mean[c] = x[c] + shift;
    var[c] = variance < 0 ? 0 : variance;
    if (!running_mean) return;
    const Real unbiased = var[c] * Real(double(pixels) / (pixels - 1)), m = momentum;
    running_mean[c] = (1 - m) * running_mean[c] + m * mean[c];
    running_var[c] = (1 - m) * running_var[c] + m * unbiased;
}

extern "C" __global__ void bn_normalise(
    In<Real> x, In<Real> mean, In<Real> var, In<Real> weight, In<Real> bias, Out<Real> y,
    int pixels, int C, double eps, int rectified)
{
    const int c = channel();
    if (c >= C) return;
    const Real inverse_std = 1 / sqrt(var[c] + Real(eps));
    FOR_EACH_PIXEL(i, pixels) {
        const Real v = (x[i * C + c] - mean[c]) * inverse_std * weight[c] + bias[c];
        y[i * C + c] = rectified ? relu(v) : v;
    }
}

// Σ dv and Σ dv · (x - mean). y is null where no ReLU follows.
extern "C" __global__ void bn_gradient_sums(
    In<Real> dy, In<Real> x, In<Real> y, In<Real> mean, Out<double> parts, int pixels, int C)
{
    const int c = channel();
    Sum sum, products;
    if (c < C) {
        FOR_EACH_PIXEL(i, pixels) {
            const int place = i * C + c;
            const Real dv = y ? relu_passes(dy[place], y[place]) : dy[place];
            sum.add(dv);
            products.add(dv * (x[place] - mean[c]));
        }
    }
    store_sums(parts, sum, products, C);
}

extern "C" __global__ void bn_parameter_gradients(
    In<double> parts, In<Real> var, Out<Real> dweight, Out<Real> dbias, int splits, int C,
    double eps)
{
    const double sum = sum_over_splits(parts, splits, C);
    const double products = sum_over_splits(parts + splits * C, splits, C);
    const int c = channel();
    if (threadIdx.x >= CHANNELS || c >= C) return;
    dbias[c] = sum;
    dweight[c] = products / sqrt(double(var[c]) + eps);
}

// count = pixels where mean and var are those of the batch and depend on x, else 0.
extern "C" __global__ void bn_input_gradient(
    In<Real> dy, In<Real> x, In<Real> y, In<Real> mean, In<Real> var,
    In<Real> weight, In<Real> dweight, In<Real> dbias, Out<Real> dx, int pixels, int C,
    double eps, double count)
{
    const int c = channel();
    if (c >= C) return;
    const Real inverse_std = 1 / sqrt(var[c] + Real(eps));
    const Real mean_dv = count > 0 ? Real(dbias[c] / count) : Real(0);
    const Real mean_dv_xhat = count > 0 ? Real(dweight[c] / count) : Real(0);
    FOR_EACH_PIXEL(i, pixels) {
        const int place = i * C + c;
        const Real dv = y ? relu_passes(dy[place], y[place]) : dy[place];
        const Real xhat = (x[place] - mean[c]) * inverse_std;
        dx[place] = weight[c] * inverse_std * (dv - mean_dv - xhat * mean_dv_xhat);
    }
}
