/* Multiples of the base point B of edwards25519 (RFC 8032, section 5.1), LANES at once and in constant time.

   An odd number k below 2^255 is the sum of d[i] 16^i for i in 0..63 with odd digits from -15 to 15. So k B is a sum
   of 64 entries of a table that is made once: entry e of window i is (2e + 1) 16^i B. The digits need no carries: with
   n[i] the nibbles of (k - 1)/2 + 2^255, d[i] = 2 n[i] - 15. An even k is made odd by adding the order, which is odd.

   A window's eight entries stand side by side in one register per limb, and one permutation takes an entry for each
   lane: no address and no branch depends on a digit. */

#ifndef POINT_H
#define POINT_H

#include <string.h>

#include "field.h"
#include "scalar.h"

/* x = X/Z, y = Y/Z, xy = T/Z. All coordinates are tight. */
typedef struct {
    field X, Y, Z, T;
} point;

/* A point with Z = 1, ready to be added. */
typedef struct {
    field y_plus_x, y_minus_x, xy2d;
} addend;

#define WINDOWS 64
#define ENTRIES 8

static entry_limb TABLE[WINDOWS][3 * LIMBS][ENTRIES] __attribute__((aligned(64)));

static const u64 BASE_X[4] = {0xc9562d608f25d51aULL, 0x692cc7609525a7b2ULL, 0xc0a4e231fdd6dc5cULL, 0x216936d3cd6e53feULL};
static const u64 BASE_Y[4] = {0x6666666666666658ULL, 0x6666666666666666ULL, 0x6666666666666666ULL, 0x6666666666666666ULL};
static const u64 TWICE_D[4] = {0xebd69b9426b2f159ULL, 0x00e0149a8283b156ULL, 0x198e80f2eef3d130ULL, 0x2406d9dc56dffce7ULL};

/* p + q by Hisil, Wong, Carter and Dawson (2008), section 3.1: complete on this curve, so no case is special. */
static inline void add_point(point *p, const addend *q) {
    field a, b, c, d, e, f, g, h;
    subtract(&a, &p->Y, &p->X);
    multiply(&a, &a, &q->y_minus_x);
    add(&b, &p->Y, &p->X);
    multiply(&b, &b, &q->y_plus_x);
    multiply(&c, &p->T, &q->xy2d);
    add(&d, &p->Z, &p->Z);
    subtract(&e, &b, &a);
    subtract(&f, &d, &c); /* loosest: a first factor */
    add(&g, &d, &c);
    add(&h, &b, &a);
    multiply(&p->X, &f, &e);
    multiply(&p->Y, &g, &h);
    multiply(&p->Z, &f, &g);
    multiply(&p->T, &e, &h);
}

/* 2p, by the same paper, section 3.3. */
static void double_point(point *p) {
    field xx, yy, zz2, e, f, g, h, s;
    multiply(&xx, &p->X, &p->X);
    multiply(&yy, &p->Y, &p->Y);
    multiply(&zz2, &p->Z, &p->Z);
    add(&zz2, &zz2, &zz2);
    add(&h, &xx, &yy);
    add(&s, &p->X, &p->Y);
    multiply(&s, &s, &s);
    subtract(&e, &h, &s); /* loosest: a first factor */
    subtract(&g, &xx, &yy);
    add(&f, &zz2, &g);
    tighten(&f); /* else e and f, both loosest, could not be multiplied */
    multiply(&p->X, &e, &f);
    multiply(&p->Y, &g, &h);
    multiply(&p->Z, &f, &g);
    multiply(&p->T, &e, &h);
}

/* The entry to add for a point, given 1/Z. */
static void to_addend(addend *q, const point *p, const field *inverse) {
    field x, y, twice_d;
    set_all(&twice_d, TWICE_D);
    multiply(&x, &p->X, inverse);
    multiply(&y, &p->Y, inverse);
    add(&q->y_plus_x, &y, &x);
    tighten(&q->y_plus_x);
    subtract(&q->y_minus_x, &y, &x);
    tighten(&q->y_minus_x);
    multiply(&q->xy2d, &x, &y);
    multiply(&q->xy2d, &q->xy2d, &twice_d);
}

static void put_entry(int window, int entry, const addend *q) {
    const field *fields[3] = {&q->y_plus_x, &q->y_minus_x, &q->xy2d};
    for (int k = 0; k < 3 * LIMBS; k++) TABLE[window][k][entry] = (entry_limb)fields[k / LIMBS]->v[k % LIMBS][0];
}

