// Enough of CUDA to compile minise's kernels with a C++ compiler and run them on the CPU.
//
// The threads of a block are fibers that take turns: each runs until it ends or comes to a
// __syncthreads(); when all have come there, each runs on. Within such a stretch they run one after
// the other, first to last or last to first: a kernel in which a __syncthreads() is missing gives
// different results in the two orders. Blocks run one after the other, in either order too.

#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __shared__ static  // one block at a time, so one copy is enough
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)
#define __syncthreads() host::wait(__LINE__)

using std::max;
using std::min;

struct dim3 {
    unsigned x, y, z;
};
static dim3 gridDim, blockDim, blockIdx, threadIdx;

inline unsigned long long atomicMin(unsigned long long* place, unsigned long long value)
{
    const unsigned long long before = *place;
    *place = min(before, value);
    return before;
}

namespace host {

struct Fiber {
    ucontext_t context;
    std::vector<char> stack = std::vector<char>(64 << 10);
    bool ended;
    int line;  // of the __syncthreads() that it waits at
};

static ucontext_t scheduler;
static std::vector<Fiber> fibers;
static unsigned current;
static void (*body)();

static void wait(int line)
{
    fibers[current].line = line;
    swapcontext(&fibers[current].context, &scheduler);
}

static void run_thread()
{
    body();
    fibers[current].ended = true;  // and on to uc_link, the scheduler
}

// False if some threads wait where others do not come.
static bool run_block(bool backwards)
{
    const unsigned count = blockDim.x;
    if (fibers.size() < count) fibers.resize(count);
    for (unsigned i = 0; i < count; ++i) {
        Fiber& fiber = fibers[i];
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.data();
        fiber.context.uc_stack.ss_size = fiber.stack.size();
        fiber.context.uc_link = &scheduler;
        fiber.ended = false;
        makecontext(&fiber.context, run_thread, 0);
    }
    for (bool ended = false; !ended;) {
        for (unsigned i = 0; i < count; ++i) {
            current = backwards ? count - 1 - i : i;
            threadIdx = {current, 0, 0};
            swapcontext(&scheduler, &fibers[current].context);
        }
        ended = fibers[0].ended;
        for (unsigned i = 1; i < count; ++i) {
            if (fibers[i].ended != ended) return false;
            if (!ended && fibers[i].line != fibers[0].line) return false;
        }
    }
    return true;
}

template <class... Arguments, size_t... I>
bool run(
    void (*kernel)(Arguments...), void** arguments, bool backwards, std::index_sequence<I...>)
{
    // As in cuLaunchKernel, arguments[i] points to the value of argument i.
    static std::tuple<std::remove_const_t<Arguments>*...> values;
    static void (*function)(Arguments...);
    values = {static_cast<std::remove_const_t<Arguments>*>(arguments[I])...};
    function = kernel;
    body = [] { function(*std::get<I>(values)...); };
    const unsigned blocks = gridDim.x * gridDim.y * gridDim.z;
    for (unsigned i = 0; i < blocks; ++i) {
        const unsigned block = backwards ? blocks - 1 - i : i, row = block / gridDim.x;
        blockIdx = {block % gridDim.x, row % gridDim.y, row / gridDim.y};
        if (!run_block(backwards)) return false;
    }
    return true;
}

template <class... Arguments>
bool launch(
    void (*kernel)(Arguments...), dim3 grid, dim3 block, void** arguments, bool backwards)
{
    gridDim = grid;
    blockDim = block;
    return run(kernel, arguments, backwards, std::index_sequence_for<Arguments...>());
}

// The types of a kernel's arguments in the letters of NumPy's array interface: "*f4 *i8 i4 f8 V64".
template <class T>
std::string type()
{
    using Plain = std::remove_cv_t<T>;
    if constexpr (std::is_pointer_v<Plain>) return "*" + type<std::remove_pointer_t<Plain>>();
    const char* kind = std::is_floating_point_v<Plain> ? "f"
                       : std::is_unsigned_v<Plain>     ? "u"
                       : std::is_integral_v<Plain>     ? "i"
                                                       : "V";
    return kind + std::to_string(sizeof(Plain));
}

template <class... Arguments>
std::string types(void (*)(Arguments...))
{
    std::string all;
    ((all += type<Arguments>() + " "), ...);
    return all;
}

// A float with the last 13 bits cut off: as much of it as a tensor core reads.
inline float as_read(float value)
{
    unsigned bits;
    std::memcpy(&bits, &value, sizeof bits);
    bits &= ~0x1FFFu;
    std::memcpy(&value, &bits, sizeof bits);
    return value;
}

}  // namespace host

// In place of tensor_cores.cu. The threads lay down what they hold, as the instruction's
// documentation places it; when all have, each adds up its own four numbers.

inline float round_to_tf32(float value)
{
    if (!std::isfinite(value)) return value;
    unsigned bits;
    std::memcpy(&bits, &value, sizeof bits);
    bits += 0x1000;  // half of what is cut off
    std::memcpy(&value, &bits, sizeof bits);
    return host::as_read(value);
}

inline void multiply_16_8_8(float (&c)[4], const float (&a)[4], const float (&b)[2])
{
    static float left[32][16][8], right[32][8][8];  // of each warp
    const unsigned warp = threadIdx.x / 32, group = threadIdx.x % 32 / 4, member = threadIdx.x % 4;
    for (unsigned i = 0; i < 4; ++i)
        left[warp][group + i % 2 * 8][member + i / 2 * 4] = host::as_read(a[i]);
    for (unsigned i = 0; i < 2; ++i) right[warp][member + i * 4][group] = host::as_read(b[i]);
    host::wait(__LINE__);
    for (unsigned i = 0; i < 4; ++i)
        for (unsigned k = 0; k < 8; ++k)
            c[i] += left[warp][group + i / 2 * 8][k] * right[warp][k][member * 2 + i % 2];
    host::wait(__LINE__);
}

// What ctypes calls: name_launch and name_types.
#define CALLABLE(name)                                                                            \
    extern "C" bool name##_launch(                                                                \
        unsigned x, unsigned y, unsigned z, unsigned threads, void** arguments, bool backwards)   \
    {                                                                                             \
        return host::launch(name, {x, y, z}, {threads, 1, 1}, arguments, backwards);              \
    }                                                                                             \
    extern "C" const char* name##_types()                                                         \
    {                                                                                             \
        static const std::string all = host::types(name);                                         \
        return all.c_str();                                                                       \
    }
