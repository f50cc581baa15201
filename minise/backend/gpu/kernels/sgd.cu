// One step of stochastic gradient descent for many parameters at once (see minise.optim.SGD, and
// parameters.cu for how they come here):
//
//     g = gradient + weight_decay · w
//     b = momentum · b + (1 - dampening) · g          (b = g at the first step)
//     g = g + momentum · b  if nesterov else  b
//     w = w - lr · g
//
// lr lies on the GPU, so that a captured step can be replayed with another one.

struct Parameters {
    Real* weights[MOST];
    const Real* gradients[MOST];
    Real* velocities[MOST];  // null without momentum
    int counts[MOST];
};

extern "C" __global__ void sgd_step(
    const Parameters parameters, In<double> lr, double momentum, double dampening,
    double weight_decay, int nesterov, int maximize, int first)
{
    Real* weights = parameters.weights[blockIdx.y];
    const Real* gradients = parameters.gradients[blockIdx.y];
    Real* velocities = parameters.velocities[blockIdx.y];
    const Real rate = *lr, m = momentum, fresh = 1 - dampening, decay = weight_decay;
    FOR_EACH(i, parameters.counts[blockIdx.y]) {
        const Real w = weights[i];
        Real g = (maximize ? -gradients[i] : gradients[i]) + decay * w;
        if (velocities) {
            const Real b = first ? g : m * velocities[i] + fresh * g;
            velocities[i] = b;
            g = nesterov ? g + m * b : b;
        }
        weights[i] = w - rate * g;
    }
}
