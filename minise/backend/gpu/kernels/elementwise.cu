// Functions of one number after the other.

extern "C" __global__ void relu_forward(In<Real> x, Out<Real> y, int count)
{
    FOR_EACH(i, count) y[i] = relu(x[i]);
}

extern "C" __global__ void add_relu_forward(In<Real> a, In<Real> b, Out<Real> y, int count)
{
    FOR_EACH(i, count) y[i] = relu(a[i] + b[i]);
}

// dx = dy where y > 0, else 0: for both of them.
extern "C" __global__ void relu_backward(In<Real> dy, In<Real> y, Out<Real> dx, int count)
{
    FOR_EACH(i, count) dx[i] = relu_passes(dy[i], y[i]);
}

// y = 1 / (1 + e^-x), from e^-|x|, so that nothing overflows and no digit is lost.
extern "C" __global__ void sigmoid_forward(In<Real> x, Out<Real> y, int count)
{
    FOR_EACH(i, count) {
        const Real e = exp(-fabs(x[i]));
        y[i] = x[i] >= 0 ? 1 / (1 + e) : e / (1 + e);
    }
}

extern "C" __global__ void sigmoid_backward(In<Real> dy, In<Real> y, Out<Real> dx, int count)
{
    FOR_EACH(i, count) dx[i] = dy[i] * y[i] * (1 - y[i]);
}

// y = x where x > 0, else alpha (e^x - 1)
extern "C" __global__ void elu_forward(In<Real> x, Out<Real> y, int count, double alpha)
{
    FOR_EACH(i, count) y[i] = x[i] > 0 ? x[i] : Real(alpha) * expm1(x[i]);
}

extern "C" __global__ void elu_backward(
    In<Real> dy, In<Real> x, Out<Real> dx, int count, double alpha)
{
    FOR_EACH(i, count) dx[i] = x[i] <= 0 ? dy[i] * Real(alpha) * exp(x[i]) : dy[i];
}
