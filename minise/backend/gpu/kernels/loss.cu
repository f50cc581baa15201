// Cross-entropy, in the two ops it is made of. A row holds the C numbers of one image.
//
//     log softmax   y_i = x_i - log Σ_j e^x_j          dx = dy - e^y · Σ dy
//     nll           y_n = -weight[label] · x[n, label]  dx[n, label] = -weight[label] · dy_n, else 0

// max over the lanes of a row; a NaN wins. All threads of the block must call it.
__device__ Real row_max(Real value)
{
    __shared__ Real part[THREADS];
    __syncthreads();
    part[threadIdx.x] = value;
    __syncthreads();
    for (int half = LANES / 2; half > 0; half /= 2) {
        if (lane() < half) {
            const Real other = part[threadIdx.x + half];
            if (other > part[threadIdx.x] || other != other) part[threadIdx.x] = other;
        }
        __syncthreads();
    }
    return part[threadIdx.x - lane()];
}

extern "C" __global__ void log_softmax_forward(In<Real> x, Out<Real> y, int rows, int C)
{
    const int row = blockIdx.x * ROWS + row_in_block(), start = row * C;
    const int end = row < rows ? start + C : start;  // nothing to do beyond the last row
    Real most = -infinity();
    for (int i = start + lane(); i < end; i += LANES)
        if (x[i] > most || x[i] != x[i]) most = x[i];
    most = row_max(most);  // subtracted, so that no e^x overflows
    double sum = 0;
    for (int i = start + lane(); i < end; i += LANES) sum += exp(x[i] - most);
    const Real log_sum = log(row_sum(sum));
    for (int i = start + lane(); i < end; i += LANES) y[i] = x[i] - most - log_sum;
}

extern "C" __global__ void log_softmax_backward(
    In<Real> dy, In<Real> y, Out<Real> dx, int rows, int C)
{
    const int row = blockIdx.x * ROWS + row_in_block(), start = row * C;
    const int end = row < rows ? start + C : start;
    double sum = 0;
    for (int i = start + lane(); i < end; i += LANES) sum += dy[i];
    const Real total = row_sum(sum);
    for (int i = start + lane(); i < end; i += LANES) dx[i] = dy[i] - exp(y[i]) * total;
}

// One thread per label. A label that is neither a class nor `ignored` gives NaN: see check_labels.
extern "C" __global__ void nll_forward(
    In<Real> x, In<long long> labels, In<Real> weight, Out<Real> y, int N, int C,
    long long ignored)
{
    const int n = blockIdx.x * THREADS + threadIdx.x;
    if (n >= N) return;
    const long long label = labels[n];
    if (label == ignored) y[n] = 0;
    else if (label < 0 || label >= C) y[n] = not_a_number();
    else y[n] = -weight[label] * x[n * C + label];
}

// One thread per number of dx (N, C).
extern "C" __global__ void nll_backward(
    In<Real> dy, In<long long> labels, In<Real> weight, Out<Real> dx, int N, int C,
    long long ignored)
{
    const int i = blockIdx.x * THREADS + threadIdx.x;
    const int n = i / C, c = i % C;
    if (n >= N) return;
    const bool right = labels[n] == c && labels[n] != ignored;
    dx[i] = right ? -weight[c] * dy[n] : Real(0);
}

// found = the smallest of (classes, label) over all wrong labels, as one number: classes in the
// upper half, the label in the lower one, or the nearest number that has room there. The host reads
// it when it has to wait for the GPU anyway.
extern "C" __global__ void check_labels(
    In<long long> labels, unsigned long long* found, int count, int classes, long long ignored)
{
    const int i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= count) return;
    const long long label = labels[i];
    if (label == ignored || (0 <= label && label < classes)) return;
    const int nearest = max(min(label, (1LL << 31) - 1), -(1LL << 31));
    atomicMin(found, (unsigned long long)classes << 32 | (unsigned int)nearest);
}
