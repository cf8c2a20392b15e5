/* Numbers modulo the group order L = 2^252 + 27742317777372353535851937790883648493 (RFC 8032, section 5.1).

   Limbs of 64 bits, the lowest first. No branch and no index depends on a value. */

#ifndef SCALAR_H
#define SCALAR_H

#include "words.h"

static const u64 ORDER[5] = {0x5812631a5cf5d3edULL, 0x14def9dea2f79cd6ULL, 0, 0x1000000000000000ULL, 0};

/* floor(2^512 / L) */
static const u64 RECIPROCAL[5] = {
    0xed9ce5a30a2c131bULL, 0x2106215d086329a7ULL, 0xffffffffffffffebULL, 0xffffffffffffffffULL, 0xf};

/* r[0..m+n) = a[0..m) * b[0..n) */
static inline void multiply_limbs(u64 *r, const u64 *a, int m, const u64 *b, int n) {
    for (int i = 0; i < m + n; i++) r[i] = 0;
    for (int i = 0; i < m; i++) {
        u64 carry = 0;
        for (int j = 0; j < n; j++) {
            const u128 sum = wide(a[i], b[j]) + r[i + j] + carry;
            r[i + j] = (u64)sum;
            carry = (u64)(sum >> 64);
        }
        r[i + n] = carry;
    }
}

/* r = a - b modulo 2^320; returns 1 if a was below b. */
static inline u64 subtract_limbs(u64 r[5], const u64 a[5], const u64 b[5]) {
    u64 borrow = 0;
    for (int i = 0; i < 5; i++) {
        const u128 difference = (u128)a[i] - b[i] - borrow;
        r[i] = (u64)difference;
        borrow = (u64)(difference >> 64) & 1;
    }
    return borrow;
}

/* x modulo L for any x below 2^512: Barrett's reduction, Handbook of Applied Cryptography, algorithm 14.42 with
   b = 2^64 and k = 4. RECIPROCAL is 0.23 below 2^512 / L, so the quotient is at most one too small. */
static void reduce(u64 r[4], const u64 x[8]) {
    u64 product[10], quotient[10], rest[5], less[5];
    multiply_limbs(product, x + 3, 5, RECIPROCAL, 5);
    multiply_limbs(quotient, product + 5, 5, ORDER, 5); /* times L */
    subtract_limbs(rest, x, quotient);
    u64 keep = (u64)0 - subtract_limbs(less, rest, ORDER);
    __asm__("" : "+r"(keep)); /* else a compiler may make a branch of it */
    for (int i = 0; i < 4; i++) r[i] = (rest[i] & keep) | (less[i] & ~keep);
}

/* out = 64 bytes modulo L */
static void reduce_bytes(uint8_t out[32], const uint8_t in[64]) {
    u64 x[8], r[4];
    for (int i = 0; i < 8; i++) x[i] = load_little_endian(in + 8 * i);
    reduce(r, x);
    for (int i = 0; i < 4; i++) store_little_endian(out + 8 * i, r[i]);
}

/* out = (a b + c) modulo L; a, b and c are below 2^255. */
static void multiply_add(uint8_t out[32], const uint8_t a[32], const uint8_t b[32], const uint8_t c[32]) {
    u64 factor[2][4], x[8], r[4], carry = 0;
    for (int i = 0; i < 4; i++) {
        factor[0][i] = load_little_endian(a + 8 * i);
        factor[1][i] = load_little_endian(b + 8 * i);
    }
    multiply_limbs(x, factor[0], 4, factor[1], 4);
    for (int i = 0; i < 8; i++) {
        const u128 sum = (u128)x[i] + (i < 4 ? load_little_endian(c + 8 * i) : 0) + carry;
        x[i] = (u64)sum;
        carry = (u64)(sum >> 64);
    }
    reduce(r, x);
    for (int i = 0; i < 4; i++) store_little_endian(out + 8 * i, r[i]);
}

#endif
