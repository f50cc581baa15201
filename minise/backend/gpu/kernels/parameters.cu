// Work on many arrays at once. A network has a hundred parameters, most of them small: a launch for
// each would take longer than the work. Their addresses travel with the arguments of the kernel;
// block (·, i) works on array i, wherever that was made.

constexpr int MOST = 64;  // arrays of one launch; arguments may have 4096 bytes

struct Copies {
    Real* targets[MOST];
    const Real* sources[MOST];
    int counts[MOST];
};

// Gradients into one flat buffer: what a tensor has received may be another one's gradient too.
extern "C" __global__ void copy_all(const Copies copies)
{
    Real* target = copies.targets[blockIdx.y];
    const Real* source = copies.sources[blockIdx.y];
    FOR_EACH(i, copies.counts[blockIdx.y]) target[i] = source[i];
}
