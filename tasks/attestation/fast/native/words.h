/* Words of 64 bits, their products and their bytes. */

#ifndef WORDS_H
#define WORDS_H

#include <stddef.h>
#include <stdint.h>

typedef uint64_t u64;
__extension__ typedef unsigned __int128 u128;

static inline u128 wide(u64 a, u64 b) { return (u128)a * b; }

static inline u64 load_little_endian(const uint8_t in[8]) {
    u64 word = 0;
    for (int i = 0; i < 8; i++) word |= (u64)in[i] << (8 * i);
    return word;
}

static inline void store_little_endian(uint8_t out[8], u64 word) {
    for (int i = 0; i < 8; i++) out[i] = (uint8_t)(word >> (8 * i));
}

static inline u64 load_big_endian(const uint8_t in[8]) {
    u64 word = 0;
    for (int i = 0; i < 8; i++) word = word << 8 | in[i];
    return word;
}

static inline void store_big_endian(uint8_t out[8], u64 word) {
    for (int i = 0; i < 8; i++) out[i] = (uint8_t)(word >> (56 - 8 * i));
}

#endif
