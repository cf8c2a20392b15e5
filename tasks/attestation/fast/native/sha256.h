/* SHA-256 (FIPS 180-4) with the SHA instructions of x86. */

#ifndef SHA256_H
#define SHA256_H

#include <cpuid.h>
#include <immintrin.h>
#include <string.h>

#include "words.h"

#define SHA256_BLOCK 64
#define SHA256_BYTES 32

static const uint32_t SHA256_START[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

static const uint32_t SHA256_ROUNDS[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static int has_sha_instructions(void) {
    unsigned int a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b >> 29 & 1) && __builtin_cpu_supports("sse4.1");
}

/* The state as the instructions want it: a, b, e, f in one register, c, d, g, h in the other, a and c the highest. */
typedef struct {
    __m128i abef, cdgh;
} sha256_state;

static inline sha256_state sha256_load(const uint32_t words[8]) {
    const __m128i abcd = _mm_loadu_si128((const __m128i *)words), efgh = _mm_loadu_si128((const __m128i *)(words + 4));
    const __m128i badc = _mm_shuffle_epi32(abcd, 0xb1), hgfe = _mm_shuffle_epi32(efgh, 0x1b);
    return (sha256_state){_mm_alignr_epi8(badc, hgfe, 8), _mm_blend_epi16(hgfe, badc, 0xf0)};
}

static inline void sha256_store(uint8_t digest[SHA256_BYTES], sha256_state s) {
    const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    const __m128i feba = _mm_shuffle_epi32(s.abef, 0x1b), dchg = _mm_shuffle_epi32(s.cdgh, 0xb1);
    const __m128i abcd = _mm_blend_epi16(feba, dchg, 0xf0), efgh = _mm_alignr_epi8(dchg, feba, 8);
    _mm_storeu_si128((__m128i *)digest, _mm_shuffle_epi8(abcd, big_endian));
    _mm_storeu_si128((__m128i *)(digest + 16), _mm_shuffle_epi8(efgh, big_endian));
}

static inline void sha256_compress(sha256_state *state, const uint8_t *block) {
    const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    sha256_state s = *state;
    __m128i w[4];
    for (int i = 0; i < 4; i++)
        w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(block + 16 * i)), big_endian);
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) { /* four rounds, and the four words that take the place of those just used */
        const __m128i sum = _mm_add_epi32(w[i % 4], _mm_load_si128((const __m128i *)(SHA256_ROUNDS + 4 * i)));
        s.cdgh = _mm_sha256rnds2_epu32(s.cdgh, s.abef, sum);
        s.abef = _mm_sha256rnds2_epu32(s.abef, s.cdgh, _mm_shuffle_epi32(sum, 0x0e));
        if (i < 12) {
            const __m128i seven_back = _mm_alignr_epi8(w[(i + 3) % 4], w[(i + 2) % 4], 4);
            const __m128i partial = _mm_add_epi32(_mm_sha256msg1_epu32(w[i % 4], w[(i + 1) % 4]), seven_back);
            w[i % 4] = _mm_sha256msg2_epu32(partial, w[(i + 3) % 4]);
        }
    }
    state->abef = _mm_add_epi32(state->abef, s.abef);
    state->cdgh = _mm_add_epi32(state->cdgh, s.cdgh);
}

static void sha256(uint8_t digest[SHA256_BYTES], const uint8_t *message, size_t size) {
    sha256_state state = sha256_load(SHA256_START);
    const size_t whole = size / SHA256_BLOCK, rest = size % SHA256_BLOCK;
    for (size_t i = 0; i < whole; i++) sha256_compress(&state, message + SHA256_BLOCK * i);
    uint8_t tail[2 * SHA256_BLOCK] = {0};
    const size_t blocks = rest < SHA256_BLOCK - 8 ? 1 : 2;
    memcpy(tail, message + SHA256_BLOCK * whole, rest);
    tail[rest] = 0x80;
    store_big_endian(tail + SHA256_BLOCK * blocks - 8, (u64)size * 8);
    for (size_t i = 0; i < blocks; i++) sha256_compress(&state, tail + SHA256_BLOCK * i);
    sha256_store(digest, state);
}

#endif
