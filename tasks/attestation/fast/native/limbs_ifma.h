/* Eight numbers modulo p = 2^255 - 19 at once, one in each lane of an AVX-512 register: five limbs of 51 bits.

   Products take 52 bits of each factor, so that every sum is carried at once: all limbs are below 2^51 + 2^15. */

#ifndef LIMBS_H
#define LIMBS_H

#include <immintrin.h>

#include "words.h"

#define NEEDED "avx512ifma"
#define LANES 8
#define LIMBS 5

typedef u64 lanes __attribute__((vector_size(8 * LANES)));
typedef u64 entry_limb;

typedef struct {
    lanes v[LIMBS];
} field;

static inline int limb_bits(int i) { return (void)i, 51; }
static inline int limb_position(int i) { return 51 * i; }

/* Limb number entry[lane] of eight, in every lane. */
static inline lanes pick(const entry_limb eight[8], lanes entry) {
    return (lanes)_mm512_permutexvar_epi64((__m512i)entry, _mm512_load_si512(eight));
}

/* Move what each limb has above 51 bits to the next one, all at once: limbs below 2^61 end below 2^51 + 2^15. */
static inline void settle(field *r) {
    lanes high[LIMBS];
    for (int i = 0; i < LIMBS; i++) {
        high[i] = r->v[i] >> 51;
        r->v[i] &= 0x7ffffffffffff;
    }
    for (int i = 1; i < LIMBS; i++) r->v[i] += high[i - 1];
    r->v[0] += high[4] + (high[4] << 1) + (high[4] << 4); /* 2^255 = 19 modulo p */
}

/* The 104 bits of a product of limbs come as two halves of 52. The upper one weighs 2^52: twice the next limb. */
static inline void multiply(field *r, const field *f, const field *g) {
    lanes low[2 * LIMBS] = {0}, high[2 * LIMBS] = {0};
#pragma GCC unroll 5
    for (int i = 0; i < LIMBS; i++) {
#pragma GCC unroll 5
        for (int j = 0; j < LIMBS; j++) {
            const __m512i a = (__m512i)f->v[i], b = (__m512i)g->v[j];
            low[i + j] = (lanes)_mm512_madd52lo_epu64((__m512i)low[i + j], a, b);
            high[i + j + 1] = (lanes)_mm512_madd52hi_epu64((__m512i)high[i + j + 1], a, b);
        }
    }
    for (int k = 0; k < LIMBS; k++) {
        const lanes above = low[k + LIMBS] + (high[k + LIMBS] << 1); /* below 2^56, and 19 times it below 2^60.3 */
        r->v[k] = low[k] + (high[k] << 1) + above + (above << 1) + (above << 4);
    }
    settle(r);
}

static inline void limbs_of_51(u64 t[5], const field *a, int lane) {
    for (int i = 0; i < LIMBS; i++) t[i] = a->v[i][lane];
}

#endif
