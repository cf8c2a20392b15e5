/* SHA-512 (FIPS 180-4) of a message in parts. */

#ifndef SHA512_H
#define SHA512_H

#include <string.h>

#include "words.h"

#define SHA512_BLOCK 128

typedef struct {
    u64 state[8];
    u64 length; /* in bytes; 2^61 of them are more than any message here */
    uint8_t block[SHA512_BLOCK];
} sha512;

static const u64 SHA512_START[8] = {
    0x6a09e667f3bcc908ULL, 0xbb67ae8584caa73bULL, 0x3c6ef372fe94f82bULL, 0xa54ff53a5f1d36f1ULL,
    0x510e527fade682d1ULL, 0x9b05688c2b3e6c1fULL, 0x1f83d9abfb41bd6bULL, 0x5be0cd19137e2179ULL,
};

static const u64 SHA512_ROUNDS[80] = {
    0x428a2f98d728ae22ULL, 0x7137449123ef65cdULL, 0xb5c0fbcfec4d3b2fULL, 0xe9b5dba58189dbbcULL,
    0x3956c25bf348b538ULL, 0x59f111f1b605d019ULL, 0x923f82a4af194f9bULL, 0xab1c5ed5da6d8118ULL,
    0xd807aa98a3030242ULL, 0x12835b0145706fbeULL, 0x243185be4ee4b28cULL, 0x550c7dc3d5ffb4e2ULL,
    0x72be5d74f27b896fULL, 0x80deb1fe3b1696b1ULL, 0x9bdc06a725c71235ULL, 0xc19bf174cf692694ULL,
    0xe49b69c19ef14ad2ULL, 0xefbe4786384f25e3ULL, 0x0fc19dc68b8cd5b5ULL, 0x240ca1cc77ac9c65ULL,
    0x2de92c6f592b0275ULL, 0x4a7484aa6ea6e483ULL, 0x5cb0a9dcbd41fbd4ULL, 0x76f988da831153b5ULL,
    0x983e5152ee66dfabULL, 0xa831c66d2db43210ULL, 0xb00327c898fb213fULL, 0xbf597fc7beef0ee4ULL,
    0xc6e00bf33da88fc2ULL, 0xd5a79147930aa725ULL, 0x06ca6351e003826fULL, 0x142929670a0e6e70ULL,
    0x27b70a8546d22ffcULL, 0x2e1b21385c26c926ULL, 0x4d2c6dfc5ac42aedULL, 0x53380d139d95b3dfULL,
    0x650a73548baf63deULL, 0x766a0abb3c77b2a8ULL, 0x81c2c92e47edaee6ULL, 0x92722c851482353bULL,
    0xa2bfe8a14cf10364ULL, 0xa81a664bbc423001ULL, 0xc24b8b70d0f89791ULL, 0xc76c51a30654be30ULL,
    0xd192e819d6ef5218ULL, 0xd69906245565a910ULL, 0xf40e35855771202aULL, 0x106aa07032bbd1b8ULL,
    0x19a4c116b8d2d0c8ULL, 0x1e376c085141ab53ULL, 0x2748774cdf8eeb99ULL, 0x34b0bcb5e19b48a8ULL,
    0x391c0cb3c5c95a63ULL, 0x4ed8aa4ae3418acbULL, 0x5b9cca4f7763e373ULL, 0x682e6ff3d6b2b8a3ULL,
    0x748f82ee5defb2fcULL, 0x78a5636f43172f60ULL, 0x84c87814a1f0ab72ULL, 0x8cc702081a6439ecULL,
    0x90befffa23631e28ULL, 0xa4506cebde82bde9ULL, 0xbef9a3f7b2c67915ULL, 0xc67178f2e372532bULL,
    0xca273eceea26619cULL, 0xd186b8c721c0c207ULL, 0xeada7dd6cde0eb1eULL, 0xf57d4f7fee6ed178ULL,
    0x06f067aa72176fbaULL, 0x0a637dc5a2c898a6ULL, 0x113f9804bef90daeULL, 0x1b710b35131c471bULL,
    0x28db77f523047d84ULL, 0x32caab7b40c72493ULL, 0x3c9ebe0a15c9bebcULL, 0x431d67c49c100d4cULL,
    0x4cc5d4becb3e42b6ULL, 0x597f299cfc657e2aULL, 0x5fcb6fab3ad6faecULL, 0x6c44198c4a475817ULL,
};

static inline u64 rotate_right(u64 x, int by) { return x >> by | x << (64 - by); }

/* Word t of the schedule in place of word t - 16. */
static inline u64 next_word(u64 w[16], int t) {
    const u64 early = w[(t + 1) % 16], late = w[(t + 14) % 16];
    w[t % 16] += (rotate_right(early, 1) ^ rotate_right(early, 8) ^ early >> 7) + w[(t + 9) % 16] +
                 (rotate_right(late, 19) ^ rotate_right(late, 61) ^ late >> 6);
    return w[t % 16];
}

/* One round. The variables a to h stay where they are in s; in round t, a is s[-t modulo 8], and so on. */
static inline void sha512_round(u64 s[8], int t, u64 word) {
    const u64 a = s[-t & 7], b = s[(1 - t) & 7], c = s[(2 - t) & 7], e = s[(4 - t) & 7];
    const u64 f = s[(5 - t) & 7], g = s[(6 - t) & 7];
    const u64 t1 = s[(7 - t) & 7] + (rotate_right(e, 14) ^ rotate_right(e, 18) ^ rotate_right(e, 41)) +
                   (g ^ (e & (f ^ g))) + SHA512_ROUNDS[t] + word;
    s[(3 - t) & 7] += t1;
    s[(7 - t) & 7] = t1 + (rotate_right(a, 28) ^ rotate_right(a, 34) ^ rotate_right(a, 39)) + ((a & b) | (c & (a | b)));
}

static void sha512_compress(u64 state[8], const uint8_t *block) {
    u64 w[16], s[8];
    memcpy(s, state, sizeof s);
#pragma GCC unroll 16
    for (int t = 0; t < 16; t++) sha512_round(s, t, w[t] = load_big_endian(block + 8 * t));
    for (int base = 16; base < 80; base += 16) {
#pragma GCC unroll 16
        for (int t = 0; t < 16; t++) sha512_round(s, base + t, next_word(w, t));
    }
    for (int i = 0; i < 8; i++) state[i] += s[i];
}

static void sha512_start(sha512 *h) {
    memcpy(h->state, SHA512_START, sizeof h->state);
    h->length = 0;
}

static void sha512_add(sha512 *h, const uint8_t *part, size_t size) {
    size_t filled = h->length % SHA512_BLOCK;
    h->length += size;
    while (filled + size >= SHA512_BLOCK) {
        const size_t taken = SHA512_BLOCK - filled;
        memcpy(h->block + filled, part, taken);
        sha512_compress(h->state, h->block);
        part += taken;
        size -= taken;
        filled = 0;
    }
    memcpy(h->block + filled, part, size);
}

static void sha512_end(sha512 *h, uint8_t digest[64]) {
    static const uint8_t padding[SHA512_BLOCK] = {0x80};
    const u64 bits = h->length * 8;
    uint8_t size[16] = {0};
    store_big_endian(size + 8, bits);
    sha512_add(h, padding, 1 + (2 * SHA512_BLOCK - 17 - h->length % SHA512_BLOCK) % SHA512_BLOCK);
    sha512_add(h, size, sizeof size);
    for (int i = 0; i < 8; i++) store_big_endian(digest + 8 * i, h->state[i]);
}

#endif
