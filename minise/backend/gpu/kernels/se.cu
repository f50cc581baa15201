// Squeeze and scale (Hu, Shen, Sun 2018, section 3.1), on images (N, L, C) with channels last,
// L = H·W, and one gate s (N, C) per channel of an image:
//
//     squeeze   z = Σ_hw x / L
//     scale     y = s · u          or, with the addition and maybe the ReLU behind it,
//     axpy      y = s · u + x      y = max(s · u + x, 0)
//
//     ds = Σ_hw dv · u,   du = dv · s,   dx = dv        dv = dy, or dy where y > 0 with a ReLU
//
// Blocks: (channels, images, pixels); of pixels only one where there is a sum over them.

extern "C" __global__ void se_squeeze(In<Real> x, Out<Real> z, int N, int C, int L)
{
    const int c = channel();
    FOR_EACH_IMAGE(n, N) {
        Sum sum;
        if (c < C)
            FOR_EACH_PIXEL(i, L) sum.add(x[(n * L + i) * C + c]);
        const double total = channel_sum(sum.total());
        if (threadIdx.x < CHANNELS && c < C) z[n * C + c] = total / L;
    }
}

// shortcut is null for a scale alone.
extern "C" __global__ void se_axpy(
    In<Real> scale, In<Real> u, In<Real> shortcut, Out<Real> y, int N, int C, int L,
    int rectified)
{
    const int c = channel();
    if (c >= C) return;
    FOR_EACH_IMAGE(n, N) {
        const Real s = scale[n * C + c];
        FOR_EACH_PIXEL(i, L) {
            const int place = (n * L + i) * C + c;
            const Real v = shortcut ? s * u[place] + shortcut[place] : s * u[place];
            y[place] = rectified ? relu(v) : v;
        }
    }
}

// y is null where no ReLU follows; dshortcut then is dy itself and not written (null).
extern "C" __global__ void se_axpy_backward(
    In<Real> dy, In<Real> scale, In<Real> u, In<Real> y, Out<Real> dscale, Out<Real> du,
    Out<Real> dshortcut, int N, int C, int L)
{
    const int c = channel();
    FOR_EACH_IMAGE(n, N) {
        Sum sum;
        if (c < C) {
            const Real s = scale[n * C + c];
            FOR_EACH_PIXEL(i, L) {
                const int place = (n * L + i) * C + c;
                const Real dv = y ? relu_passes(dy[place], y[place]) : dy[place];
                sum.add(dv * u[place]);
                du[place] = dv * s;
                if (dshortcut) dshortcut[place] = dv;
            }
        }
        const double total = channel_sum(sum.total());
        if (threadIdx.x < CHANNELS && c < C) dscale[n * C + c] = total;
    }
}