/* The eight odd multiples of `first`, and first becomes its sixteenfold. All lanes hold the same. */
static void make_window(int window, point *first) {
    point multiple[ENTRIES];
    field z[ENTRIES], room[ENTRIES];
    addend twice, q;
    multiple[0] = *first;
    double_point(first);
    z[0] = first->Z;
    invert_all(z, room, 1);
    to_addend(&twice, first, &z[0]);
    z[0] = multiple[0].Z;
    for (int e = 1; e < ENTRIES; e++) {
        multiple[e] = multiple[e - 1];
        add_point(&multiple[e], &twice);
        z[e] = multiple[e].Z;
    }
    invert_all(z, room, ENTRIES);
    for (int e = 0; e < ENTRIES; e++) {
        to_addend(&q, &multiple[e], &z[e]);
        put_entry(window, e, &q);
    }
    for (int doublings = 1; doublings < 4; doublings++) double_point(first);
}

/* Never inlined: nothing of it may run before its caller has looked for what it needs. */
__attribute__((noinline)) static void make_table(void) {
    point first;
    set_all(&first.X, BASE_X);
    set_all(&first.Y, BASE_Y);
    set_all(&first.Z, ONE);
    multiply(&first.T, &first.X, &first.Y);
    for (int window = 0; window < WINDOWS; window++) make_window(window, &first);
}

static inline void pick_all(field *r, const entry_limb limbs[LIMBS][ENTRIES], lanes entry) {
    for (int k = 0; k < LIMBS; k++) r->v[k] = pick(limbs[k], entry);
}

/* (2n - 15) 16^window B for nibbles n, one in each lane. */
static inline void pick_entry(addend *q, int window, lanes n) {
    const lanes negative = (lanes)(n < 8);
    const lanes entry = (n ^ negative) & 7;
    const field zero = {{{0}}};
    field minus;
    pick_all(&q->y_plus_x, TABLE[window], entry);
    pick_all(&q->y_minus_x, TABLE[window] + LIMBS, entry);
    pick_all(&q->xy2d, TABLE[window] + 2 * LIMBS, entry);
    subtract(&minus, &zero, &q->xy2d);
    swap_if(&q->y_plus_x, &q->y_minus_x, negative);
    swap_if(&q->xy2d, &minus, negative);
}

/* The words of (k - 1)/2 + 2^255 for the odd one of k and k + L; k is below L. */
static void to_nibbles(u64 words[4], const uint8_t k[32]) {
    u64 carry = 0, odd[4];
    const u64 even = (u64)(k[0] & 1) - 1;
    for (int i = 0; i < 4; i++) {
        const u128 sum = (u128)load_little_endian(k + 8 * i) + (ORDER[i] & even) + carry;
        odd[i] = (u64)sum;
        carry = (u64)(sum >> 64);
    }
    for (int i = 0; i < 4; i++) words[i] = odd[i] >> 1 | (i < 3 ? odd[i + 1] : 1) << 63;
}

/* k[lane] * B in every lane, for k below L, the lowest byte first. */
static void multiply_base(point *p, const uint8_t *const k[LANES]) {
    u64 words[LANES][4];
    for (int lane = 0; lane < LANES; lane++) to_nibbles(words[lane], k[lane]);
    set_all(&p->Y, ONE);
    set_all(&p->Z, ONE);
    memset(&p->X, 0, sizeof p->X);
    memset(&p->T, 0, sizeof p->T);
    lanes rest = {0};
    for (int window = 0; window < WINDOWS; window++) {
        addend q;
        rest >>= 4;
        if (window % 16 == 0)
            for (int lane = 0; lane < LANES; lane++) rest[lane] = words[lane][window / 16];
        pick_entry(&q, window, rest & 15);
        add_point(p, &q);
    }
}

/* The 32 bytes of RFC 8032, section 5.1.2, for one lane: y, the lowest byte first, and the lowest bit of x as highest. */
static void encode_lane(uint8_t out[32], const field *x, const field *y, int lane) {
    u64 x_words[4], y_words[4];
    canonical(x_words, x, lane);
    canonical(y_words, y, lane);
    y_words[3] |= x_words[0] << 63;
    for (int i = 0; i < 4; i++) store_little_endian(out + 8 * i, y_words[i]);
}

/* The bytes of the points in the first n lanes, given 1/Z. */
static void encode_points(uint8_t *const out[], int n, const point *p, const field *inverse) {
    field x, y;
    multiply(&x, &p->X, inverse);
    multiply(&y, &p->Y, inverse);
    for (int lane = 0; lane < n; lane++) encode_lane(out[lane], &x, &y, lane);
}

#endif
