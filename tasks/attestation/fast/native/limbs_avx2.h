/* Four numbers modulo p = 2^255 - 19 at once, one in each lane of an AVX2 register: ten limbs of 26 and 25 bits in turns.

   Products take 32 bits of each factor, so that limbs may grow for a while. Their bounds (half of it for odd limbs):

     tight     2^26 + 2^18   what multiply() gives
     loose     2^27.75       add() and subtract() of tight numbers; 19 times it is below 2^32
     loosest   2^28.5        subtract() from twice a tight number; only as the first factor of a product */

#ifndef LIMBS_H
#define LIMBS_H

#include <immintrin.h>

#include "words.h"

#define NEEDED "avx2"
#define LANES 4
#define LIMBS 10

typedef u64 lanes __attribute__((vector_size(8 * LANES)));
typedef uint32_t entry_limb;

typedef struct {
    lanes v[LIMBS];
} field;

static inline int limb_bits(int i) { return i % 2 ? 25 : 26; }
static inline int limb_position(int i) { return 51 * (i / 2) + 26 * (i % 2); }

static inline lanes product(lanes a, lanes b) { return (lanes)_mm256_mul_epu32((__m256i)a, (__m256i)b); }

/* Limb number entry[lane] of eight, in every lane. */
static inline lanes pick(const entry_limb eight[8], lanes entry) {
    const __m256i all = _mm256_load_si256((const __m256i *)eight);
    return (lanes)_mm256_permutevar8x32_epi32(all, (__m256i)entry) & 0xffffffff;
}

/* After an addition or subtraction: limbs may stay as they are. */
static inline void settle(field *r) { (void)r; }

/* Move what limb i has above its bits to the next one. */
static inline void carry_limb(lanes h[LIMBS], int i) {
    const lanes high = h[i] >> limb_bits(i);
    h[i] &= ((u64)1 << limb_bits(i)) - 1;
    if (i < LIMBS - 1)
        h[i + 1] += high;
    else
        h[0] += high + (high << 1) + (high << 4); /* 2^255 = 19 modulo p */
}

/* f loosest, g loose: the sums of ten products stay below 2^63.2. The product is tight. */
static inline void multiply(field *r, const field *f, const field *g) {
    lanes h[LIMBS], f2[LIMBS], g19[LIMBS];
    for (int i = 0; i < LIMBS; i++) {
        f2[i] = f->v[i] + f->v[i]; /* the weights of two odd limbs multiply to twice the weight of their sum */
        g19[i] = product(g->v[i], (lanes){19, 19, 19, 19});
    }
#pragma GCC unroll 10
    for (int k = 0; k < LIMBS; k++) {
        h[k] = product(f->v[0], g->v[k]);
#pragma GCC unroll 10
        for (int i = 1; i < LIMBS; i++) {
            const int j = (k - i + LIMBS) % LIMBS;
            h[k] += product(i % 2 && j % 2 ? f2[i] : f->v[i], i > k ? g19[j] : g->v[j]);
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) { /* two chains side by side: 0 to 4, and 4 to 8 */
        carry_limb(h, i);
        carry_limb(h, i + 4);
    }
    carry_limb(h, 4);
    carry_limb(h, 8);
    carry_limb(h, 9);
    carry_limb(h, 0);
    for (int i = 0; i < LIMBS; i++) r->v[i] = h[i];
}

/* One lane of a tight number in limbs of 51 bits. */
static inline void limbs_of_51(u64 t[5], const field *a, int lane) {
    for (int i = 0; i < 5; i++) t[i] = a->v[2 * i][lane] + (a->v[2 * i + 1][lane] << 26);
}

#endif
