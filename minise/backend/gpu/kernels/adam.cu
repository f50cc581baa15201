// One step of Adam for many parameters at once (see minise.optim.Adam, and parameters.cu for how
// they come here). t counts the steps of a parameter:
//
//     t = t + 1                                                            adam_count
//     bias1 = 1 - β1^t,  bias2 = √(1 - β2^t)
//
//     g = gradient + weight_decay · w     or, decoupled: w = w - lr · weight_decay · w
//     m = β1 · m + (1 - β1) · g                                            adam_step
//     v = β2 · v + (1 - β2) · g²
//     w = w - lr / bias1 · m / (√v / bias2 + ε)
//
// with amsgrad, the largest v so far takes the place of v in the last line.
//
// The counters lie on the GPU, so that a captured step counts on whenever it is replayed. They have
// a launch of their own: a block that counted could not know whether others have read the old t.

struct Counters {
    long long* steps[MOST];
};

struct Moments {
    Real* weights[MOST];
    const Real* gradients[MOST];
    Real* means[MOST];    // m
    Real* squares[MOST];  // v
    Real* largest[MOST];  // null without amsgrad
    int counts[MOST];
};

extern "C" __global__ void adam_count(
    const Counters counters, Out<double> bias, int parameters, double beta1, double beta2)
{
    FOR_EACH(i, parameters) {
        const double t = ++*counters.steps[i];
        bias[2 * i] = 1 - pow(beta1, t);
        bias[2 * i + 1] = sqrt(1 - pow(beta2, t));
    }
}

extern "C" __global__ void adam_step(
    const Moments moments, In<double> bias, In<double> lr, double beta1, double beta2, double eps,
    double weight_decay, int decoupled, int maximize)
{
    Real* weights = moments.weights[blockIdx.y];
    const Real* gradients = moments.gradients[blockIdx.y];
    Real* means = moments.means[blockIdx.y];
    Real* squares = moments.squares[blockIdx.y];
    Real* largest = moments.largest[blockIdx.y];
    const Real rate = *lr / bias[2 * blockIdx.y], bias2 = bias[2 * blockIdx.y + 1], epsilon = eps;
    const Real old1 = beta1, new1 = 1 - beta1, old2 = beta2, new2 = 1 - beta2;
    const Real decay = decoupled ? 0 : weight_decay;
    const Real kept = decoupled ? 1 - *lr * weight_decay : 1;
    FOR_EACH(i, moments.counts[blockIdx.y]) {
        const Real w = weights[i];
        const Real g = (maximize ? -gradients[i] : gradients[i]) + decay * w;
        const Real m = old1 * means[i] + new1 * g;
        Real v = old2 * squares[i] + new2 * g * g;
        means[i] = m;
        squares[i] = v;
        if (largest) v = largest[i] = largest[i] > v ? largest[i] : v;  // NaN passes
        weights[i] = kept * w - rate * m / (sqrt(v) / bias2 + epsilon);
    }
}
