// Squeeze and scale (Hu, Shen, Sun 2018, section 3.1), one row (image, channel) per LANES threads:
//
//     squeeze   z = Σ_hw x / L
//     scale     y = s · u          or, with the addition and maybe the ReLU behind it,
//     axpy      y = s · u + x      y = max(s · u + x, 0)
//
//     ds = Σ_hw dv · u,   du = dv · s,   dx = dv        dv = dy, or dy where y > 0 with a ReLU

extern "C" __global__ void se_squeeze(In<Real> x, Out<Real> z, int rows, int L)
{
    const int row = blockIdx.x * ROWS + row_in_block();
    Real sum = 0;
    if (row < rows)
        for (int i = lane(); i < L; i += LANES) sum += x[row * L + i];
    const double total = row_sum(sum);
    if (row < rows && lane() == 0) z[row] = total / L;
}

// shortcut is null for a scale alone.
extern "C" __global__ void se_axpy(
    In<Real> scale, In<Real> u, In<Real> shortcut, Out<Real> y, int rows, int L, int rectified)
{
    const int row = blockIdx.x * ROWS + row_in_block();
    if (row >= rows) return;
    for (int i = row * L + lane(); i < (row + 1) * L; i += LANES) {
        const Real v = shortcut ? scale[row] * u[i] + shortcut[i] : scale[row] * u[i];
        y[i] = rectified ? relu(v) : v;
    }
}

// y is null where no ReLU follows; dshortcut then is dy itself and not written (null).
extern "C" __global__ void se_axpy_backward(
    In<Real> dy, In<Real> scale, In<Real> u, In<Real> y, Out<Real> dscale, Out<Real> du,
    Out<Real> dshortcut, int rows, int L)
{
    const int row = blockIdx.x * ROWS + row_in_block();
    Real sum = 0;
    if (row < rows) {
        for (int i = row * L + lane(); i < (row + 1) * L; i += LANES) {
            const Real dv = y ? relu_passes(dy[i], y[i]) : dy[i];
            sum += dv * u[i];
            du[i] = dv * scale[row];
            if (dshortcut) dshortcut[i] = dv;
        }
    }
    const double total = row_sum(sum);
    if (row < rows && lane() == 0) dscale[row] = total;
}
