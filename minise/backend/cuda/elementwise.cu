// Functions of one number after the other.

extern "C" __global__ void relu_forward(const Real* x, Real* y, int count)
{
    FOR_EACH(i, count) y[i] = relu(x[i]);
}

extern "C" __global__ void add_relu_forward(const Real* a, const Real* b, Real* y, int count)
{
    FOR_EACH(i, count) y[i] = relu(a[i] + b[i]);
}

// dx = dy where y > 0, else 0: for both of them.
extern "C" __global__ void relu_backward(const Real* dy, const Real* y, Real* dx, int count)
{
    FOR_EACH(i, count) dx[i] = relu_passes(dy[i], y[i]);
}

// y = 1 / (1 + e^-x), from e^-|x|, so that nothing overflows and no digit is lost.
extern "C" __global__ void sigmoid_forward(const Real* x, Real* y, int count)
{
    FOR_EACH(i, count) {
        const Real e = exp(-fabs(x[i]));
        y[i] = x[i] >= 0 ? 1 / (1 + e) : e / (1 + e);
    }
}

extern "C" __global__ void sigmoid_backward(const Real* dy, const Real* y, Real* dx, int count)
{
    FOR_EACH(i, count) dx[i] = dy[i] * y[i] * (1 - y[i]);
}
