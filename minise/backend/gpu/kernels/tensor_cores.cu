// The two instructions of tensor cores that tf32.cu uses; GPUs have them since sm_80 (Ampere).

// The nearest number of 10 bits behind the point; of two equally near ones that farther from 0.
__device__ float round_to_tf32(float value)
{
    unsigned bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
    return __uint_as_float(bits);
}

// c += a · b with a (16, 8), b (8, 8) and c (16, 8), by the 32 threads of a warp together. Products
// and sums are float32. Which numbers a thread holds (PTX ISA, "Matrix Fragments for
// mma.m16n8k8"), with i = lane / 4 and j = lane % 4:
//
//     a[i, j], a[i + 8, j], a[i, j + 4], a[i + 8, j + 4]
//     b[j, i], b[j + 4, i]
//     c[i, 2j], c[i, 2j + 1], c[i + 8, 2j], c[i + 8, 2j + 1]
__device__ void multiply_16_8_8(float (&c)[4], const float (&a)[4], const float (&b)[2])
{
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])),
          "r"(__float_as_uint(a[3])), "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])));
}
