// Convolution as two steps: the windows are written out as rows of a matrix ("im2col"), and that is
// multiplied by the weights. The plain op (minise/ops/conv.py) builds the matrix from slices;
// conv.cu does without it.
//
//     columns[npq, grsc] = x[n, gc, p·stride + r·dilation - top, q·stride + s·dilation - left]
//     y[npq, go] = bias[go] + Σ_rsc columns[npq, grsc] · w[go, rsc]
//
// A row has what one window sees, group by group, so that each group is a product of its own. The
// gradient of x goes back the same way ("col2im").

// columns (N·P·Q, G, R, S, C/G) of x (N, H, W, C), one thread per number; the border is 0.
extern "C" __global__ void im2col(const Convolution conv, In<Real> x, Out<Real> columns)
{
    const int i = blockIdx.x * THREADS + threadIdx.x;
    const Place window(i, conv.P, conv.Q, conv.R * conv.S * conv.C);
    const Place tap(window.c, conv.R, conv.S, conv.C / conv.G);
    if (window.n >= conv.N) return;
    const int p = window.h, q = window.w, group = tap.n, r = tap.h, s = tap.w;
    const int h = p * conv.stride_h + r * conv.dilation_h - conv.top;
    const int w = q * conv.stride_w + s * conv.dilation_w - conv.left;
    const bool inside = within(h, conv.H) && within(w, conv.W);
    columns[i] = inside ? x[inputs(conv, group).place(window.n, h, w) + tap.c] : Real(0);
}

// dx (N, H, W, C), one thread per number: it collects from every window that saw it. (Adding every
// number of the columns to its pixel would need atomics: see pool.cu.)
extern "C" __global__ void col2im(const Convolution conv, In<Real> dcolumns, Out<Real> dx)
{
    const int i = blockIdx.x * THREADS + threadIdx.x;
    const Place at(i, conv.H, conv.W, conv.C);
    if (at.n >= conv.N) return;
    const int C = conv.C / conv.G, group = at.c / C, c = at.c % C;
    Real sum = 0;
    windows_that_saw(conv, at.h, at.w, [&](int p, int q, int tap) {
        const int window = (at.n * conv.P + p) * conv.Q + q;
        sum += dcolumns[((window * conv.G + group) * conv.R * conv.S + tap) * C + c];
    });
    dx[i] = sum;
}
